/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - pages merge and are private again: C88, C89, C93, C103, B46-B50
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/mm/ksm_fixture.h"

TEST(ksm, equal_pages_become_one,
     "two equal pages of one space share a frame after two passes (C88)")
{
	struct mm *mm = ksm_equal(2, 'A');

	ksm_scans(1);
	EXPECT_KSM(0, 0, 0, 2);
	ksm_scans(1);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT(same_frame(mm, P(0), mm, P(1)));
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'A');
	EXPECT(!(entry_at(mm, P(0)) & (PTE_W | ENTRY_IW)));
	EXPECT(!(entry_at(mm, P(1)) & (PTE_W | ENTRY_IW)));
	EXPECT_KSM_SOUND();
	mm_put(mm);
	EXPECT_KSM(0, 0, 0, 0);
}

TEST(ksm, equal_pages_of_many_spaces,
     "100 equal pages in 5 spaces become one frame, and the other 99 frames "
     "are free (C88)")
{
	struct mm *mm[5];
	uint64_t before, after;

	for (unsigned k = 0; k < 5; k++)
		mm[k] = ksm_equal(20, 'S');
	ksm_scans(1);
	pmm_drain();
	before = pmm_free_pages();
	ksm_scans(1);
	pmm_drain();
	after = pmm_free_pages();
	EXPECT_KSM(1, 99, 0, 0);
	EXPECT(after > before + 90);
	for (unsigned k = 0; k < 5; k++) {
		EXPECT(same_frame(mm[0], P(0), mm[k], P(19)));
		for (unsigned i = 0; i < 20; i++)
			EXPECT_EQ(rd(mm[k], P(i)), 'S');
	}
	EXPECT_KSM_SOUND();
	for (unsigned k = 0; k < 5; k++) {
		EXPECT_KSM(1, 99 - 20 * k, 0, 0);
		mm_put(mm[k]);
	}
}

TEST(ksm, write_isolates_the_writer,
     "a write to a merged page changes only the page of the mm that writes "
     "(C88)")
{
	struct mm *mm[3];

	for (unsigned k = 0; k < 3; k++)
		mm[k] = ksm_equal(1, 7);
	ksm_scans(2);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(wr(mm[1], VA, 8), 0);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm[0], VA), 7);
	EXPECT_EQ(rd(mm[1], VA), 8);
	EXPECT_EQ(rd(mm[2], VA), 7);
	EXPECT(!is_merged(mm[1], VA));
	EXPECT_KSM_SOUND();

	/* It merges again when it is equal again. */
	EXPECT_EQ(wr(mm[1], VA, 7), 0);
	ksm_scans(2);
	EXPECT_KSM(1, 2, 0, 0);
	for (unsigned k = 0; k < 3; k++)
		mm_put(mm[k]);
}

TEST(ksm, last_sharer_does_not_write_in_place,
     "a merged frame is never written, not even through its last entry (B46)")
{
	struct mm *mm = ksm_equal(2, 5);
	struct page *page;

	ksm_scans(2);
	page = page_at(mm, P(0));
	wr(mm, P(1), 6);
	EXPECT_EQ(page_maps(page), 1);
	page_put(page);
	wr(mm, P(0), 9);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT_KSM(0, 0, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 9);
	mm_put(mm);
}

TEST(ksm, different_pages_stay_apart,
     "pages that differ, if only in their last 8 bytes, are never merged")
{
	struct mm *mm = ksm_fixture(64);

	for (unsigned i = 0; i < 64; i++)
		wr(mm, P(i + 1) - 8, i + 1);
	ksm_scans(4);
	EXPECT_KSM(0, 0, 64, 0);
	for (unsigned i = 0; i < 64; i++)
		EXPECT_EQ(rd(mm, P(i + 1) - 8), i + 1);
	EXPECT_KSM_SOUND();
	mm_put(mm);
}

TEST(ksm, changing_page_stays_volatile,
     "a page that is written between all passes is merged only after two "
     "passes without a write (C89)")
{
	struct mm *mm = ksm_fixture(2);

	for (unsigned i = 0; i < 5; i++) {
		wr(mm, P(0), i);
		wr(mm, P(1), i);
		ksm_scans(1);
		EXPECT_KSM(0, 0, 0, 2);
	}
	ksm_scans(1);
	EXPECT_KSM(1, 1, 0, 0);
	mm_put(mm);
}

TEST(ksm, rewritten_with_same_content_merges,
     "a page that is rewritten with its own content counts as unchanged")
{
	struct mm *mm = ksm_fixture(2);

	for (unsigned i = 0; i < 2; i++) {
		wr(mm, P(0), 3);
		wr(mm, P(1), 3);
		ksm_scans(1);
	}
	EXPECT_KSM(1, 1, 0, 0);
	mm_put(mm);
}

