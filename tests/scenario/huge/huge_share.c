/* SPDX-License-Identifier: MIT */
/*
 * huge_share.c - pages of 2 MiB that several address spaces map, and what finds one by
 * its frame
 */
#include "kernel/err.h"
#include "mm/ksm/ksm.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fixture/mm/sweep.h"

/* ---- fork and COW --------------------------------------------------------- */

TEST(huge, fork_shares_one_entry,
     "a fork shares 2 MiB by one entry in each table, and both sides lose W")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	EXPECT_EQ(huge_head(child), head);
	EXPECT_EQ(page_count(head), 2 * PAGE_MAP);
	EXPECT_EQ(mappings(head), 2);
	EXPECT(!(entry_at(mm, VA) & ENTRY_W));
	EXPECT(!(entry_at(child, VA) & ENTRY_W));
	EXPECT_EQ(child->mapped, N);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	EXPECT_EQ(mm_discard(child, P(0), P(N)), 0);
	EXPECT_EQ(page_count(head), PAGE_MAP);
	EXPECT_EQ(wr(child, P(0), 1), 0); /* another block at the address */
	EXPECT(entry_huge(entry_at(child, VA)) && huge_head(child) != head);
	EXPECT_EQ(visits(head), 2);
	EXPECT_EQ(mappings(head), 1);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, write_copies_one_page,
     "a write to 2 MiB that a fork shares copies one page: the other address "
     "space keeps its entry and its contents (H15)")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	EXPECT_EQ(wr(child, P(8), 1000), 0);
	EXPECT_EQ(rd(child, P(8)), 1000);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 0, 8), 0);
	EXPECT_EQ(huge_wrong(child, 9, N), 0);
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT(!entry_huge(entry_at(child, VA)));
	EXPECT_EQ(page_count(head + 8), PAGE_MAP);
	EXPECT_EQ(page_count(head + 9), 2 * PAGE_MAP);
	EXPECT_EQ(mappings(head + 9), 2);
	EXPECT_EQ(wr(mm, P(9), 2000), 0); /* the parent's turn to split */
	EXPECT_EQ(rd(child, P(9)), 10);
	EXPECT_EQ(rd(mm, P(9)), 2000);
	mm_put(mm);
	EXPECT_EQ(huge_wrong(child, 9, N), 0);
	mm_put(child);
}

TEST(huge, last_owner_writes_in_place,
     "the last address space that maps 2 MiB gets W in its one entry, and "
     "other "
     "MMUs are notified")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	uint64_t split = huge_splits();
	struct recorder r;

	mm_put(mm);
	record(&r, child);
	EXPECT_EQ(wr(child, P(5), 6), 0);
	EXPECT_RECORDED(&r, "range 0-512");
	record_end(&r);
	EXPECT_EQ(huge_splits(), split);
	EXPECT(entry_at(child, VA) & PTE_W);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
}

TEST(huge, split_block_is_no_single_owner,
     "of a block that another address space has split, the head's count of one "
     "gives nobody a right to write the rest (H35)")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	/* The child maps all but the head's frame. */
	EXPECT_EQ(mm_discard(child, P(0), P(1)), 0);
	EXPECT_EQ(page_count(head), PAGE_MAP);
	EXPECT_EQ(page_count(head + 1), 2 * PAGE_MAP);
	EXPECT_EQ(wr(mm, P(1), 7), 0);
	EXPECT_EQ(rd(child, P(1)), 2);
	EXPECT_EQ(wr(mm, P(0), 8), 0);
	EXPECT_EQ(rd(child, P(0)), 0);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, extra_reference_stops_reuse,
     "a reference on the head that is no mapping makes the last owner copy "
     "(CVE-2020-29374), and a split leaves it with the head's frame")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	mm_put(mm);
	EXPECT(page_try_get_user(head));
	EXPECT(!page_try_get_user(head + 1)); /* whole: no frame of its own */
	EXPECT_EQ(wr(child, P(0), 7), 0);
	EXPECT_EQ(*(uint64_t *)page_va(head), 1);
	EXPECT_EQ(page_count(head), PAGE_REF);
	EXPECT(page_try_get_user(head + 1));
	page_put(head + 1);
	page_put(head);
	EXPECT_EQ(huge_wrong(child, 1, N), 0);
	mm_put(child);
}

TEST(huge, grandchildren_share_a_split_block,
     "an address space that maps a split block by one entry forks and exits, "
     "and each frame is counted for it")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm), *third;
	struct page *head = huge_head(mm);

	EXPECT_EQ(mm_unmap(child, P(0), P(1)), 0); /* splits the block */
	third = fork_of(mm);
	EXPECT(entry_huge(entry_at(third, VA)));
	EXPECT_EQ(page_count(head), 2 * PAGE_MAP);
	EXPECT_EQ(page_count(head + 5), 3 * PAGE_MAP);
	EXPECT_EQ(mappings(head + 5), 3);
	mm_put(mm);
	EXPECT_EQ(page_count(head), PAGE_MAP);
	EXPECT_EQ(huge_wrong(third, 0, N), 0);
	EXPECT_EQ(wr(third, P(0), 9), 0); /* last owner of this frame */
	EXPECT_EQ(entry_page(entry_at(third, P(0))), head);
	EXPECT_EQ(wr(third, P(5), 9), 0); /* the child has it too */
	EXPECT_EQ(rd(child, P(5)), 6);
	mm_put(child);
	mm_put(third);
}

