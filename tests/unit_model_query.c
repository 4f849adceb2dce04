/* SPDX-License-Identifier: MIT */
/*
 * unit_model_query.c - the strict IOMMU's oracles see what is still named
 */
#include "kernel/lock.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/model_rig.h"

#define DEV    8
#define DOMAIN 7

struct named {
	struct rig r;
	pa_t root, table, frame;
};

static void open(struct named *n)
{
	rig_open(&n->r, NULL);
	n->root = rig_attach(&n->r, DEV, DOMAIN);
	n->frame = rig_data(&n->r);
	rig_map(&n->r, n->root, RIG_IOVA, n->frame, RIG_RW);
	n->table = *rig_slot(&n->r, n->root, RIG_IOVA, 2) & GENMASK(51, 12);
}

TEST(model_query, frame_is_named_until_flushed,
     "a frame is named from the first transfer to the flush, not by the table")
{
	struct named n;
	char words[120];

	open(&n);
	EXPECT(!model_names_frame(n.r.m, n.frame, NULL, 0));
	rig_read(&n.r, DEV, RIG_IOVA);
	*rig_slot(&n.r, n.root, RIG_IOVA, 1) = 0;
	EXPECT(model_names_frame(n.r.m, n.frame, words, sizeof(words)));
	EXPECT(!strncmp(words, "rig: IOTLB of 0x7:", 18));
	EXPECT(model_any_names(n.frame, words, sizeof(words)));
	EXPECT(!model_names_frame(n.r.m, n.frame + PAGE_SIZE, NULL, 0));
	rig_flush(&n.r, DOMAIN, RIG_IOVA, PAGE_SIZE, false);
	EXPECT(!model_names_frame(n.r.m, n.frame, NULL, 0));
	EXPECT(!model_any_names(n.frame, NULL, 0));
	rig_close(&n.r);
}

TEST(model_query, large_frame_is_named_by_each_of_its_pages,
     "every 4 KiB of a cached 2 MiB leaf is named, the next page is not")
{
	struct named n;

	open(&n);
	*rig_slot(&n.r, n.root, RIG_IOVA + BIT(21), 2) =
		PRESENT | RIG_R | BIT(22);
	rig_read(&n.r, DEV, RIG_IOVA + BIT(21));
	EXPECT(model_names_frame(n.r.m, BIT(22), NULL, 0));
	EXPECT(model_names_frame(n.r.m, BIT(22) + BIT(21) - 1, NULL, 0));
	EXPECT(!model_names_frame(n.r.m, BIT(22) + BIT(21), NULL, 0));
	EXPECT(!model_names_frame(n.r.m, BIT(22) - 1, NULL, 0));
	rig_close(&n.r);
}

TEST(model_query, table_is_named_until_flushed_with_pde,
     "a table page is named after a flush of its leaves, and not after PDE")
{
	struct named n;
	char words[120];

	open(&n);
	EXPECT(!model_names_table(n.r.m, n.table, NULL, 0));
	rig_read(&n.r, DEV, RIG_IOVA);
	rig_flush(&n.r, DOMAIN, RIG_IOVA, PAGE_SIZE, false);
	EXPECT(model_names_table(n.r.m, n.table, words, sizeof(words)));
	EXPECT(model_any_names(n.table, words, sizeof(words)));
	rig_flush(&n.r, DOMAIN, RIG_IOVA, PAGE_SIZE, true);
	EXPECT(!model_names_table(n.r.m, n.table, NULL, 0));
	rig_close(&n.r);
}

TEST(model_query, root_is_named_by_the_cached_dte,
     "a root is named until INVALIDATE_DEVTAB_ENTRY, whatever pages are "
     "flushed")
{
	struct named n;

	open(&n);
	rig_read(&n.r, DEV, RIG_IOVA);
	*rig_dte(&n.r, DEV) = dte_deny(n.r.word);
	rig_send(&n.r, command_invalidate_iommu_pages(DOMAIN, RANGE_ALL, true));
	rig_sync(&n.r);
	EXPECT(model_names_table(n.r.m, n.root, NULL, 0));
	rig_send(&n.r, command_invalidate_devtab_entry(DEV));
	rig_sync(&n.r);
	EXPECT(!model_names_table(n.r.m, n.root, NULL, 0));
	rig_close(&n.r);
}

TEST(model_query, rings_and_late_words_are_named,
     "a ring is named while it runs, a completion word until it was stored")
{
	const struct model_config config = { .mode = MODEL_DELAYED,
					     .delay = 1 };
	char words[120];
	struct rig r;

	rig_open(&r, &config);
	EXPECT(model_any_names(r.device_table, NULL, 0));
	EXPECT(model_any_names(r.commands + 16, NULL, 0));
	EXPECT(model_any_names(r.events, NULL, 0));
	EXPECT(model_any_names(r.requests, words, sizeof(words)));
	EXPECT(!model_any_names(r.word, NULL, 0));
	rig_send_wait(&r);
	model_step(r.m, 1);
	EXPECT(model_any_names(r.word, NULL, 0));
	model_step(r.m, 1);
	EXPECT(!model_any_names(r.word, NULL, 0));
	rig_control(&r, RIG_ON & ~CONTROL_CMD_BUF_EN);
	EXPECT(!model_any_names(r.commands, NULL, 0));
	rig_control(&r, 0);
	EXPECT(!model_any_names(r.device_table, NULL, 0));
	EXPECT(!model_any_names(r.events, NULL, 0));
	rig_close(&r);
}

