/* SPDX-License-Identifier: MIT */
/*
 * scn_ksm_merge.c - the steps of a merge, and who comes between: C90-C96, H23
 *
 * What runs under a spin lock is disturbed by a hook on the spot, what may sleep
 * by stopping the scanner at a gate.
 */
#include "arch/uaccess.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/entry.h"
#include "tests/ksm_world.h"

/* Two equal pages that the next pass would merge. */
static struct mm *pair(void)
{
	struct mm *mm = ksm_equal(2, 'A');

	ksm_scans(1);
	return mm;
}

/* The second pass, stopped at a step of `of`, with something done there. */
static void disturb(const char *step, struct mm *of, void (*fn)(struct mm *mm))
{
	struct gate g;
	struct task t;
	int ret = -1;

	gate_close(&g, step, of);
	spawn(&t, ksm_pass, &ret);
	gate_await(&g);
	fn(of);
	gate_open(&g);
	join(&t);
	EXPECT_EQ(ret, 0);
}

TEST(ksm_merge, steps_in_order,
     "write-protection, flush, comparison, clear, flush, set, in this order "
     "(B45)")
{
	struct mm *mm = pair();
	uint64_t since = probes_begin();

	mm_bind(mm);
	wr(mm, P(0), 'A');
	wr(mm, P(1), 'A');
	ksm_scans(1);
	EXPECT(probes_in_order(since, mm,
			       "ksm_protect tlb_flush ksm_frozen "
			       "ksm_protect tlb_flush ksm_frozen ksm_compared "
			       "pte_clear tlb_flush pte_set unptl"));
	mm_bind(NULL);
	EXPECT(is_merged(mm, P(1)));
	mm_put(mm);
}

static struct {
	unsigned times;
	int store;
} stale;

/* The CPU has a translation with W, if nobody has flushed it. */
static void store_now(uint64_t a, uint64_t b, void *arg)
{
	if (a != (uint64_t)arg)
		return;
	stale.times++;
	stale.store &= user_store64(b, 'X');
}

TEST(ksm_merge, nobody_writes_what_is_compared,
     "from the comparison on no CPU can write, though it just could (C90, B45)")
{
	static const char *const steps[] = { "ksm_frozen", "ksm_compared" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct mm *mm = pair();

		mm_bind(mm);
		wr(mm, P(0), 'A');
		wr(mm, P(1), 'A');
		ksm_scans(1);
		wr(mm, P(0), 'B');
		wr(mm, P(1), 'B');
		ksm_scans(1);
		/* D went with a flush: warm the entries once more. */
		wr(mm, P(0), 'B');
		wr(mm, P(1), 'B');
		stale.times = 0;
		stale.store = -EFAULT;
		hook(steps[i], store_now, mm);
		ksm_scans(1);
		unhook(steps[i]);
		EXPECT(stale.times > 0);
		EXPECT_EQ(stale.store, -EFAULT);
		EXPECT(same_frame(mm, P(0), mm, P(1)));
		EXPECT_EQ(rd(mm, P(0)), 'B');
		EXPECT_EQ(rd(mm, P(1)), 'B');
		mm_bind(NULL);
		mm_put(mm);
	}
}

static void write_first(struct mm *mm)
{
	EXPECT_EQ(wr(mm, P(0), 'W'), 0);
}

static void write_second(struct mm *mm)
{
	EXPECT_EQ(wr(mm, P(1), 'W'), 0);
}

TEST(ksm_merge, late_write_refuses,
     "a page that is written after its checksum is compared and left alone "
     "(C93)")
{
	static void (*const writes[])(struct mm * mm) = { write_first,
							  write_second };

	for (unsigned i = 0; i < 2; i++) {
		struct mm *mm = pair();

		disturb("ksm_looked", mm, writes[i]);
		EXPECT(!is_merged(mm, P(0)));
		EXPECT(!is_merged(mm, P(1)));
		EXPECT_EQ(rd(mm, P(i)), 'W');
		EXPECT_EQ(rd(mm, P(!i)), 'A');
		EXPECT_KSM_SOUND();
		mm_put(mm);
	}
}

TEST(ksm_merge, write_between_the_two_reverts,
     "when the second of two pages changes the first is private again, in "
     "its frame, and writable (C95)")
{
	struct mm *mm = pair();
	struct page *before, *after;
	struct ksm_stat stat;

	before = page_at(mm, P(0));
	page_put(before);
	disturb("ksm_converted", mm, write_second);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT(!is_merged(mm, P(1)));
	ksm_stat(&stat);
	EXPECT_EQ(stat.pages_shared + stat.pages_sharing, 0);
	EXPECT_EQ(wr(mm, P(0), 'Z'), 0);
	after = page_at(mm, P(0));
	page_put(after);
	EXPECT(before == after);
	EXPECT_EQ(rd(mm, P(1)), 'W');
	mm_put(mm);
}