TEST(huge, unmap_marks_each_frame_of_a_split_block,
     "an entry of 2 MiB that was written and goes marks all frames of a block "
     "that another address space has split, whatever the head's mark (B33)")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	EXPECT_EQ(mm_unmap(child, P(0), P(1)), 0); /* marks the head's frame */
	EXPECT(page_test(head, PG_DIRTY));
	EXPECT(!page_test(head + 5, PG_DIRTY));
	EXPECT(entry_huge(entry_at(mm, VA)) && entry_at(mm, VA) & PTE_D);
	EXPECT_EQ(mm_unmap(mm, P(0), P(N)), 0);
	EXPECT(page_test(head + 5, PG_DIRTY));
	EXPECT(page_test(head + N - 1, PG_DIRTY));
	mm_put(child);
	mm_put(mm);
}

TEST(huge, split_passes_the_mark_on,
     "a block that was marked dirty as a whole marks all its frames when it is "
     "split, also where a second mark of the whole had nothing to do")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct mm *third = fork_of(mm);
	struct page *head = huge_head(mm);

	mm_put(child);
	EXPECT(page_test(head, PG_DIRTY));
	mm_put(third);
	EXPECT(!page_test(head + 5, PG_DIRTY));
	huge_split_at(mm, P(1));
	EXPECT(page_test(head + 5, PG_DIRTY));
	mm_put(mm);
}

static int try_fork(struct mm *mm)
{
	struct mm *child;
	int ret = mm_fork(mm, &child);

	if (ret)
		return ret;
	EXPECT(entry_huge(entry_at(child, Q(0))));
	EXPECT_EQ(rd(child, Q(3)), 3);
	mm_put(child);
	return 0;
}