/* What a flush would be needed for, and the flush. */
static void becomes_stale(void (*change)(struct named *n),
			  struct command (*flush)(void))
{
	struct named n;
	char words[120];

	open(&n);
	rig_read(&n.r, DEV, RIG_IOVA);
	EXPECT(model_coherent(n.r.m, words, sizeof(words)));
	change(&n);
	EXPECT(!model_coherent(n.r.m, words, sizeof(words)));
	rig_send(&n.r, flush());
	rig_sync(&n.r);
	EXPECT(model_coherent(n.r.m, words, sizeof(words)));
	rig_close(&n.r);
}

static void lose_page(struct named *n)
{
	*rig_slot(&n->r, n->root, RIG_IOVA, 1) = 0;
}

static void lose_right(struct named *n)
{
	rig_map(&n->r, n->root, RIG_IOVA, n->frame, RIG_R);
}

static void other_frame(struct named *n)
{
	rig_map(&n->r, n->root, RIG_IOVA, rig_data(&n->r), RIG_RW);
}

static void lose_table(struct named *n)
{
	pa_t copy = rig_page(&n->r);

	memcpy(rig_word(copy), rig_word(n->table), PAGE_SIZE);
	*rig_slot(&n->r, n->root, RIG_IOVA, 2) =
		copy | PRESENT | NEXT(1) | RIG_RW;
}

static void lose_dte(struct named *n)
{
	rig_dte(&n->r, DEV)->w[0] &= ~DTE0_IW;
}

static struct command flush_leaf(void)
{
	return command_invalidate_iommu_pages(
		DOMAIN, command_range(RIG_IOVA, RIG_IOVA + 1), false);
}

static struct command flush_tables(void)
{
	return command_invalidate_iommu_pages(
		DOMAIN, command_range(RIG_IOVA, RIG_IOVA + 1), true);
}

static struct command flush_dte(void)
{
	return command_invalidate_devtab_entry(DEV);
}

TEST(model_query, coherence_sees_every_kind_of_staleness,
     "a lost page, right, frame, table or DTE is incoherent until its flush")
{
	becomes_stale(lose_page, flush_leaf);
	becomes_stale(lose_right, flush_leaf);
	becomes_stale(other_frame, flush_leaf);
	becomes_stale(lose_table, flush_tables);
	becomes_stale(lose_dte, flush_dte);
}

TEST(model_query, more_rights_in_memory_are_coherent,
     "a cached read-only page may be writable in memory: nothing can go wrong")
{
	struct named n;

	open(&n);
	rig_map(&n.r, n.root, RIG_IOVA, n.frame, RIG_R);
	rig_read(&n.r, DEV, RIG_IOVA);
	rig_map(&n.r, n.root, RIG_IOVA, n.frame, RIG_RW);
	EXPECT(model_coherent(n.r.m, NULL, 0));
	rig_close(&n.r);
}

static void count(const struct model_entry *e, void *arg)
{
	unsigned *n = arg;

	n[0]++;
	n[1] += e->tag == DOMAIN && e->iova == RIG_IOVA && e->shift == 12 &&
		!e->device_tlb && e->prot == 3;
}

TEST(model_query, each_shows_every_translation_once,
     "two models live side by side and show their own translations only")
{
	unsigned n[2] = { 0, 0 }, none[2] = { 0, 0 };
	struct named one, two;

	open(&one);
	open(&two);
	rig_read(&one.r, DEV, RIG_IOVA);
	model_each(one.r.m, count, n);
	model_each(two.r.m, count, none);
	EXPECT(n[0] == 1 && n[1] == 1 && !none[0]);
	EXPECT(model_any_names(one.frame, NULL, 0));
	EXPECT(!model_any_names(two.frame, NULL, 0));
	rig_close(&two.r);
	EXPECT(model_any_names(one.frame, NULL, 0));
	rig_close(&one.r);
	EXPECT(!model_any_names(one.frame, NULL, 0));
}

TEST(model_query, any_lock_may_be_held_and_nothing_is_allocated,
     "under the allocator's rank, interrupts off, the model works in its "
     "memory")
{
	static struct spinlock lock = SPINLOCK_INIT(RANK_PMM, "as the pmm");
	uint64_t flags, before;
	struct named n;

	open(&n);
	before = pmm_free_pages();
	flags = spin_lock_irq(&lock);
	EXPECT_EQ(rig_read(&n.r, DEV, RIG_IOVA), n.frame);
	EXPECT(model_any_names(n.frame, NULL, 0));
	rig_flush(&n.r, DOMAIN, RIG_IOVA, PAGE_SIZE, true);
	EXPECT(!model_any_names(n.frame, NULL, 0));
	spin_unlock_irq(&lock, flags);
	EXPECT_EQ(pmm_free_pages(), before);
	rig_close(&n.r);
}