static void write_both(struct mm *mm)
{
	write_first(mm);
	write_second(mm);
}

TEST(ksm_merge, write_breaks_a_half_made_merge,
     "a write to the first page, while the second is on its way, is kept")
{
	struct mm *mm = pair();

	disturb("ksm_converted", mm, write_both);
	EXPECT_EQ(rd(mm, P(0)), 'W');
	EXPECT_EQ(rd(mm, P(1)), 'W');
	EXPECT_KSM_SOUND();
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	mm_put(mm);
}

TEST(ksm_merge, checksum_is_that_of_the_frozen_page,
     "two pages that both change to the same, after they were looked at, are "
     "not put where their old content would be")
{
	struct mm *mm = pair();

	disturb("ksm_looked", mm, write_both);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT_KSM_SOUND();
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(1)), 'W');
	mm_put(mm);
}

TEST(ksm_merge, references_are_counted_behind_the_flush,
     "a frame that somebody has got hold of by the flush is not merged, and "
     "writable again (C94, B47)")
{
	struct mm *mm = pair();
	struct page *held = ksm_scan_held(mm, "ksm_protect");
	uint64_t tag = 'Q';

	REQUIRE(held);
	EXPECT(!is_merged(mm, P(1)));
	EXPECT(entry_at(mm, P(1)) & PTE_W);
	*(uint64_t *)page_va(held) = tag;
	EXPECT_EQ(rd(mm, P(1)), tag);
	EXPECT_EQ(rd(mm, P(0)), 'A');
	page_put(held);
	mm_put(mm);
}

static struct page *pinned;

static void pin_second(struct mm *mm)
{
	EXPECT_EQ(pin_pages(mm, P(1), 1, PIN_WRITE, &pinned), 0);
}

TEST(ksm_merge, pin_at_each_step_refuses,
     "a page that is pinned at any step stays where it is, until it is "
     "unpinned (C94)")
{
	static const char *const steps[] = { "ksm_looked", "ksm_summed",
					     "ksm_converted" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct mm *mm = pair();

		wr(mm, P(0), 'B'); /* so that there is something to sum */
		wr(mm, P(1), 'B');
		ksm_scans(1);
		wr(mm, P(0), 'B');
		wr(mm, P(1), 'B');
		disturb(steps[i], mm, pin_second);
		EXPECT(!is_merged(mm, P(1)));
		ksm_scans(2);
		EXPECT(!is_merged(mm, P(1)));
		*(uint64_t *)page_va(pinned) = 'P';
		EXPECT_EQ(rd(mm, P(1)), 'P');
		EXPECT_EQ(rd(mm, P(0)), 'B');
		*(uint64_t *)page_va(pinned) = 'B';
		unpin_pages(&pinned, 1);
		ksm_scans(3);
		EXPECT_KSM(1, 1, 0, 0);
		EXPECT_EQ(rd(mm, P(1)), 'B');
		mm_put(mm);
	}
}

TEST(ksm_merge, read_pin_gets_a_page_of_its_own,
     "a pin for reading takes the page out of the merge first (C105)")
{
	struct mm *mm = pair();
	struct page *page;

	ksm_scans(1);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(pin_pages(mm, P(1), 1, 0, &page), 0);
	EXPECT_KSM(0 + 1, 0, 0, 0);
	EXPECT_EQ(page_kind(page), PAGE_ANON);
	wr(mm, P(1), 'N');
	EXPECT_EQ(*(uint64_t *)page_va(page), 'N');
	EXPECT_EQ(rd(mm, P(0)), 'A');
	unpin_pages(&page, 1);
	mm_put(mm);
}

static void seen_by_stale(uint64_t a, uint64_t b, void *arg)
{
	uint64_t v = 0;

	if (a != (uint64_t)arg)
		return;
	stale.times++;
	if (user_load64(b, &v) || v != 'A')
		stale.store = 1;
}

