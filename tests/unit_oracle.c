/* SPDX-License-Identifier: MIT */
/*
 * unit_oracle.c - the oracles behind device tests see what is broken
 *
 * Each test does by hand what a broken driver would do, takes the complaint that
 * follows, and sees that the right way causes none.  On QEMU, which hides half
 * of it, and on the strict model.
 */
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/gate.h"
#include "tests/oracle_cache.h"
#include "tests/oracle_order.h"
#include "tests/stand_mm.h"

/* Was this complained of since the last time?  `none`: nothing at all. */
static bool complained(const char *glob)
{
	const char *why = oracle_take_complaint();

	if (why ? glob_match(glob, why) : !strcmp(glob, "none"))
		return true;
	test_note("said was `%s`, wanted `%s`", why ? why : "none", glob);
	return false;
}

/* A domain with n pages that device 0 has used. */
static struct domain *warm(struct stand *s, struct page **page, unsigned n)
{
	struct domain *d = stand_domain(s);

	CHECKED_ONLY("has oracles of devices");
	stand_attach(s, 0, d);
	for (unsigned i = 0; i < n; i++) {
		page[i] = stand_page(s, 'A' + i);
		REQUIRE(!domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		REQUIRE(stand_read(s, 0, IO(i)) == 'A' + i);
	}
	return d;
}

static void clear(struct domain *d, unsigned i)
{
	pt_set(&d->pt, stand_slot(d, IO(i)), 0);
}

static void flush(struct stand *s, struct domain *d, unsigned from, unsigned to,
		  bool tables)
{
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(from), IO(to)), tables);

	stand_run_commands(s, &c, 1);
}

IOMMU_TEST(oracle, flush_forgotten, "a page freed without a flush is told (B2)")
{
	struct page *page[2];
	struct domain *d = warm(s, page, 2);

	clear(d, 0);
	stand_free(s, page[0]);
	EXPECT(complained("frame * is freed: *IOTLB*0x40000000*"));

	clear(d, 1);
	flush(s, d, 0, 2, false);
	stand_free(s, page[1]);
	EXPECT(complained("none"));
}

IOMMU_TEST(oracle, flush_too_short,
	   "a page behind the end of a flush is told, one inside is not (B5)")
{
	struct page *page[4];
	struct domain *d = warm(s, page, 4);

	for (unsigned i = 0; i < 4; i++)
		clear(d, i);
	flush(s, d, 0, 2, false);
	stand_free(s, page[1]);
	EXPECT(complained("none"));
	stand_free(s, page[2]);
	EXPECT(complained("frame * is freed: *IOTLB*0x40002000*"));
	flush(s, d, 2, 4, false);
}

IOMMU_TEST(oracle, wrong_domain, "a flush of another domain does not count")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct command c = command_invalidate_iommu_pages(
		d->id ^ 1, command_range(IO(0), IO(64)), true);

	clear(d, 0);
	stand_run_commands(s, &c, 1);
	stand_free(s, page[0]);
	EXPECT(complained("frame * is freed: *IOTLB*"));
	flush(s, d, 0, 1, false);
}

IOMMU_TEST(oracle, wait_forgotten,
	   "a flush that nobody has seen done does not count (B4, C16)")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(0), IO(1)), false);
	uint64_t seq;

	clear(d, 0);
	REQUIRE(!queue_submit(&s->iommu->queue, &c, 1, &seq));
	EXPECT(oracle_cache_names(page[0], NULL, 0));
	REQUIRE(!queue_wait(&s->iommu->queue, seq));
	EXPECT(!oracle_cache_names(page[0], NULL, 0));
	stand_free(s, page[0]);
	EXPECT(complained("none"));
}

/* A table page is unhooked as the last entry goes, and freed. */
IOMMU_TEST(oracle, directory_bit_forgotten,
	   "a table flushed without the directory bit is told (B3, C7)")
{
	struct page *page[1], *table;
	struct domain *d = warm(s, page, 1);

	table = pt_table_page(stand_slot(d, IO(0)));
	clear(d, 0);
	flush(s, d, 0, 1, false);
	EXPECT(!oracle_cache_names(page[0], NULL, 0));
	EXPECT(oracle_cache_names(table, NULL, 0));
	flush(s, d, 0, 1, true);
	EXPECT(!oracle_cache_names(table, NULL, 0));
	REQUIRE(!domain_unmap(d, IO(0), IO(1)));
	EXPECT(complained("none"));
}

IOMMU_TEST(oracle, root_is_kept_by_the_entry,
	   "who detaches by hand must also have the device's entry forgotten")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct page *root = page_of_va(d->pt.root);
	struct command c = command_invalidate_devtab_entry(s->devid[0]);

	clear(d, 0);
	flush(s, d, 0, 512 * 512, true);
	EXPECT(oracle_cache_names(root, NULL, 0));
	stand_run_commands(s, &c, 1);
	EXPECT(!oracle_cache_names(root, NULL, 0));
}

