/* SPDX-License-Identifier: MIT */
/*
 * guest_zeroes.c - a guest in 2 MiB that nothing was written to
 */
#include "mm/rmap/huge_zero.h"
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
