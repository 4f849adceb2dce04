/* SPDX-License-Identifier: MIT */
/*
 * query.c - the strict IOMMU's checks report what is still cached
 */
#include "kernel/lock.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/model_fixture.h"

#define DEV    8
#define DOMAIN 7

struct named {
	struct bare_model r;
	pa_t root, table, frame;
};

static void open(struct named *n)
{
	bare_open(&n->r, NULL);
	n->root = bare_attach(&n->r, DEV, DOMAIN);
	n->frame = bare_data(&n->r);
	bare_map(&n->r, n->root, BARE_IOVA, n->frame, BARE_RW);
	n->table = *bare_slot(&n->r, n->root, BARE_IOVA, 2) & GENMASK(51, 12);
}

TEST(model_query, frame_is_named_until_flushed,
     "a frame is named from the first transfer to the flush, not by the table")
{
	struct named n;
	char text[120];

	open(&n);
	EXPECT(!model_names_frame(n.r.m, n.frame, NULL, 0));
	bare_read(&n.r, DEV, BARE_IOVA);
	*bare_slot(&n.r, n.root, BARE_IOVA, 1) = 0;
	EXPECT(model_names_frame(n.r.m, n.frame, text, sizeof(text)));
	EXPECT(!strncmp(text, "model: IOTLB of 0x7:", 20));
	EXPECT(model_any_names(n.frame, text, sizeof(text)));
	EXPECT(!model_names_frame(n.r.m, n.frame + PAGE_SIZE, NULL, 0));
	bare_flush(&n.r, DOMAIN, BARE_IOVA, PAGE_SIZE, false);
	EXPECT(!model_names_frame(n.r.m, n.frame, NULL, 0));
	EXPECT(!model_any_names(n.frame, NULL, 0));
	bare_close(&n.r);
}

TEST(model_query, large_frame_is_named_by_each_of_its_pages,
     "every 4 KiB of a cached 2 MiB leaf is named, and the next page is not")
{
	struct named n;

	open(&n);
	*bare_slot(&n.r, n.root, BARE_IOVA + BIT(21), 2) =
		PRESENT | BARE_R | BIT(22);
	bare_read(&n.r, DEV, BARE_IOVA + BIT(21));
	EXPECT(model_names_frame(n.r.m, BIT(22), NULL, 0));
	EXPECT(model_names_frame(n.r.m, BIT(22) + BIT(21) - 1, NULL, 0));
	EXPECT(!model_names_frame(n.r.m, BIT(22) + BIT(21), NULL, 0));
	EXPECT(!model_names_frame(n.r.m, BIT(22) - 1, NULL, 0));
	bare_close(&n.r);
}

TEST(model_query, table_is_named_until_flushed_with_pde,
     "a table page is named after a flush of its leaves and not after a PDE "
     "flush")
{
	struct named n;
	char text[120];

	open(&n);
	EXPECT(!model_names_table(n.r.m, n.table, NULL, 0));
	bare_read(&n.r, DEV, BARE_IOVA);
	bare_flush(&n.r, DOMAIN, BARE_IOVA, PAGE_SIZE, false);
	EXPECT(model_names_table(n.r.m, n.table, text, sizeof(text)));
	EXPECT(model_any_names(n.table, text, sizeof(text)));
	bare_flush(&n.r, DOMAIN, BARE_IOVA, PAGE_SIZE, true);
	EXPECT(!model_names_table(n.r.m, n.table, NULL, 0));
	bare_close(&n.r);
}

TEST(model_query, root_is_named_by_the_cached_dte,
     "a root is named until INVALIDATE_DEVTAB_ENTRY, whatever pages are "
     "flushed")
{
	struct named n;

	open(&n);
	bare_read(&n.r, DEV, BARE_IOVA);
	*bare_dte(&n.r, DEV) = dte_deny(n.r.word);
	bare_send(&n.r,
		  command_invalidate_iommu_pages(DOMAIN, RANGE_ALL, true));
	bare_sync(&n.r);
	EXPECT(model_names_table(n.r.m, n.root, NULL, 0));
	bare_send(&n.r, command_invalidate_devtab_entry(DEV));
	bare_sync(&n.r);
	EXPECT(!model_names_table(n.r.m, n.root, NULL, 0));
	bare_close(&n.r);
}

TEST(model_query, rings_and_late_words_are_named,
     "a ring is named while it runs, a completion word until it is stored")
{
	const struct model_config config = { .mode = MODEL_DELAYED,
					     .delay = 1 };
	char text[120];
	struct bare_model r;

	bare_open(&r, &config);
	EXPECT(model_any_names(r.device_table, NULL, 0));
	EXPECT(model_any_names(r.commands + 16, NULL, 0));
	EXPECT(model_any_names(r.events, NULL, 0));
	EXPECT(model_any_names(r.requests, text, sizeof(text)));
	EXPECT(!model_any_names(r.word, NULL, 0));
	bare_send_wait(&r);
	model_step(r.m, 1);
	EXPECT(model_any_names(r.word, NULL, 0));
	model_step(r.m, 1);
	EXPECT(!model_any_names(r.word, NULL, 0));
	bare_control(&r, BARE_ON & ~CONTROL_CMD_BUF_EN);
	EXPECT(!model_any_names(r.commands, NULL, 0));
	bare_control(&r, 0);
	EXPECT(!model_any_names(r.device_table, NULL, 0));
	EXPECT(!model_any_names(r.events, NULL, 0));
	bare_close(&r);
}