IOMMU_TEST(oracle, stale_at_a_quiet_point,
	   "what is cached and not what the tables say is told, freed or not "
	   "(B31)")
{
	struct page *page[2];
	struct domain *d = warm(s, page, 2);
	uint64_t *slot = stand_slot(d, IO(0));

	oracles_look();
	EXPECT(complained("none"));
	pte_write(slot, pte_read(slot) & ~BIT(62)); /* IW */
	oracles_look();
	EXPECT(complained("*IOTLB*0x40000000*(rw), the tables do not"));
	flush(s, d, 0, 1, false);
	oracles_look();
	EXPECT(complained("none"));
	EXPECT_EQ(stand_read(s, 0, IO(0)), 'A');
	clear(d, 0);
	oracles_look();
	EXPECT(complained("*IOTLB*0x40000000*(r-), the tables do not"));
	flush(s, d, 0, 1, false);
}

/* What the IOMMU took in after the command was queued is not gone by it. */
IOMMU_TEST(
	oracle, later_use_is_not_forgotten,
	"a flush takes away what was there when it was queued, nothing later")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(0), IO(1)), false);
	uint64_t seq;

	REQUIRE(!queue_submit(&s->iommu->queue, &c, 1, &seq));
	EXPECT_EQ(stand_read(s, 0, IO(0)), 'A');
	REQUIRE(!queue_wait(&s->iommu->queue, seq));
	EXPECT(oracle_cache_names(page[0], NULL, 0));
}

/* ---- canaries ---------------------------------------------------------- */

IOMMU_TEST(
	oracle, canary_is_hurt_by_a_late_device,
	"a device that goes on writing to a freed page hurts its canary (O1)")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	uint64_t before = canary_count();

	STAND_NEEDS(s, caches);
	clear(d, 0);
	stand_free(s, page[0]);
	EXPECT(complained("frame * is freed*"));
	EXPECT_EQ(canary_count(), before + 1);
	EXPECT(is_canary(stand_read(s, 0, IO(0))));
	stand_write(s, 0, IO(0) + 0x18, 'X');
	canary_release();
	EXPECT(complained("frame * was written after it was freed: offset 0x18 "
			  "holds 0x58"));
	flush(s, d, 0, 1, false);
}

IOMMU_TEST(oracle, canaries_are_freed_in_turn,
	   "frames that devices have used come back after others have gone")
{
	struct page *page[4];
	struct domain *d = warm(s, page, 4);
	uint64_t free = pmm_free_pages();

	REQUIRE(!domain_unmap(d, IO(0), IO(4)));
	for (unsigned i = 0; i < 4; i++)
		stand_free(s, page[i]);
	EXPECT(pmm_free_pages() < free + 4);
	canary_release();
	EXPECT(pmm_free_pages() >= free + 4);
	EXPECT(complained("none"));
}

/* ---- the model as a witness -------------------------------------------- */

#define WITNESSED 64u

struct witness {
	unsigned n, seen, missing;
	pa_t frame[WITNESSED];
};

/* Context: the model's lock, below which the oracle's must not be taken. */
static void collect(const struct model_entry *e, void *arg)
{
	struct witness *w = arg;

	if (!e->device_tlb && e->prot && w->n < WITNESSED)
		w->frame[w->n++] = e->pa;
}

/* Does the oracle know of every translation that the model has? */
static void compare(struct stand *s, struct witness *w)
{
	w->n = 0;
	model_each(s->model, collect, w);
	for (unsigned i = 0; i < w->n; i++)
		w->missing +=
			!oracle_cache_names(page_of_pa(w->frame[i]), NULL, 0);
	w->seen += w->n;
}

/* Map, unmap, change rights, read and write, at random. */
static void some_step(struct stand *s, struct domain *d, struct page **page,
		      struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, 8), n = 1 + i % 3;
	int ignored = 0;

	switch (rng_below(rng, 6)) {
	case 0:
		ignored = domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				     i & 1 ? IO_RW : PROT_R);
		break;
	case 1:
		ignored = domain_unmap(d, IO(i), IO(i + n));
		break;
	case 2:
		ignored = domain_protect(d, IO(i), IO(i + n), PROT_R);
		break;
	case 3:
		stand_write(s, (unsigned)rng_below(rng, 2), IO(i), 1 + i);
		break;
	default:
		stand_read(s, (unsigned)rng_below(rng, 2), IO(i));
	}
	(void)ignored;
}

MODEL_TEST(oracle, knows_what_the_model_caches,
	   "whatever the strict model has cached the oracle knows of")
{
	struct rng rng = rng_seed(test_seed());
	struct domain *d = stand_domain(s);
	struct witness w = { 0 };
	struct page *page[8];

	CHECKED_ONLY("has oracles of devices");
	stand_attach(s, 0, d);
	stand_attach(s, 1, d);
	for (unsigned i = 0; i < 8; i++)
		page[i] = stand_page(s, 'A');
	for (unsigned i = 0; i < 3000; i++) {
		some_step(s, d, page, &rng);
		compare(s, &w);
	}
	EXPECT_EQ(w.missing, 0);
	EXPECT(w.seen > 3000);
	EXPECT_EQ(oracle_cache_stats().evicted, 0);
	EXPECT(oracle_cache_stats().forgotten > 500);
}

