/* SPDX-License-Identifier: MIT */
/*
 * unit_ksm_scan.c - what is looked at when, and what need not be summed again
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/entry.h"
#include "mm/mmu_notifier.h"
#include "tests/ksm_world.h"

static unsigned summed;

static uint32_t sum_counting(const void *page)
{
	summed++;
	return ksm_sum(page);
}

/* Checksums computed in a pass. */
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
	struct mm *mm = ksm_world(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), 1 + i);
	return mm;
}

TEST(ksm_scan, rests_are_not_summed,
     "a page that is not written is summed once, one that is, once more")
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
     "seen")
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

TEST(ksm_scan, written_by_a_pin_is_summed,
     "a page that its pin's owner has written is summed when the pin is gone")
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

TEST(ksm_scan, short_pin_leaves_its_mark,
     "a page that a pin's owner writes between two passes is summed, though "
     "no CPU wrote it")
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

TEST(ksm_scan, opt_out_forgets_at_once,
     "pages that leave are in no counter, from then on")
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

TEST(ksm_scan, old_item_of_a_new_region,
     "what is remembered of a page that was unmapped since is not merged with "
     "what is there now (B50)")
{
	struct mm *mm = ksm_world(1), *other = ksm_world(1);

	wr(mm, VA, 50);
	wr(other, VA, 50);
	ksm_scans(1);
	EXPECT_EQ(ksm_scan(1), 1); /* mm's page is in the tree */
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

TEST(ksm_scan, page_comes_while_we_look,
     "a first private page that appears behind the look for any is left to the "
     "next pass")
{
	struct mm *mm = ksm_world(2);
	struct task scan, fault;
	struct gate g;
	int ret = -1;

	EXPECT_EQ(rd(mm, P(0)), 0); /* there is a table, and no private page */
	gate_close(&g, "ksm_look", mm);
	spawn(&scan, ksm_pass, &ret);
	gate_await(&g);
	spawn(&fault, touch, mm);
	join(&fault);
	gate_open(&g);
	join(&scan);
	EXPECT_EQ(ret, 0);
	EXPECT_KSM(0, 0, 0, 0);
	ksm_scans(2);
	EXPECT_KSM(0, 0, 1, 0);
	mm_put(mm);
}

TEST(ksm_scan, moved_page_is_summed,
     "a page that moves away, is written, looked at, and moves back is not "
     "taken for what it was")
{
	struct mm *mm = ksm_world(1);

	EXPECT_EQ(mm_map(mm, P(10), PAGE_SIZE, RW, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(ksm_mergeable(mm, P(10), P(11)), 0);
	wr(mm, P(10), 7);
	wr(mm, P(0), 1);
	ksm_scans(1);
	EXPECT_EQ(ksm_scan(1), 1); /* P(0) is seen in this pass */
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

TEST(ksm_scan, evicted_page_keeps_its_dirt,
     "a page that was written, parked and brought back is summed")
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

TEST(ksm_scan, listened_to_is_summed_always,
     "where somebody listens, and could write without D, each pass sums")
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
     "ksm_scan(n) looks at n pages, in order, and ends early with the pass")
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

TEST(ksm_scan, newcomer_is_last,
     "a space that opts in during a pass is not looked at before the next")
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

TEST(ksm_scan, gone_pages_are_forgotten,
     "what a pass does not meet any more leaves the counters and the memory")
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
     "a region that begins and ends anywhere is looked at whole, and no page "
     "beside it")
{
	struct mm *mm = world(1500);

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
     "the thread merges what is equal, once, until it is stopped")
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
