/* SPDX-License-Identifier: MIT */
/*
 * ksm_scan.c - which pages a scan covers, and which need no new checksum
 */
#include "arch/clock.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/fixture/mm/ksm_fixture.h"

static unsigned summed;

static uint32_t sum_counting(const void *page)
{
	summed++;
	return ksm_sum(page);
}

/* Returns how many checksums a pass computes. */
static unsigned sums(void)
{
	summed = 0;
	ksm_knobs.sum = sum_counting;
	EXPECT_EQ(ksm_full_scan(), 0);
	ksm_knobs_reset();
	return summed;
}

static struct mm *distinct(unsigned n)
{
	struct mm *mm = ksm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), 1 + i);
	return mm;
}

TEST(ksm_scan, unchanged_page_gets_no_checksum,
     "a page that is not written gets one checksum, and each write causes one "
     "more")
{
	struct mm *mm = distinct(8);

	EXPECT_EQ(sums(), 8);
	EXPECT_EQ(sums(), 0);
	wr(mm, P(3), 100);
	rd(mm, P(4));
	EXPECT_EQ(sums(), 1);
	EXPECT_EQ(sums(), 0);
	mm_put(mm);
}

TEST(ksm_scan, stale_dirty_translation_is_flushed,
     "a write through a translation that was dirty before the checksum is "
     "noticed")
{
	struct mm *mm = distinct(2);

	mm_bind(mm);
	for (unsigned i = 0; i < 3; i++) {
		wr(mm, P(0), 10 + i);
		wr(mm, P(1), 10 + i);
		EXPECT_EQ(sums(), 2);
	}
	mm_bind(NULL);
	ksm_scans(1);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 12);
	mm_put(mm);
}

TEST(ksm_scan, written_by_a_pin_gets_a_checksum,
     "a page that was written through a pin gets a checksum after the unpin")
{
	struct mm *mm = distinct(2);
	struct page *page;

	EXPECT_EQ(sums(), 2);
	EXPECT_EQ(pin_pages(mm, P(0), 1, PIN_WRITE, &page), 0);
	EXPECT_EQ(sums(), 0);
	*(uint64_t *)page_va(page) = 2;
	unpin_pages(&page, 1);
	EXPECT_EQ(sums(), 1);
	ksm_scans(1);
	EXPECT_KSM(1, 1, 0, 0);
	mm_put(mm);
}

TEST(ksm_scan, short_pin_sets_dirty,
     "a page that is pinned, written and unpinned between two passes gets a "
     "checksum, although no CPU wrote it")
{
	struct mm *mm = distinct(1);
	struct page *page;

	EXPECT_EQ(sums(), 1);
	EXPECT_EQ(pin_pages(mm, P(0), 1, PIN_WRITE, &page), 0);
	*(uint64_t *)page_va(page) = 2;
	unpin_pages(&page, 1);
	EXPECT_EQ(sums(), 1);
	mm_put(mm);
}

TEST(ksm_scan, opt_out_clears_rmap_items,
     "pages that opt out leave all counters at once")
{
	struct mm *mm = distinct(300);

	ksm_scans(2);
	EXPECT_KSM(0, 0, 300, 0);
	EXPECT_EQ(ksm_unmergeable(mm, P(10), P(290)), 0);
	EXPECT_KSM(0, 0, 20, 0);
	EXPECT_EQ(ksm_unmerge_all(), 0);
	EXPECT_KSM(0, 0, 0, 0);
	ksm_scans(2);
	EXPECT_KSM(0, 0, 20, 0);
	mm_put(mm);
}

TEST(ksm_scan, old_rmap_item_of_a_new_region,
     "the rmap_item of a page that was unmapped is not merged with the page "
     "that is mapped there now (B50)")
{
	struct mm *mm = ksm_fixture(1), *other = ksm_fixture(1);

	wr(mm, VA, 50);
	wr(other, VA, 50);
	ksm_scans(1);
	EXPECT_EQ(ksm_scan(1), 1); /* mm's page is in the unstable tree */
	EXPECT_EQ(mm_map(mm, VA, PAGE_SIZE, RW, MAP_REPLACE, NULL, 0, NULL), 0);
	wr(mm, VA, 50);
	ksm_scans(1);
	EXPECT(!is_merged(mm, VA));
	EXPECT(!is_merged(other, VA));
	EXPECT_KSM_SOUND();
	ksm_scans(2);
	EXPECT_KSM(0, 0, 1, 0);
	mm_put(other);
	mm_put(mm);
}

static void touch(void *arg)
{
	EXPECT_EQ(wr(arg, P(1), 3), 0);
}