/* ---- the order of steps ------------------------------------------------ */

/* An mm that is none, whose steps are played by hand. */
static struct mm fake[2] = { { .users = 1 }, { .users = 1 } };
#define MM    ((uint64_t)&fake[0])
#define OTHER ((uint64_t)&fake[1])
#define MN    UINT64_C(0x5678)

static void joined(void)
{
	CHECKED_ONLY("has oracles of devices");
	PROBE(notifier_join, MM, MN);
	PROBE(range_started, MM, VA);
}

static void left(void)
{
	PROBE(range_ended, MM, VA);
	PROBE(notifier_leave, MM, MN);
}

IOMMU_TEST(oracle, order_of_a_copy,
	   "clear, tell, set; no other order (B9, B12)")
{
	joined();
	PROBE(pte_clear, MM, VA);
	PROBE(range, MM, VA);
	PROBE(range_flushed, MM, VA);
	PROBE(change_pte, MM, VA);
	PROBE(pte_set, MM, VA);
	EXPECT(complained("none"));
	PROBE(pte_clear, MM, VA);
	PROBE(pte_set, MM, VA);
	EXPECT(complained("order: *cleared and nobody is told before pte_set"));
	PROBE(pte_clear, MM, VA);
	PROBE(change_pte, MM, VA);
	EXPECT(complained("order: *nobody is told before change_pte"));
	PROBE(pte_clear, MM, VA);
	PROBE(pte_clear, MM, P(1));
	EXPECT(complained("order: *nobody is told before the next is cleared"));
	left();
	EXPECT(complained("order: *nobody is told before range_ended"));
}

IOMMU_TEST(oracle, order_of_a_free, "clear, tell, free (B2, B18)")
{
	joined();
	PROBE(pte_clear, MM, VA);
	page_put(page_alloc());
	EXPECT(complained("order: *nobody is told before a frame is freed"));
	PROBE(pte_clear, MM, VA);
	PROBE(range, MM, VA);
	PROBE(range_flushed, MM, VA);
	page_put(page_alloc());
	left();
	EXPECT(complained("none"));
}

IOMMU_TEST(oracle, order_of_a_completion,
	   "who tells has seen the completion of what he queued (B4, B3)")
{
	joined();
	PROBE(range, MM, VA);
	PROBE(iommu_submit, 7, 1);
	PROBE(iommu_complete, 7, 0);
	PROBE(range_flushed, MM, VA);
	EXPECT(complained("none"));
	PROBE(range, MM, VA);
	PROBE(iommu_submit, 8, 1);
	PROBE(iommu_complete, 7, 0);
	PROBE(table_free, 0, 0x1000);
	EXPECT(complained("order: table 1000 is freed, and completion 8 *"));
	PROBE(range_flushed, MM, VA);
	EXPECT(complained("order: *completion 8 has not been seen"));
	left();
}

IOMMU_TEST(oracle, order_of_windows,
	   "entries change inside a window of their mm, of this thread (B15)")
{
	joined();
	PROBE(range_started, MM, P(1)); /* nested */
	PROBE(range_ended, MM, P(1));
	PROBE(pte_move, MM, VA);
	EXPECT(complained("none"));
	PROBE(range_ended, MM, VA);
	PROBE(notifier_join, OTHER, MN);
	PROBE(range_started, OTHER, VA); /* of another mm */
	PROBE(pte_protect, MM, VA);
	EXPECT(complained("order: *pte_protect of * outside of any window"));
	PROBE(range_ended, OTHER, VA);
	PROBE(notifier_leave, OTHER, MN);
	PROBE(range_refused, MM, VA);
	PROBE(range_started, MM, VA); /* of the refusal: none is open */
	PROBE(fork_shared, MM, VA);
	EXPECT(complained("order: *fork_shared of * outside of any window"));
	atomic_store(&fake[0].users, 0);
	PROBE(pte_move, MM, VA); /* at its exit */
	atomic_store(&fake[0].users, 1);
	PROBE(notifier_leave, MM, MN);
	PROBE(pte_move, MM, VA); /* nobody listens */
	EXPECT(complained("none"));
}

IOMMU_TEST(
	oracle, order_is_really_followed,
	"the steps of a real copy, with a real listener, are among those seen")
{
	struct mm *mm = stand_mm(s, 2), *child;
	uint64_t before;

	CHECKED_ONLY("has oracles of devices");
	stand_bind_sva(s, 0, mm);
	REQUIRE(!stand_store(s, 0, P(0), 'A'));
	child = stand_fork(mm);
	before = oracle_order_steps();
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	/* start, clear, range, told, offer, set, end */
	EXPECT(oracle_order_steps() >= before + 6);
	EXPECT_EQ(rd(child, P(0)), 'A');
}
