/* SPDX-License-Identifier: MIT */
/*
 * ksm_swap.c - merged pages in swap: C100, C104
 */
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

#define SPACES 3

TEST(ksm_swap, merged_page_leaves_every_table,
     "a merged page of three address spaces is swapped out to one slot, and "
     "each "
     "gets a page of its own back (C100)")
{
	struct mm *mm[SPACES];

	swap_fixture_begin(8);
	for (unsigned i = 0; i < SPACES; i++)
		mm[i] = ksm_equal(2, 'E');
	ksm_scans(2);
	REQUIRE(is_merged(mm[0], P(0)));
	EXPECT_EQ(swap_out_at(mm[0], P(0)), 0);
	EXPECT_EQ(swap_stat().used, 1);
	EXPECT_KSM(0, 0, 0, 0);
	EXPECT_KSM_SOUND();
	for (unsigned i = 0; i < SPACES; i++)
		for (unsigned k = 0; k < 2; k++) {
			EXPECT(swapped_at(mm[i], P(k)));
			EXPECT_EQ(rd(mm[i], P(k)), 'E');
			EXPECT(!is_merged(mm[i], P(k)));
		}
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_STR_NULL(mm_check());
	for (unsigned i = 0; i < SPACES; i++) {
		REQUIRE(!wr(mm[i], P(0), i));
		EXPECT_EQ(rd(mm[i], P(0)), i);
		EXPECT_EQ(rd(mm[i], P(1)), 'E');
	}
	ksm_scans(3);
	EXPECT(is_merged(mm[0], P(1)) && is_merged(mm[2], P(1)));
	for (unsigned i = 0; i < SPACES; i++)
		mm_put(mm[i]);
	swap_fixture_end();
}

TEST(ksm_swap, frame_in_the_cache_is_copied,
     "a merged frame that a failed write has left in the cache is copied for "
     "each "
     "entry that comes back, and stays merged and unchanged (B46)")
{
	struct mm *a, *b;
	struct page *page;

	swap_fixture_begin(8);
	a = ksm_equal(1, 'E');
	b = ksm_equal(1, 'E');
	ksm_scans(2);
	page = page_at(a, P(0));
	REQUIRE(page && page_kind(page) == PAGE_KSM);
	swap_fixture_fail(0, 1);
	EXPECT_EQ(swap_out(page), -EIO);
	EXPECT_EQ(wr(a, P(0), 'A'), 0);
	EXPECT_EQ(page_kind(page), PAGE_KSM);
	EXPECT_EQ(*(uint64_t *)page_va(page), 'E');
	EXPECT_KSM_SOUND();
	EXPECT_EQ(rd(b, P(0)), 'E');
	EXPECT_EQ(rd(a, P(0)), 'A');
	EXPECT_EQ(page_refs(page), 1);
	page_put(page);
	mm_put(a);
	mm_put(b);
	swap_fixture_end();
}

TEST(ksm_swap, opt_out_and_scan_pass_by,
     "a scan and an opt-out find swapped pages in their way, and leave them "
     "out")
{
	struct mm *a, *b;

	swap_fixture_begin(8);
	a = ksm_equal(3, 'E');
	b = ksm_equal(3, 'E');
	ksm_scans(2);
	REQUIRE(is_merged(a, P(0)));
	EXPECT_EQ(swap_out_at(a, P(0)), 0);
	REQUIRE(!wr(a, P(1), 'S'));
	EXPECT_EQ(swap_out_at(a, P(1)), 0);
	ksm_scans(3);
	EXPECT(swapped_at(a, P(0)) && swapped_at(b, P(0)));
	EXPECT(swapped_at(a, P(1)));
	EXPECT_EQ(ksm_unmergeable(a, P(0), P(3)), 0);
	EXPECT(swapped_at(a, P(0)) && swapped_at(a, P(1)));
	EXPECT_EQ(rd(a, P(0)), 'E');
	EXPECT_EQ(rd(a, P(1)), 'S');
	EXPECT_EQ(rd(a, P(2)), 'E');
	EXPECT_EQ(rd(b, P(2)), 'E');
	ksm_scans(3);
	EXPECT(!is_merged(a, P(0)));
	mm_put(a);
	mm_put(b);
	swap_fixture_end();
}

TEST(ksm_swap, page_in_the_cache_is_not_merged,
     "a page that the swap cache holds is not merged: it has one reference "
     "more than "
     "its entries (B47)")
{
	struct mm *mm, *child, *other;

	swap_fixture_begin(8);
	mm = ksm_equal(1, 'E');
	swap_out_pages(mm, 0, 1);
	child = fork_of(mm);
	other = ksm_equal(1, 'E');
	EXPECT_EQ(rd(mm, P(0)), 'E'); /* shared: the child names the slot */
	ksm_scans(3);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT_EQ(rd(child, P(0)), 'E'); /* the last: it leaves the cache */
	ksm_scans(3);
	EXPECT(is_merged(mm, P(0)));
	mm_put(child);
	mm_put(mm);
	mm_put(other);
	swap_fixture_end();
}

TEST(ksm_swap, merged_page_is_in_a_batch_once,
     "a merged page that an address space maps twice is one frame for reclaim")
{
	struct mm *a, *b;

	swap_fixture_begin(8);
	a = ksm_equal(2, 'E');
	b = ksm_equal(2, 'E');
	ksm_scans(2);
	REQUIRE(is_merged(a, P(0)) && is_merged(a, P(1)));
	make_old(a, 2);
	EXPECT_EQ(mm_reclaim(a, 2), 1);
	EXPECT(swapped_at(a, P(1)) && swapped_at(b, P(0)));
	EXPECT_EQ(swap_stat().outs, 1);
	EXPECT_EQ(rd(a, P(1)), 'E');
	mm_put(a);
	mm_put(b);
	swap_fixture_end();
}
