/* SPDX-License-Identifier: MIT */
/*
 * guest_zeroes.c - a guest in 2 MiB that nothing was written to
 */
#include "mm/huge/scan.h"
#include "mm/rmap/huge_zero.h"
#include "mm/rmap/rmap.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/huge_fixture.h"

static void zeroes_for_guest(void)
{
	static struct resident r;
	struct mm *mm = huge_fixture();

	resident_start(&r, guest_form(), mm);
	EXPECT_EQ(guest_reads(&r, P(9)), 0);
	EXPECT(entry_page(entry_at(mm, VA)) == huge_zero);
	EXPECT_EQ(guest_peeks(&r, P(300)), 0);
	EXPECT_EQ(wr(mm, P(300), 3), 0);
	EXPECT_EQ(guest_reads(&r, P(300)), 3);
	EXPECT_EQ(guest_writes(&r, P(9), 1), 0);
	EXPECT_EQ(rd(mm, P(9)), 1);
	EXPECT_EQ(guest_reads(&r, Q(9)), 0);
	huge_split_at(mm, Q(1));
	EXPECT_EQ(guest_reads(&r, Q(9)), 0);
	EXPECT_EQ(guest_writes(&r, Q(9), 2), 0);
	EXPECT_EQ(rd(mm, Q(9)), 2);
	EXPECT_EQ(*(uint64_t *)page_va(huge_zero + 9), 0);
	resident_stop(&r);
	mm_put(mm);
}

TEST(guest_huge, reads_the_zeroes,
     "a guest's first read maps the block of zeroes, which neither its write "
     "nor the process's changes, before and after a split")
{
	with_each_form(zeroes_for_guest);
}

static void used_by_guest(void)
{
	static struct resident r;
	struct mm *mm = mm_fixture(N);

	for (unsigned i = 0; i < N; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	resident_start(&r, guest_form(), mm);
	for (unsigned i = 0; i < N; i++) {
		struct page *page = page_at(mm, P(i));

		REQUIRE(page);
		page_mark_idle(page);
		page_put(page);
	}
	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	huge_full_scan();
	EXPECT(!entry_huge(entry_at(mm, VA)));
	EXPECT_EQ(guest_reads(&r, P(300)), 301);
	huge_full_scan();
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT_EQ(guest_reads(&r, P(300)), 301);
	resident_stop(&r);
	mm_put(mm);
}

TEST(huge_scan, use_by_a_guest_counts,
     "512 small pages that nobody has used are left; after a guest has read "
     "one, by a nested table of its own or by the process's, they are "
     "collapsed (C87)")
{
	with_each_form(used_by_guest);
}