TEST(ksm_scan, page_comes_during_the_scan,
     "the first private page of a chunk that appears during its scan is "
     "scanned in the next pass")
{
	struct mm *mm = ksm_fixture(2);
	struct task scan, fault;
	struct sync_point g;
	int ret = -1;

	EXPECT_EQ(rd(mm, P(0)), 0); /* there is a table, and no private page */
	sync_point_set(&g, "ksm_batch_start", mm);
	spawn(&scan, ksm_pass, &ret);
	sync_point_await(&g);
	spawn(&fault, touch, mm);
	join(&fault);
	sync_point_release(&g);
	join(&scan);
	EXPECT_EQ(ret, 0);
	EXPECT_KSM(0, 0, 0, 0);
	ksm_scans(2);
	EXPECT_KSM(0, 0, 1, 0);
	mm_put(mm);
}

TEST(ksm_scan, moved_page_gets_a_checksum,
     "a page that moves away, is written and scanned, and moves back gets a "
     "new checksum")
{
	struct mm *mm = ksm_fixture(1);

	EXPECT_EQ(mm_map(mm, P(10), PAGE_SIZE, RW, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(ksm_mergeable(mm, P(10), P(11)), 0);
	wr(mm, P(10), 7);
	wr(mm, P(0), 1);
	ksm_scans(1);
	EXPECT_EQ(ksm_scan(1), 1); /* P(0) is scanned in this pass */
	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(20), PAGE_SIZE, NULL), 0);
	wr(mm, P(20), 7);
	ksm_scans(1);
	EXPECT_EQ(mm_remap(mm, P(20), PAGE_SIZE, P(0), PAGE_SIZE, NULL), 0);
	ksm_scans(3);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 7);
	EXPECT_EQ(rd(mm, P(10)), 7);
	mm_put(mm);
}

TEST(ksm_scan, page_that_came_back_gets_a_checksum,
     "a page that is moved to a region that is not mergeable, written, and "
     "moved back gets a new checksum, and merges")
{
	struct mm *mm = mm_fixture(1), *other;
	va_t away = P(1000);

	EXPECT_EQ(wr(mm, VA, 1), 0);
	EXPECT_EQ(ksm_mergeable(mm, VA, P(1)), 0);
	EXPECT_EQ(ksm_scan(1), 1); /* an rmap_item with the checksum of 1 */
	EXPECT_EQ(mm_remap(mm, VA, PAGE_SIZE, away, PAGE_SIZE, NULL), 0);
	EXPECT_EQ(wr(mm, away, 2), 0);
	EXPECT_EQ(ksm_scan(1), 1); /* in the same pass: clears D */
	EXPECT_EQ(ksm_unmergeable(mm, away, away + PAGE_SIZE), 0);
	EXPECT_EQ(mm_remap(mm, away, PAGE_SIZE, VA, PAGE_SIZE, NULL), 0);
	EXPECT_EQ(ksm_mergeable(mm, VA, P(1)), 0);
	other = ksm_equal(2, 2);
	ksm_scans(6);
	EXPECT(same_frame(mm, VA, other, P(0)));
	mm_put(mm);
	mm_put(other);
}

TEST(ksm_scan, evicted_page_keeps_dirty,
     "a page that was written, evicted and brought back gets a new checksum")
{
	struct mm *mm = distinct(1);
	struct page *page;

	EXPECT_EQ(sums(), 1);
	wr(mm, VA, 9);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(rd(mm, VA), 9);
	EXPECT_EQ(sums(), 1);
	mm_put(mm);
}

static const struct mmu_notifier_ops deaf = { 0 };

TEST(ksm_scan, with_a_notifier_each_scan_computes_a_checksum,
     "in an mm with a notifier, whose MMU may write without setting D, each "
     "pass computes all checksums")
{
	struct mmu_notifier mn = { .ops = &deaf };
	struct mm *mm = distinct(4);

	EXPECT_EQ(sums(), 4);
	EXPECT_EQ(mmu_notifier_register(&mn, mm), 0);
	EXPECT_EQ(sums(), 4);
	EXPECT_EQ(sums(), 4);
	mmu_notifier_unregister(&mn);
	EXPECT_EQ(sums(), 4);
	EXPECT_KSM(0, 0, 4, 0);
	mm_put(mm);
}

