/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - which pages are swapped out, and how many stay
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "mm/notifier/flush.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/mm/swap_fixture.h"

TEST(reclaim, unused_pages_go_first,
     "of eight pages those that were not used since the last turn are swapped "
     "out, "
     "and the others stay (C74)")
{
	struct mm *mm = swap_fixture(8, 8);

	make_old(mm, 8);
	for (unsigned i = 0; i < 8; i += 2)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_EQ(mm_reclaim(mm, 4), 4);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(swapped_at(mm, P(i)), i & 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, used_pages_go_at_last,
     "if all pages are in use as many go as are asked for, after they had a "
     "turn")
{
	struct mm *mm = swap_fixture(8, 8);

	EXPECT_EQ(mm_reclaim(mm, 3), 3);
	EXPECT_EQ(mm->mapped, 5);
	EXPECT_EQ(mm_reclaim(mm, 100), 5);
	EXPECT_EQ(mm_reclaim(mm, 1), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	swap_fixture_end();
}

/* Hook of reclaim_page: use every page that is mapped, before the hand is there
 * again. */
static void use_all(uint64_t a, uint64_t b, void *mm)
{
	for (unsigned i = 0; i < 4; i++)
		if (!swapped_at(mm, P(i)))
			EXPECT_EQ(rd(mm, P(i)), i + 1);
}

TEST(reclaim, pages_in_constant_use_go_too,
     "pages that are used again before each turn go in the last one: a reclaim "
     "ends")
{
	struct mm *mm = swap_fixture(8, 4);

	hook("reclaim_page", use_all, mm);
	EXPECT_EQ(mm_reclaim(mm, 2), 2);
	unhook("reclaim_page");
	EXPECT_EQ(swap_stat().used, 2);
	mm_put(mm);
	swap_fixture_end();
}

/* Hook of reclaim_page: use all pages but page 3, before the hand is there again. */
static void use_all_but_3(uint64_t a, uint64_t b, void *mm)
{
	for (unsigned i = 0; i < 8; i++)
		if (i != 3 && !swapped_at(mm, P(i)))
			EXPECT_EQ(rd(mm, P(i)), i + 1);
}

TEST(reclaim, a_turn_is_a_whole_one,
     "a reclaim that begins in the middle of the address space finds the one "
     "page "
     "that is not used, behind where it began, before any used page goes (C74)")
{
	struct mm *mm = swap_fixture(8, 8);

	mm->hand = P(4);
	hook("reclaim_page", use_all_but_3, mm);
	EXPECT_EQ(mm_reclaim(mm, 1), 1);
	unhook("reclaim_page");
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(swapped_at(mm, P(i)), i == 3);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, hand_goes_on, "the next reclaim begins where the last one ended")
{
	struct mm *mm = swap_fixture(8, 6);

	make_old(mm, 6);
	EXPECT_EQ(mm_reclaim(mm, 2), 2);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(mm_reclaim(mm, 2), 2);
	EXPECT(!swapped_at(mm, P(0)) && !swapped_at(mm, P(1)));
	EXPECT(swapped_at(mm, P(2)) && swapped_at(mm, P(3)));
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, what_must_stay_stays,
     "pinned pages, locked regions and the zero page are not touched, and "
     "keep their accessed bits (B41)")
{
	struct mm *mm = swap_fixture(8, 2);
	struct page *pinned;

	REQUIRE(!mm_map(mm, P(4), PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	REQUIRE(!mm_map(mm, P(8), PAGE_SIZE, RW, 0, NULL, 0, NULL));
	REQUIRE(!wr(mm, P(4), 'L'));
	EXPECT_EQ(rd(mm, P(8)), 0);
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &pinned));
	EXPECT_EQ(mm_reclaim(mm, 100), 1);
	EXPECT(swapped_at(mm, P(1)));
	EXPECT(entry_at(mm, P(0)) & PTE_A);
	EXPECT(entry_at(mm, P(4)) & PTE_A);
	EXPECT(entry_page(entry_at(mm, P(8))) == zero_page);
	EXPECT_EQ(swap_stat().used, 1);
	unpin_pages(&pinned, 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, limit_holds,
     "an address space that uses four times as many pages as its limit allows "
     "has "
     "never more in memory, and each comes back with what was written")
{
	struct mm *mm;

	swap_fixture_begin(64);
	mm = mm_fixture(64);
	mm_set_limit(mm, 16);
	for (unsigned pass = 1; pass <= 3; pass++)
		for (unsigned i = 0; i < 64; i++) {
			if (pass > 1)
				EXPECT_EQ(rd(mm, P(i)), pass * 100 + i - 100);
			EXPECT_EQ(wr(mm, P(i), pass * 100 + i), 0);
			EXPECT(mm->mapped <= 16);
		}
	EXPECT(swap_stat().outs >= 3 * 64 - 16);
	EXPECT(swap_stat().ins >= 2 * (64 - 16));
	mm_set_limit(mm, 0);
	for (unsigned i = 0; i < 64; i++)
		EXPECT_EQ(rd(mm, P(i)), 300 + i);
	EXPECT_EQ(mm->mapped, 64);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, full_store_is_no_error,
     "an address space above its limit works on if the store is full or fails: "
     "its "
     "pages stay in memory")
{
	struct mm *mm;

	swap_fixture_begin(4);
	mm = mm_fixture(16);
	mm_set_limit(mm, 2);
	swap_fixture_fail(0, 3);
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	EXPECT_EQ(swap_stat().used, 4);
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, limit_that_was_lifted,
     "a fault that saw a limit which is lifted before it makes room swaps "
     "nothing out; a limit of one page is one of two")
{
	struct mm *mm = swap_fixture(8, 4);

	mm_set_limit(mm, 1);
	EXPECT_EQ(mm->limit, 2);
	mm_set_limit(mm, 0);
	mm_keep_limit(mm); /* as the fault does, which read the limit before */
	EXPECT_EQ(mm->mapped, 4);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, child_has_the_limit,
     "the child of a fork has the limit of its parent")
{
	struct mm *mm = swap_fixture(32, 4), *child;

	mm_set_limit(mm, 4);
	child = fork_of(mm);
	REQUIRE(!mm_map(child, P(8), 8 * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	for (unsigned i = 8; i < 16; i++) {
		EXPECT_EQ(wr(child, P(i), i), 0);
		EXPECT(child->mapped <= 4);
	}
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(child, P(i)), i + 1);
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, failed_allocation_makes_room,
     "a fault whose allocation fails swaps pages out and tries again")
{
	struct mm *mm = swap_fixture(32, 8);

	REQUIRE(!mm_map(mm, P(20), PAGE_SIZE, RW, 0, NULL, 0, NULL));
	inject_arm(1);
	EXPECT_EQ(mm_fault(mm, P(20), PROT_W), 0);
	EXPECT(inject_disarm());
	EXPECT(swap_stat().outs > 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, one_flush_for_a_batch,
     "sixteen pages that were not used are swapped out with one flush of the "
     "CPU "
     "that has them, and each comes back")
{
	struct mm *mm = swap_fixture(64, 2 * EVICT_BATCH);
	uint64_t flushes;

	make_old(mm, 2 * EVICT_BATCH);
	mm_bind(mm);
	flushes = tlb_flush_count();
	EXPECT_EQ(mm_reclaim(mm, 2 * EVICT_BATCH), 2 * EVICT_BATCH);
	EXPECT_EQ(tlb_flush_count() - flushes, 2);
	mm_bind(NULL);
	for (unsigned i = 0; i < 2 * EVICT_BATCH; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	swap_fixture_end();
}

/* Hook of tlb_flush: no frame of the batch is free, stored, or counted as unmapped. */
static void batch_is_whole(uint64_t of, uint64_t start, void *pages)
{
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(page_maps(((struct page **)pages)[i]), 1);
	EXPECT_EQ(swap_fixture_writes(), 0);
}

TEST(reclaim, batch_is_stored_after_its_flush,
     "no page of a batch is written to the store, freed, or counted as "
     "unmapped "
     "before the flush (B2, B39, B42)")
{
	struct mm *mm = swap_fixture(8, 4);
	struct page *pages[4];

	make_old(mm, 4);
	for (unsigned i = 0; i < 4; i++) {
		pages[i] = page_at(mm, P(i));
		page_put(pages[i]); /* no reference of ours keeps it */
	}
	mm_bind(mm);
	hook("tlb_flush", batch_is_whole, pages);
	EXPECT_EQ(mm_reclaim(mm, 4), 4);
	unhook("tlb_flush");
	mm_bind(NULL);
	EXPECT_EQ(swap_fixture_writes(), 4);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, batch_leaves_what_must_stay,
     "a page of a batch that is pinned, or that another thread has taken, "
     "stays, "
     "and the others go; a shared one leaves both tables")
{
	struct mm *mm = swap_fixture(8, 5), *child;
	struct page *page = page_at(mm, P(1));

	REQUIRE(page);
	REQUIRE(!mm_discard(mm, P(3), P(4)));
	child = fork_of(mm);
	REQUIRE(!wr(mm, P(4), 'P')); /* its own: the child has the other */
	make_old(mm, 3);
	make_old(child, 3);
	/* Page 1 has our reference, and is kept in the cache. */
	EXPECT_EQ(mm_reclaim(mm, 3), 3);
	EXPECT(swapped_at(mm, P(0)) && swapped_at(child, P(0)));
	EXPECT(swapped_at(mm, P(1)) && swapped_at(child, P(1)));
	EXPECT(page_swp(page) && page_maps(page) == 0);
	swap_cache_put(page); /* the last user of the frame frees it */
	EXPECT_EQ(swap_stat().outs, 4);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(rd(child, P(i)), i + 1);
	EXPECT_EQ(rd(child, P(4)), 5);
	EXPECT_EQ(rd(mm, P(4)), 'P');
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

/* Hook of swap_written: the write after the first one fails. */
static void fail_next(uint64_t page, uint64_t swp, void *unused)
{
	swap_fixture_fail(0, swap_fixture_writes() == 1);
}

TEST(reclaim, failed_write_keeps_its_page_only,
     "of a batch whose second write fails the second page stays in memory")
{
	struct mm *mm = swap_fixture(8, 4);

	make_old(mm, 4);
	hook("swap_written", fail_next, NULL);
	EXPECT_EQ(mm_reclaim(mm, 4), 3);
	unhook("swap_written");
	EXPECT_EQ(swap_stat().write_errors, 1);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_EQ(swap_stat().hits, 1);
	mm_put(mm);
	swap_fixture_end();
}

/* Swap out the first four pages, chosen before. */
static void batch_of_four(void *arg)
{
	struct evict_batch batch = { .mm = arg, .count = 4 };

	for (unsigned i = 0; i < 4; i++) {
		batch.entries[i].va = P(i);
		batch.entries[i].page = page_at(arg, P(i));
	}
	rw_read_lock(&batch.mm->lock);
	EXPECT_EQ(swap_out_batch(&batch), 3); /* 0, 3 and what was at 2 */
	rw_read_unlock(&batch.mm->lock);
	for (unsigned i = 0; i < 4; i++)
		page_put(batch.entries[i].page);
}

TEST(reclaim, pin_comes_before_the_batch,
     "of a batch that was chosen a page that is pinned before its entry is "
     "cleared "
     "stays mapped, and so does one that is another page by then (B41)")
{
	struct mm *mm = swap_fixture(8, 4);
	struct page *first = page_at(mm, P(0)), *pinned;
	struct sync_point g;
	struct task t;

	sync_point_set(&g, "swap_begun", first);
	page_put(first);
	spawn(&t, batch_of_four, mm);
	sync_point_await(&g);
	REQUIRE(!pin_pages(mm, P(1), 1, PIN_WRITE, &pinned));
	REQUIRE(!mm_discard(mm, P(2), P(3)));
	REQUIRE(!mm_fault(mm, P(2), PROT_W));
	sync_point_release(&g);
	join(&t);
	EXPECT(swapped_at(mm, P(0)) && swapped_at(mm, P(3)));
	EXPECT(entry_at(mm, P(1)) & PTE_P);
	EXPECT(entry_at(mm, P(2)) & PTE_P);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(rd(mm, P(2)), 0);
	unpin_pages(&pinned, 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(reclaim, limit_makes_room_for_more,
     "a fault at a limit of 64 pages swaps nine out with one flush, and the "
     "next "
     "eight swap out none")
{
	struct mm *mm;

	swap_fixture_begin(64);
	mm = mm_fixture(128);
	mm_set_limit(mm, 64);
	for (unsigned i = 0; i < 64; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	make_old(mm, 64);
	for (unsigned i = 64; i < 64 + 9; i++) {
		REQUIRE(!wr(mm, P(i), i + 1));
		EXPECT_EQ(swap_stat().outs, 9);
	}
	EXPECT_EQ(mm->mapped, 64);
	mm_put(mm);
	swap_fixture_end();
}