/* Make a change that needs a flush, check, then flush and check again. */
static void becomes_stale(void (*change)(struct named *n),
			  struct command (*flush)(void))
{
	struct named n;
	char text[120];

	open(&n);
	bare_read(&n.r, DEV, BARE_IOVA);
	EXPECT(model_coherent(n.r.m, text, sizeof(text)));
	change(&n);
	EXPECT(!model_coherent(n.r.m, text, sizeof(text)));
	bare_send(&n.r, flush());
	bare_sync(&n.r);
	EXPECT(model_coherent(n.r.m, text, sizeof(text)));
	bare_close(&n.r);
}

static void lose_page(struct named *n)
{
	*bare_slot(&n->r, n->root, BARE_IOVA, 1) = 0;
}

static void lose_right(struct named *n)
{
	bare_map(&n->r, n->root, BARE_IOVA, n->frame, BARE_R);
}

static void other_frame(struct named *n)
{
	bare_map(&n->r, n->root, BARE_IOVA, bare_data(&n->r), BARE_RW);
}

static void lose_table(struct named *n)
{
	pa_t copy = bare_page(&n->r);

	memcpy(bare_word(copy), bare_word(n->table), PAGE_SIZE);
	*bare_slot(&n->r, n->root, BARE_IOVA, 2) =
		copy | PRESENT | NEXT(1) | BARE_RW;
}

static void lose_dte(struct named *n)
{
	bare_dte(&n->r, DEV)->w[0] &= ~DTE0_IW;
}

static struct command flush_leaf(void)
{
	return command_invalidate_iommu_pages(
		DOMAIN, command_range(BARE_IOVA, BARE_IOVA + 1), false);
}

static struct command flush_tables(void)
{
	return command_invalidate_iommu_pages(
		DOMAIN, command_range(BARE_IOVA, BARE_IOVA + 1), true);
}

static struct command flush_dte(void)
{
	return command_invalidate_devtab_entry(DEV);
}

TEST(model_query, coherence_sees_every_kind_of_staleness,
     "a changed page, right, frame, table or DTE is incoherent until its flush")
{
	becomes_stale(lose_page, flush_leaf);
	becomes_stale(lose_right, flush_leaf);
	becomes_stale(other_frame, flush_leaf);
	becomes_stale(lose_table, flush_tables);
	becomes_stale(lose_dte, flush_dte);
}

TEST(model_query, more_rights_in_memory_are_coherent,
     "a cached read-only entry of a page that is now writable is coherent")
{
	struct named n;

	open(&n);
	bare_map(&n.r, n.root, BARE_IOVA, n.frame, BARE_R);
	bare_read(&n.r, DEV, BARE_IOVA);
	bare_map(&n.r, n.root, BARE_IOVA, n.frame, BARE_RW);
	EXPECT(model_coherent(n.r.m, NULL, 0));
	bare_close(&n.r);
}

static void count(const struct model_entry *e, void *arg)
{
	unsigned *n = arg;

	n[0]++;
	n[1] += e->tag == DOMAIN && e->iova == BARE_IOVA && e->shift == 12 &&
		!e->device_tlb && e->prot == 3;
}

TEST(model_query, each_shows_every_translation_once,
     "two models exist side by side and list their own translations only")
{
	unsigned n[2] = { 0, 0 }, none[2] = { 0, 0 };
	struct named one, two;

	open(&one);
	open(&two);
	bare_read(&one.r, DEV, BARE_IOVA);
	model_each(one.r.m, count, n);
	model_each(two.r.m, count, none);
	EXPECT(n[0] == 1 && n[1] == 1 && !none[0]);
	EXPECT(model_any_names(one.frame, NULL, 0));
	EXPECT(!model_any_names(two.frame, NULL, 0));
	bare_close(&two.r);
	EXPECT(model_any_names(one.frame, NULL, 0));
	bare_close(&one.r);
	EXPECT(!model_any_names(one.frame, NULL, 0));
}

TEST(model_query, any_lock_may_be_held_and_nothing_is_allocated,
     "the model works under the allocator's lock with interrupts off")
{
	static struct spinlock lock = SPINLOCK_INIT(RANK_PMM, "as the pmm");
	uint64_t flags, before;
	struct named n;

	open(&n);
	before = pmm_free_pages();
	flags = spin_lock_irq(&lock);
	EXPECT_EQ(bare_read(&n.r, DEV, BARE_IOVA), n.frame);
	EXPECT(model_any_names(n.frame, NULL, 0));
	bare_flush(&n.r, DOMAIN, BARE_IOVA, PAGE_SIZE, true);
	EXPECT(!model_any_names(n.frame, NULL, 0));
	spin_unlock_irq(&lock, flags);
	EXPECT_EQ(pmm_free_pages(), before);
	bare_close(&n.r);
}