TEST(ksm_scan, steps_are_exact,
     "ksm_scan(n) scans n pages, in order, and stops early at the end of a "
     "pass")
{
	struct mm *mm[3];
	uint64_t scans = ksm_now().full_scans, pages;

	for (unsigned k = 0; k < 3; k++)
		mm[k] = distinct(5);
	pages = ksm_now().pages_scanned;
	EXPECT_EQ(ksm_scan(7), 7);
	EXPECT_KSM(0, 0, 0, 7);
	EXPECT_EQ(ksm_scan(1), 1);
	EXPECT_EQ(ksm_now().full_scans, scans);
	EXPECT_EQ(ksm_scan(100), 7);
	EXPECT_EQ(ksm_now().full_scans, scans + 1);
	EXPECT_KSM(0, 0, 0, 15);
	EXPECT_EQ(ksm_now().pages_scanned, pages + 15);
	for (unsigned k = 0; k < 3; k++)
		mm_put(mm[k]);
	EXPECT_EQ(ksm_scan(10), 0);
	EXPECT_EQ(ksm_now().full_scans, scans + 1);
}

TEST(ksm_scan, new_space_is_scanned_last,
     "a space that opts in during a pass is scanned in the next one")
{
	struct mm *a = distinct(4), *b;

	EXPECT_EQ(ksm_scan(2), 2);
	b = distinct(4);
	EXPECT_EQ(ksm_scan(100), 2);
	EXPECT_KSM(0, 0, 0, 4);
	EXPECT_EQ(ksm_scan(100), 8);
	EXPECT_KSM(0, 0, 4, 4);
	mm_put(a);
	mm_put(b);
}

TEST(ksm_scan, gone_pages_lose_their_rmap_items,
     "pages that a pass does not meet any more leave the counters, and their "
     "rmap_items are freed")
{
	struct mm *mm = distinct(600);
	uint64_t bytes;

	ksm_scans(2);
	EXPECT_KSM(0, 0, 600, 0);
	bytes = ksm_now().bytes;
	EXPECT_EQ(mm_unmap(mm, P(100), P(600)), 0);
	ksm_scans(1);
	EXPECT_KSM(0, 0, 100, 0);
	EXPECT(ksm_now().bytes < bytes / 2);
	EXPECT_EQ(mm_discard(mm, P(0), P(50)), 0);
	ksm_scans(1);
	EXPECT_KSM(0, 0, 50, 0);
	for (unsigned i = 50; i < 100; i++)
		wr(mm, P(i), 1);
	ksm_scans(3);
	EXPECT_KSM(1, 49, 0, 0);
	mm_put(mm);
}

TEST(ksm_scan, regions_across_tables,
     "a region that begins and ends anywhere in a page table is scanned "
     "whole, and no page outside it")
{
	struct mm *mm = mm_fixture(1500);

	for (unsigned i = 0; i < 1500; i += 3)
		wr(mm, P(i), 'R');
	EXPECT_EQ(ksm_mergeable(mm, P(99), P(1401)), 0);
	EXPECT_EQ(sums(), 434);
	ksm_scans(1);
	EXPECT_KSM(2, 432, 0, 0);
	EXPECT(!is_merged(mm, P(96)));
	EXPECT(is_merged(mm, P(99)));
	EXPECT(is_merged(mm, P(1398)));
	EXPECT(!is_merged(mm, P(1401)));
	mm_put(mm);
}

TEST(ksm_scan, thread_merges_by_itself,
     "the thread merges equal pages, each once, until it is stopped")
{
	struct mm *mm = ksm_equal(64, 'T');
	uint64_t scanned;

	ksm_knobs.sleep_ns = 100000;
	ksm_knobs.pages_to_scan = 10;
	EXPECT_EQ(ksm_start(), 0);
	EXPECT_EQ(ksm_start(), -EBUSY);
	while (ksm_now().pages_sharing < 63)
		yield();
	ksm_stop();
	ksm_stop();
	EXPECT_KSM(1, 63, 0, 0);
	scanned = ksm_now().pages_scanned;
	for (unsigned i = 0; i < 50; i++)
		yield();
	EXPECT_EQ(ksm_now().pages_scanned, scanned);
	mm_put(mm);
	ksm_knobs_reset();
}

TEST(ksm_scan, thread_sleeps_between_batches,
     "after as many pages as a batch has the thread sleeps as long as its "
     "setting says, before it scans one more")
{
	struct mm *mm = ksm_equal(64, 'T');
	uint64_t before = ksm_now().pages_scanned, start = clock_ns();

	ksm_knobs.sleep_ns = 10000000;
	ksm_knobs.pages_to_scan = 10;
	EXPECT_EQ(ksm_start(), 0);
	while (ksm_now().pages_scanned <= before + ksm_knobs.pages_to_scan)
		yield();
	EXPECT(clock_ns() - start >= ksm_knobs.sleep_ns);
	ksm_stop();
	mm_put(mm);
	ksm_knobs_reset();
}