TEST(ksm, swapped_contents_between_steps,
     "two pages that exchange their contents in the middle of a pass merge, "
     "and every page keeps its content")
{
	struct mm *mm = ksm_fixture(4);

	for (unsigned i = 0; i < 4; i++)
		wr(mm, P(i), i % 2);
	ksm_scans(1);
	/* Scan one page at a time, and swap the contents after each. */
	for (unsigned i = 0; i < 12; i++) {
		EXPECT(ksm_scan(1) >= 0);
		wr(mm, P(0), i % 2);
		wr(mm, P(1), !(i % 2));
		EXPECT_EQ(rd(mm, P(2)), 0);
		EXPECT_EQ(rd(mm, P(3)), 1);
		EXPECT_KSM_SOUND();
	}
	ksm_scans(3);
	EXPECT_KSM(2, 2, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 0);
	mm_put(mm);
}

TEST(ksm, only_mergeable_regions_merge,
     "pages of regions that did not opt in are not merged (B50)")
{
	struct mm *mm = mm_fixture(6);

	for (unsigned i = 0; i < 6; i++)
		wr(mm, P(i), 4);
	EXPECT_EQ(ksm_mergeable(mm, P(2), P(4)), 0);
	ksm_scans(3);
	EXPECT_KSM(1, 1, 0, 0);
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(is_merged(mm, P(i)), i == 2 || i == 3);
	EXPECT_EQ(ksm_mergeable(mm, VA, P(7)), -ENOENT);
	EXPECT_EQ(ksm_mergeable(mm, P(4), P(4)), -EINVAL);
	EXPECT_EQ(ksm_unmergeable(mm, VA, P(7)), -ENOENT);
	EXPECT_EQ(ksm_unmergeable(mm, VA + 1, P(6)), -EINVAL);
	EXPECT_KSM_SOUND();
	mm_put(mm);
}

TEST(ksm, shared_memory_is_not_merged,
     "an opt-in over a range with shared memory leaves the pages of objects "
     "unmerged")
{
	struct object *object = object_create(2);
	struct mm *mm;

	REQUIRE(object);
	mm = mm_fixture_shared(object, 2);
	wr(mm, P(0), 1);
	wr(mm, P(1), 1);
	EXPECT_EQ(ksm_mergeable(mm, VA, P(2)), 0);
	ksm_scans(3);
	EXPECT_KSM(0, 0, 0, 0);
	EXPECT(!same_frame(mm, P(0), mm, P(1)));
	EXPECT_KSM_SOUND();
	mm_put(mm);
	object_put(object);
}

TEST(ksm, unmergeable_gives_private_pages,
     "after an opt-out each page of the range is private and has its content "
     "(C97, B49)")
{
	struct mm *mm = ksm_equal(8, 2), *other = ksm_equal(8, 2);

	ksm_scans(2);
	EXPECT_KSM(1, 15, 0, 0);
	EXPECT_EQ(ksm_unmergeable(mm, P(2), P(6)), 0);
	EXPECT_KSM(1, 11, 0, 0);
	for (unsigned i = 0; i < 8; i++) {
		EXPECT_EQ(is_merged(mm, P(i)), i < 2 || i >= 6);
		EXPECT_EQ(rd(mm, P(i)), 2);
	}
	ksm_scans(3);
	EXPECT_KSM(1, 11, 0, 0);
	EXPECT_EQ(ksm_mergeable(mm, VA, P(8)), 0);
	ksm_scans(2);
	EXPECT_KSM(1, 15, 0, 0);
	mm_put(mm);
	mm_put(other);
}

TEST(ksm, opt_out_finds_every_entry_of_a_table,
     "an opt-out unmerges every page of its range, at each position of a page "
     "table, and no page outside the range")
{
	struct mm *mm = ksm_equal(200, 3);

	ksm_scans(2);
	EXPECT_EQ(ksm_unmergeable(mm, P(10), P(190)), 0);
	for (unsigned i = 0; i < 200; i++)
		EXPECT_EQ(is_merged(mm, P(i)), i < 10 || i >= 190);
	EXPECT_KSM_SOUND();
	mm_put(mm);
}

TEST(ksm, unmerge_all_keeps_regions_mergeable,
     "ksm_unmerge_all() makes every page private, and the next passes merge "
     "them again (C97)")
{
	struct mm *a = ksm_fixture(4), *b = ksm_fixture(4);

	for (unsigned i = 0; i < 4; i++) {
		wr(a, P(i), i);
		wr(b, P(i), i);
	}
	ksm_scans(2);
	EXPECT_KSM(4, 4, 0, 0);
	EXPECT_EQ(ksm_unmerge_all(), 0);
	EXPECT_KSM(0, 0, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT(!same_frame(a, P(i), b, P(i)));
		EXPECT_EQ(rd(a, P(i)), i);
		EXPECT_EQ(rd(b, P(i)), i);
	}
	ksm_scans(2);
	EXPECT_KSM(4, 4, 0, 0);
	mm_put(a);
	mm_put(b);
}