static void map_and_write_second(struct mm *mm)
{
	REQUIRE(!mm_map(mm, Q(0), BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	REQUIRE(!wr(mm, Q(3), 3));
}

TEST(huge, fork_survives_each_failure,
     "a fork of a huge page survives the failure of each of its allocations, "
     "the table for the child's split among them")
{
	sweep(map_and_write_second, try_fork, SNAP_CONTENTS, 8);
}

/* ---- pin, evict, age, merge ----------------------------------------------- */

TEST(huge, pin_splits,
     "a pin splits the entry and counts in its page alone; a fork copies that "
     "page and shares the others (B41)")
{
	struct mm *mm = huge_filled(), *child;
	struct page *page;

	EXPECT_EQ(pin_pages(mm, P(40), 1, PIN_WRITE, &page), 0);
	EXPECT_EQ(page_pins(page), 1);
	EXPECT_EQ(page_count(page), PAGE_MAP + PAGE_REF);
	EXPECT_EQ(page_count(page + 1), PAGE_MAP);
	child = fork_of(mm);
	EXPECT(entry_page(entry_at(child, P(40))) != page);
	EXPECT_EQ(entry_page(entry_at(child, P(41))), page + 1);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	EXPECT_EQ(wr(mm, P(40), 5), 0);
	EXPECT_EQ(*(uint64_t *)page_va(page), 5);
	unpin_pages(&page, 1);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, pin_of_shared_memory_is_a_copy,
     "a pin for reading of 2 MiB that a fork shares gets a page of its own")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *page;

	EXPECT_EQ(pin_pages(child, P(40), 1, 0, &page), 0);
	EXPECT(page_exclusive(page));
	EXPECT_EQ(page_maps(page), 1);
	EXPECT(entry_page(entry_at(mm, P(40))) != page);
	unpin_pages(&page, 1);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, eviction_splits,
     "try_to_unmap() of the head splits in each address space, evicts one page "
     "from both, and the next access finds it again")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	EXPECT(page_try_get_user(head));
	EXPECT_EQ(try_to_unmap(head), 0);
	EXPECT_EQ(page_maps(head), 0);
	EXPECT(entry_evicted(entry_at(mm, P(0))));
	EXPECT(entry_evicted(entry_at(child, P(0))));
	EXPECT(entry_mapped(entry_at(mm, P(1))));
	page_put(head);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, eviction_of_a_frame_under_a_huge_entry,
     "try_to_unmap() of any frame of a split block finds the huge entry that "
     "still maps it")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *frame = huge_head(mm) + 9;

	EXPECT_EQ(mm_unmap(child, P(0), P(1)), 0);
	EXPECT(page_try_get_user(frame));
	EXPECT_EQ(try_to_unmap(frame), 0);
	EXPECT_EQ(page_maps(frame), 0);
	page_put(frame);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 1, N), 0);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, swap_out_splits,
     "a swap-out of the head splits and takes one page, which comes back "
     "unchanged; the other frames are in no swap cache")
{
	struct mm *mm = huge_filled(), *child;
	struct page *head = huge_head(mm);
	unsigned cached = 0;

	swap_fixture_begin(8);
	child = fork_of(mm);
	EXPECT(page_try_get_user(head));
	EXPECT_EQ(swap_out(head), 0);
	for (unsigned i = 1; i < N; i++)
		cached += page_swp(head + i) != 0;
	EXPECT_EQ(cached, 0);
	page_put(head);
	EXPECT(swapped_at(mm, P(0)) && swapped_at(child, P(0)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(huge, reclaim_takes_a_huge_page_apart,
     "reclaim swaps out pages of a huge page after it has split it, and they "
     "come back unchanged")
{
	struct mm *mm = huge_filled();

	swap_fixture_begin(64);
	EXPECT_EQ(mm_reclaim(mm, 20), 20);
	EXPECT_EQ(mm->mapped, N - 20);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
	swap_fixture_end();
}

TEST(huge, limit_gets_small_pages,
     "an address space with a limit gets small pages, since a fault makes room "
     "for one")
{
	struct mm *mm = huge_fixture();

	mm_set_limit(mm, 4);
	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(mm->mapped, 1);
	mm_put(mm);
}

TEST(huge, locked_region_is_not_split_for_eviction,
     "try_to_unmap() refuses a huge page of a locked region and leaves it "
     "whole")
{
	struct mm *mm = mm_create();
	struct page *head;

	REQUIRE(mm);
	REQUIRE(!mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGE | MAP_LOCKED, NULL, 0,
			NULL));
	EXPECT_EQ(wr(mm, VA, 1), 0);
	head = huge_head(mm);
	EXPECT(page_try_get_user(head));
	EXPECT_EQ(try_to_unmap(head), -EBUSY);
	EXPECT(entry_huge(entry_at(mm, VA)));
	page_put(head);
	mm_put(mm);
}

TEST(huge, aging_asks_about_the_whole_leaf,
     "aging of 2 MiB clears A of the one entry, flushes all of it and asks the "
     "notifiers about all 512 pages (C43, H3)")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);
	struct recorder r;

	EXPECT(page_try_get_user(head));
	EXPECT(page_young(head));
	record(&r, mm);
	EXPECT_EQ(page_referenced(head), 1);
	EXPECT_RECORDED(&r, "range 0-512; flush_young 0-512");
	EXPECT_EQ(page_referenced(head), 0);
	record_end(&r);
	EXPECT_EQ(rd(mm, P(500)), 501);
	EXPECT(page_young(head));
	EXPECT(entry_huge(entry_at(mm, VA)));
	page_put(head);
	mm_put(mm);
}

static bool used_page(struct mmu_notifier *mn, struct mm *mm, va_t va)
{
	return va == P(300);
}

TEST(huge, one_page_used_makes_the_leaf_young,
     "2 MiB are young if a secondary MMU has used any page of them (C43)")
{
	static const struct mmu_notifier_ops ops = { .test_young = used_page };
	struct mmu_notifier mn = { .ops = &ops };
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);

	EXPECT(page_try_get_user(head));
	EXPECT_EQ(page_referenced(head), 1);
	EXPECT(!page_young(head));
	EXPECT_EQ(mmu_notifier_register(&mn, mm), 0);
	EXPECT(page_young(head));
	mmu_notifier_unregister(&mn);
	EXPECT(!page_young(head));
	page_put(head);
	mm_put(mm);
}

TEST(huge, scanner_leaves_huge_pages,
     "the KSM scanner merges no part of a huge page, and all of it once it is "
     "split (C103, H26)")
{
	struct mm *mm = huge_fixture();
	struct ksm_stat before, after;

	EXPECT_EQ(wr(mm, P(0), 7), 0);
	EXPECT_EQ(wr(mm, Q(0), 7), 0);
	EXPECT_EQ(ksm_mergeable(mm, P(0), P(2 * N)), 0);
	ksm_stat(&before);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(ksm_full_scan(), 0);
	ksm_stat(&after);
	EXPECT_EQ(after.pages_sharing, before.pages_sharing);
	EXPECT(entry_huge(entry_at(mm, P(0))));
	huge_split_at(mm, P(1));
	huge_split_at(mm, Q(1));
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(ksm_full_scan(), 0);
	EXPECT_EQ(entry_page(entry_at(mm, P(0))),
		  entry_page(entry_at(mm, Q(0))));
	EXPECT_EQ(rd(mm, P(0)), 7);
	EXPECT_EQ(rd(mm, Q(0)), 7);
	EXPECT_EQ(ksm_unmergeable(mm, P(0), P(2 * N)), 0);
	mm_put(mm);
}