TEST(ksm_merge, flush_may_come_after_the_window,
     "with the flush delayed the old frame is still read, still holds the "
     "same, "
     "and is still allocated (B11, C92)")
{
	struct mm *mm = pair();
	struct page *old = page_at(mm, P(1));

	page_put(old);
	mm_bind(mm);
	rd(mm, P(0));
	rd(mm, P(1));
	ksm_knobs.late_flush = true;
	stale.times = 0;
	stale.store = 0;
	hook("unptl", seen_by_stale, mm);
	ksm_scans(1);
	unhook("unptl");
	EXPECT_EQ(stale.times, 1);
	EXPECT_EQ(stale.store, 0);
	EXPECT(same_frame(mm, P(0), mm, P(1)));
	wr(mm, P(0), 'B');
	EXPECT_EQ(rd(mm, P(1)), 'A');
	mm_bind(NULL);
	ksm_knobs_reset();
	mm_put(mm);
}

/* ---- checksums that lie --------------------------------------------------- */

static uint32_t sum_constant(const void *page)
{
	(void)page;
	return 42;
}

TEST(ksm_merge, collisions_never_merge,
     "where all checksums are equal only equal contents become one")
{
	struct mm *mm = ksm_world(40);

	ksm_knobs.sum = sum_constant;
	for (unsigned i = 0; i < 40; i++)
		wr(mm, P(i) + 4088 * (i % 2), 1 + i % 10);
	ksm_scans(4);
	EXPECT_KSM(10, 30, 0, 0);
	for (unsigned i = 0; i < 40; i++)
		EXPECT_EQ(rd(mm, P(i) + 4088 * (i % 2)), 1 + i % 10);
	EXPECT_KSM_SOUND();
	for (unsigned i = 0; i < 40; i++)
		wr(mm, P(i), 100 + i);
	ksm_scans(2);
	EXPECT_KSM(0, 0, 40, 0);
	EXPECT_KSM_SOUND();
	mm_put(mm);
	ksm_knobs_reset();
}

static uint32_t sum_of_zero(const void *page)
{
	(void)page;
	return ksm_sum(page_va(zero_page));
}

TEST(ksm_merge, collision_with_zero_is_no_zero,
     "a page with the checksum of zeroes that is none keeps its content")
{
	struct mm *mm = ksm_world(2);

	ksm_knobs.sum = sum_of_zero;
	ksm_knobs.use_zero_pages = true;
	wr(mm, P(0), 1);
	wr(mm, P(1) + PAGE_SIZE - 8, 1);
	ksm_scans(3);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1) + PAGE_SIZE - 8), 1);
	EXPECT_KSM(0, 0, 2, 0);
	mm_put(mm);
	ksm_knobs_reset();
}

/* ---- no memory ------------------------------------------------------------- */

TEST(ksm_merge, each_allocation_may_fail,
     "whichever allocation of two passes fails, nothing is lost, and the next "
     "passes merge (C96)")
{
	unsigned failed = 0;

	for (unsigned n = 1;; n++) {
		struct mm *mm = ksm_world(4);
		int ret[2];
		bool hit;

		for (unsigned i = 0; i < 4; i++)
			wr(mm, P(i), i / 3);
		inject_arm(n);
		ret[0] = ksm_full_scan();
		ret[1] = ksm_full_scan();
		hit = inject_disarm();
		EXPECT_EQ(hit, ret[0] == -ENOMEM || ret[1] == -ENOMEM);
		failed += hit;
		for (unsigned i = 0; i < 4; i++)
			EXPECT_EQ(rd(mm, P(i)), i / 3);
		EXPECT_KSM_SOUND();
		ksm_scans(3);
		EXPECT_KSM(1, 2, 1, 0);
		mm_put(mm);
		if (!hit)
			break;
	}
	EXPECT(failed >= 5);
}

TEST(ksm_merge, unmerge_without_memory,
     "whichever allocation of an opt-out fails, contents are right and the "
     "rest can go on (B49)")
{
	for (unsigned n = 1;; n++) {
		struct mm *mm = ksm_equal(6, 9);
		bool hit;
		int ret;

		ksm_scans(2);
		inject_arm(n);
		ret = ksm_unmergeable(mm, P(1), P(5));
		hit = inject_disarm();
		EXPECT_EQ(ret, hit ? -ENOMEM : 0);
		for (unsigned i = 0; i < 6; i++)
			EXPECT_EQ(rd(mm, P(i)), 9);
		EXPECT_KSM_SOUND();
		EXPECT_EQ(ksm_unmergeable(mm, P(1), P(5)), 0);
		EXPECT_KSM(1, 1, 0, 0);
		mm_put(mm);
		if (!hit) {
			EXPECT(n >= 5);
			break;
		}
	}
}
