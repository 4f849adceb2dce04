/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - which pages are swapped out, and how many stay
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/mm/swap_fixture.h"

/* Clear the accessed bits of n pages, as a turn of the hand does. */
static void make_old(struct mm *mm, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_at(mm, P(i));

		REQUIRE(page);
		page_referenced(page);
		page_put(page);
	}
}

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
     "pinned pages, locked regions, objects and the zero page are not touched, "
     "and "
     "keep their accessed bits (B41)")
{
	struct mm *mm = swap_fixture(8, 2);
	struct object *object = object_create(1);
	struct page *pinned;

	REQUIRE(object);
	REQUIRE(!mm_map(mm, P(4), PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	REQUIRE(!mm_map(mm, P(6), PAGE_SIZE, RW, 0, object, 0, NULL));
	REQUIRE(!mm_map(mm, P(8), PAGE_SIZE, RW, 0, NULL, 0, NULL));
	REQUIRE(!wr(mm, P(4), 'L') && !wr(mm, P(6), 'O'));
	EXPECT_EQ(rd(mm, P(8)), 0);
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &pinned));
	EXPECT_EQ(mm_reclaim(mm, 100), 1);
	EXPECT(swapped_at(mm, P(1)));
	EXPECT(entry_at(mm, P(0)) & PTE_A);
	EXPECT(entry_at(mm, P(4)) & PTE_A);
	EXPECT(entry_at(mm, P(6)) & PTE_P);
	EXPECT(entry_page(entry_at(mm, P(8))) == zero_page);
	EXPECT_EQ(swap_stat().used, 1);
	unpin_pages(&pinned, 1);
	mm_put(mm);
	object_put(object);
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
