/* SPDX-License-Identifier: MIT */
/*
 * ksm_zero.c - pages of zeroes and the zero page: C98, H27
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/ksm_fixture.h"

/* Writes a page and sets it to zero again. */
static void zeroes(struct mm *mm, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		wr(mm, P(i), 1);
		wr(mm, P(i), 0);
	}
}

static uint64_t zero_pages(void)
{
	return ksm_now().ksm_zero_pages_sharing;
}

static struct mm *zero_fixture(unsigned n)
{
	struct mm *mm = ksm_fixture(n);

	ksm_knobs.use_zero_pages = true;
	zeroes(mm, n);
	ksm_scans(1);
	EXPECT_EQ(zero_pages(), n);
	return mm;
}

static void done(struct mm *mm)
{
	mm_put(mm);
	EXPECT_EQ(zero_pages(), 0);
	ksm_knobs_reset();
}

TEST(ksm_zero, zeroes_go_to_the_zero_page,
     "pages of zeroes are merged with the zero page, and a write gets a new "
     "page (C98)")
{
	struct mm *mm = zero_fixture(4);

	EXPECT_KSM(0, 0, 0, 0);
	EXPECT(same_frame(mm, P(0), mm, P(3)));
	EXPECT(entry_page(entry_at(mm, P(0))) == zero_page);
	EXPECT(!(entry_at(mm, P(0)) & PTE_W));
	EXPECT_EQ(rd(mm, P(2)), 0);
	EXPECT_EQ(wr(mm, P(1), 5), 0);
	EXPECT_EQ(zero_pages(), 3);
	EXPECT_EQ(rd(mm, P(1)), 5);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_KSM_SOUND();
	done(mm);
}

TEST(ksm_zero, needs_use_zero_pages,
     "without use_zero_pages pages of zeroes are merged like any other "
     "content")
{
	struct mm *mm = ksm_fixture(4);

	zeroes(mm, 4);
	ksm_scans(2);
	EXPECT_EQ(zero_pages(), 0);
	EXPECT_KSM(1, 3, 0, 0);
	EXPECT(entry_page(entry_at(mm, P(0))) != zero_page);
	mm_put(mm);
}

TEST(ksm_zero, untouched_pages_are_not_counted,
     "entries of the zero page that read faults made are not counted as "
     "merged")
{
	struct mm *mm = ksm_fixture(4);

	ksm_knobs.use_zero_pages = true;
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i)), 0);
	ksm_scans(2);
	EXPECT_EQ(zero_pages(), 0);
	EXPECT_EQ(ksm_unmergeable(mm, VA, P(4)), 0);
	EXPECT(entry_page(entry_at(mm, P(0))) == zero_page);
	done(mm);
}

TEST(ksm_zero, all_ways_out_are_counted,
     "discard, unmap, fork, exit and opt-out keep the count of merged zero "
     "pages exact (C98)")
{
	struct mm *mm = zero_fixture(8), *child;

	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_EQ(zero_pages(), 7);
	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
	EXPECT_EQ(zero_pages(), 6);
	child = fork_of(mm);
	EXPECT_EQ(zero_pages(), 12);
	EXPECT_EQ(wr(child, P(3), 1), 0);
	EXPECT_EQ(zero_pages(), 11);
	EXPECT_EQ(ksm_unmergeable(mm, P(4), P(6)), 0);
	EXPECT_EQ(zero_pages(), 9);
	for (unsigned i = 4; i < 6; i++) {
		EXPECT(entry_page(entry_at(mm, P(i))) != zero_page);
		EXPECT_EQ(rd(mm, P(i)), 0);
	}
	EXPECT_KSM_SOUND();
	mm_put(child);
	EXPECT_EQ(zero_pages(), 4);
	EXPECT_EQ(ksm_unmerge_all(), 0);
	EXPECT_EQ(zero_pages(), 0);
	done(mm);
}

TEST(ksm_zero, move_and_protect_keep_the_count,
     "a move and a change of rights keep the count of merged zero pages")
{
	struct mm *mm = zero_fixture(2);

	EXPECT_EQ(mm_protect(mm, VA, P(2), PROT_NONE), 0);
	EXPECT_EQ(mm_protect(mm, VA, P(2), RW), 0);
	EXPECT_EQ(mm_remap(mm, VA, 2 * PAGE_SIZE, P(50), 2 * PAGE_SIZE, NULL),
		  0);
	EXPECT_KSM_SOUND();
	EXPECT_EQ(zero_pages(), 2);
	EXPECT_EQ(rd(mm, P(50)), 0);
	EXPECT_EQ(wr(mm, P(51), 1), 0);
	EXPECT_EQ(zero_pages(), 1);
	done(mm);
}

TEST(ksm_zero, pin_gets_a_page,
     "a pin of a page that was merged with the zero page gets a new page")
{
	struct mm *mm = zero_fixture(1);
	struct page *page;

	EXPECT_EQ(pin_pages(mm, VA, 1, 0, &page), 0);
	EXPECT(page != zero_page);
	EXPECT_EQ(zero_pages(), 0);
	*(uint64_t *)page_va(page) = 3;
	EXPECT_EQ(rd(mm, VA), 3);
	unpin_pages(&page, 1);
	done(mm);
}

TEST(ksm_zero, opt_out_without_memory,
     "an opt-out that finds no memory leaves zero pages and their count "
     "unchanged")
{
	struct mm *mm = zero_fixture(3);

	inject_arm(2);
	EXPECT_EQ(ksm_unmergeable(mm, VA, P(3)), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(zero_pages(), 2);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(rd(mm, P(i)), 0);
	EXPECT_KSM_SOUND();
	done(mm);
}

static void unmap_one(void *arg)
{
	EXPECT_EQ(mm_unmap(arg, VA, P(1)), 0);
}

TEST(ksm_zero, unmap_races_with_the_zero_page,
     "an unmap between scan and merge of a page of zeroes leaves the count at "
     "0 (H27)")
{
	struct mm *mm = ksm_fixture(1);
	struct task scan, unmap;
	struct sync_point g;
	int ret = -1;

	ksm_knobs.use_zero_pages = true;
	zeroes(mm, 1);
	sync_point_set(&g, "ksm_checksummed", mm);
	spawn(&scan, ksm_pass, &ret);
	sync_point_await(&g);
	spawn(&unmap, unmap_one, mm);
	EXPECT(still_waits(&unmap));
	sync_point_release(&g);
	join(&scan);
	join(&unmap);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(zero_pages(), 0);
	done(mm);
}
