/* SPDX-License-Identifier: MIT */
/*
 * ksm_merge.c - the steps of a merge, and accesses between them: C90-C96, H23
 *
 * At steps under a spin lock a hook does the access; at steps that may sleep the
 * scanner is stopped at a sync point.
 */
#include "arch/uaccess.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "tests/fake/late_flush.h"
#include "tests/fixture/mm/ksm_fixture.h"

/* Makes two equal pages that the next pass would merge. */
static struct mm *pair(void)
{
	struct mm *mm = ksm_equal(2, 'A');

	ksm_scans(1);
	return mm;
}

/* Runs the second pass, stops it at a step of `of`, and calls a function there. */
static void disturb(const char *step, struct mm *of, void (*fn)(struct mm *mm))
{
	struct sync_point g;
	struct task t;
	int ret = -1;

	sync_point_set(&g, step, of);
	spawn(&t, ksm_pass, &ret);
	sync_point_await(&g);
	fn(of);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(ret, 0);
}

TEST(ksm_merge, steps_in_order,
     "a merge does write-protection, flush, comparison, clear, flush and set "
     "in this order (B45)")
{
	struct mm *mm = pair();
	uint64_t since = probes_begin();

	mm_bind(mm);
	wr(mm, P(0), 'A');
	wr(mm, P(1), 'A');
	ksm_scans(1);
	EXPECT(probes_in_order(
		since, mm,
		"ksm_write_protect tlb_flush ksm_write_protected "
		"ksm_write_protect tlb_flush ksm_write_protected ksm_compared "
		"pte_clear tlb_flush pte_set unptl"));
	mm_bind(NULL);
	EXPECT(is_merged(mm, P(1)));
	mm_put(mm);
}

static struct {
	unsigned times;
	int store;
	struct page *old;
} stale;

/* Writes by a translation with W that the CPU has cached, if it was not flushed. */
static void store_now(uint64_t a, uint64_t b, void *arg)
{
	if (a != (uint64_t)arg)
		return;
	stale.times++;
	stale.store &= user_store64(b, 'X');
}

TEST(ksm_merge, no_write_after_the_comparison,
     "no CPU can write a page from the comparison on, although it could just "
     "before (C90, B45)")
{
	static const char *const steps[] = { "ksm_write_protected",
					     "ksm_compared" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct mm *mm = pair();

		mm_bind(mm);
		wr(mm, P(0), 'A');
		wr(mm, P(1), 'A');
		ksm_scans(1);
		wr(mm, P(0), 'B');
		wr(mm, P(1), 'B');
		ksm_scans(1);
		/* The scan cleared D with a flush: cache the entries again. */
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

TEST(ksm_merge, write_after_the_checksum_stops_the_merge,
     "a page that is written after its checksum fails the comparison and is "
     "not merged (C93)")
{
	static void (*const writes[])(struct mm *) = { write_first,
						       write_second };

	for (unsigned i = 0; i < 2; i++) {
		struct mm *mm = pair();

		disturb("ksm_batch_end", mm, writes[i]);
		EXPECT(!is_merged(mm, P(0)));
		EXPECT(!is_merged(mm, P(1)));
		EXPECT_EQ(rd(mm, P(i)), 'W');
		EXPECT_EQ(rd(mm, P(!i)), 'A');
		EXPECT_KSM_SOUND();
		mm_put(mm);
	}
}

TEST(ksm_merge, write_between_the_two_reverts,
     "if the second of two pages changes, the first is private again, in its "
     "frame, and writable (C95)")
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

TEST(ksm_merge, write_during_a_merge_is_kept,
     "a write to the first of two pages, before the second is merged with it, "
     "is kept")
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
     "two pages that change alike after their scan are not merged under the "
     "old checksum")
{
	struct mm *mm = pair();

	disturb("ksm_batch_end", mm, write_both);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT_KSM_SOUND();
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(1)), 'W');
	mm_put(mm);
}

TEST(ksm_merge, references_are_counted_after_the_flush,
     "a frame that gets a reference before the flush is not merged, and is "
     "writable again (C94, B47)")
{
	struct mm *mm = pair();
	struct page *held = ksm_scan_held(mm, "ksm_write_protect");
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

TEST(ksm_merge, pin_at_each_step_stops_the_merge,
     "a page that is pinned at any step of a merge keeps its frame until it "
     "is unpinned (C94)")
{
	static const char *const steps[] = { "ksm_batch_end", "ksm_checksummed",
					     "ksm_converted" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct mm *mm = pair();

		wr(mm, P(0), 'B'); /* needs a new checksum */
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

TEST(ksm_merge, read_pin_gets_a_private_page,
     "a pin for reading makes a merged page private first (C105)")
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

/* Let the CPU have a translation again, of the page that is write-protected. */
static void load_again(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t v;

	if (mm == (uint64_t)arg)
		stale.store |= user_load64(va, &v);
}

/* The CPU still has the translation of the old frame, of which another word says
 * that the load came from there. */
static void load_stale(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t v = 0, mark = 0;

	if (mm != (uint64_t)arg)
		return;
	stale.times++;
	stale.store |= user_load64(va, &v) || v != 'A';
	((uint64_t *)page_va(stale.old))[1] = 'M';
	stale.store |= user_load64(va + 8, &mark) || mark != 'M';
	stale.store |= page_kind(stale.old) != PAGE_ANON;
	late_flush_cpus_now(va);
	stale.store |= user_load64(va + 8, &mark) || mark == 'M';
}

TEST(ksm_merge, flush_may_come_after_the_unlock,
     "a CPU whose flush comes after the lock is dropped reads the old frame "
     "until then, which holds the same and is still allocated (B11, C92)")
{
	struct mm *mm = pair();

	stale.old = page_at(mm, P(1));
	page_put(stale.old);
	mm_bind(mm);
	stale.times = 0;
	stale.store = 0;
	late_flush_cpus(mm);
	hook("ksm_write_protected", load_again, mm);
	hook("unptl", load_stale, mm);
	ksm_scans(1);
	unhook("unptl");
	unhook("ksm_write_protected");
	EXPECT_EQ(stale.times, 1);
	EXPECT_EQ(stale.store, 0);
	EXPECT(same_frame(mm, P(0), mm, P(1)));
	wr(mm, P(0), 'B');
	EXPECT_EQ(rd(mm, P(1)), 'A');
	mm_bind(NULL);
	mm_put(mm);
}

/* ---- equal checksums ------------------------------------------------------ */

static uint32_t sum_constant(const void *page)
{
	(void)page;
	return 42;
}

TEST(ksm_merge, collisions_never_merge,
     "pages with equal checksums merge only if their contents are equal")
{
	struct mm *mm = ksm_fixture(40);

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
     "a page that is not zero but has the checksum of zeroes keeps its "
     "content")
{
	struct mm *mm = ksm_fixture(2);

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
     "whichever allocation of two passes fails, no content is lost, and the "
     "next passes merge (C96)")
{
	unsigned failed = 0;

	for (unsigned n = 1;; n++) {
		struct mm *mm = ksm_fixture(4);
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
     "whichever allocation of an opt-out fails, contents are intact, and a "
     "second opt-out succeeds (B49)")
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
