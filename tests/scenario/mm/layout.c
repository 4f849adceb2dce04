/* SPDX-License-Identifier: MIT */
/*
 * layout.c - map, unmap, protect, discard and remap, whole and in part
 */
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/space/gather.h"
#include "tests/fixture/mm/mm_fixture.h"

static unsigned regions(struct mm *mm)
{
	struct region *r;
	unsigned n = 0;

	rw_read_lock(&mm->lock);
	for_each_region (r, mm, USER_START, USER_END)
		n++;
	rw_read_unlock(&mm->lock);
	return n;
}

static struct mm *filled(unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), i + 1);
	return mm;
}

TEST(layout, bad_ranges_are_refused,
     "ranges that are unaligned, empty, outside the user half or wrap around "
     "are refused")
{
	struct mm *mm = mm_fixture(1);

	EXPECT_EQ(mm_map(mm, VA + 1, PAGE_SIZE, RW, 0, NULL, 0, NULL), -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, 0, RW, 0, NULL, 0, NULL), -EINVAL);
	EXPECT_EQ(mm_map(mm, 0, 100, RW, 0, NULL, 0, NULL), -EINVAL);
	EXPECT_EQ(mm_map(mm, USER_END, PAGE_SIZE, RW, 0, NULL, 0, NULL),
		  -EINVAL);
	EXPECT_EQ(mm_map(mm, PAGE_SIZE, PAGE_SIZE, RW, 0, NULL, 0, NULL),
		  -EINVAL);
	EXPECT_EQ(mm_unmap(mm, P(1), P(1)), -EINVAL);
	EXPECT_EQ(mm_unmap(mm, P(1), P(0)), -EINVAL);
	EXPECT_EQ(mm_protect(mm, VA, ~UINT64_C(0xfff), RW), -EINVAL);
	EXPECT_EQ(mm_discard(mm, VA, VA + 8), -EINVAL);
	mm_put(mm);
}

TEST(layout, taken_address_is_refused,
     "a mapping at a taken address needs MAP_REPLACE")
{
	struct mm *mm = filled(2);

	EXPECT_EQ(mm_map(mm, P(1), PAGE_SIZE, RW, 0, NULL, 0, NULL), -EEXIST);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(mm_map(mm, P(1), PAGE_SIZE, RW, MAP_REPLACE, NULL, 0, NULL),
		  0);
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_put(mm);
}

TEST(layout, addresses_are_chosen_apart,
     "addresses that the kernel chooses never overlap")
{
	struct mm *mm = mm_create();
	va_t at[16];

	REQUIRE(mm);
	for (unsigned i = 0; i < 16; i++) {
		REQUIRE(mm_map(mm, 0, (1 + i % 3) * PAGE_SIZE,
			       i % 2 ? RW : PROT_R, 0, NULL, 0, &at[i]) == 0);
		for (unsigned k = 0; k < i; k++)
			EXPECT(at[k] + (1 + k % 3) * PAGE_SIZE <= at[i] ||
			       at[i] + (1 + i % 3) * PAGE_SIZE <= at[k]);
	}
	mm_put(mm);
}

TEST(layout, equal_neighbours_merge,
     "a mapping next to a region of the same kind makes one region")
{
	struct mm *mm = mm_fixture(2);

	EXPECT_EQ(mm_map(mm, P(2), PAGE_SIZE, RW, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(regions(mm), 1);
	EXPECT_EQ(mm_map(mm, P(3), PAGE_SIZE, PROT_R, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(regions(mm), 2);
	mm_put(mm);
}

TEST(layout, filled_hole_merges_three_regions,
     "memory mapped into a hole between equal regions, private or of an "
     "object, makes one region of three, and a refused move merges nothing "
     "more")
{
	struct mm *mm = filled(3);
	struct object *o = object_create(3);

	REQUIRE(o);
	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
	EXPECT_EQ(mm_map(mm, P(1), PAGE_SIZE, RW, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(regions(mm), 1);
	for (unsigned i = 3; i-- > 0;)
		EXPECT_EQ(mm_map(mm, P(10 + i), PAGE_SIZE, RW, 0, o, i, NULL),
			  0);
	EXPECT_EQ(regions(mm), 2);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT_EQ(mm_remap(mm, P(2), 2 * PAGE_SIZE, P(20), PAGE_SIZE, NULL),
		  -ENOENT);
	EXPECT_EQ(regions(mm), 2);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	object_put(o);
}

TEST(layout, checker_finds_unmerged_regions,
     "the checker reports two regions that could be one")
{
	struct mm *mm = filled(2);

	rw_write_lock(&mm->lock);
	EXPECT_EQ(region_cut(mm, P(1), P(2)), 0);
	rw_write_unlock(&mm->lock);
	EXPECT(mm_check() != NULL);
	rw_write_lock(&mm->lock);
	region_join(mm, P(1), P(1));
	rw_write_unlock(&mm->lock);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(layout, unmap_in_the_middle,
     "an unmap in the middle of a region keeps both ends")
{
	struct mm *mm = filled(9);

	EXPECT_EQ(mm_unmap(mm, P(3), P(6)), 0);
	EXPECT_EQ(regions(mm), 2);
	for (unsigned i = 0; i < 9; i++)
		EXPECT_EQ(rd(mm, P(i)), i >= 3 && i < 6 ? BAD : i + 1);
	mm_put(mm);
}

TEST(layout, unmap_frees_at_once,
     "unmapped pages are free when the unmap returns")
{
	struct mm *mm = filled(200);
	uint64_t before = pmm_free_pages();

	EXPECT_EQ(mm_unmap(mm, VA, P(200)), 0);
	EXPECT(pmm_free_pages() >= before + 200);
	EXPECT_EQ(mm->mapped, 0);
	mm_put(mm);
}

TEST(layout, unmap_frees_tables,
     "an unmap frees the page-table pages that it empties")
{
	struct mm *mm = mm_fixture(1);
	uint64_t tables = mm->pt.tables;

	for (unsigned i = 0; i < 4; i++) {
		va_t va = VA + ((va_t)i << 30);

		if (i)
			REQUIRE(mm_map(mm, va, PAGE_SIZE, RW, 0, NULL, 0,
				       NULL) == 0);
		wr(mm, va, 1);
	}
	EXPECT(mm->pt.tables > tables + 4);
	EXPECT_EQ(mm_unmap(mm, USER_START, USER_END), 0);
	EXPECT_EQ(mm->pt.tables, tables);
	mm_put(mm);
}

TEST(layout, one_flush_for_64_pages,
     "an unmap of 256 pages flushes at most once per 64")
{
	struct mm *mm = filled(256);
	uint64_t before;

	mm_bind(mm);
	before = tlb_flush_count();
	EXPECT_EQ(mm_unmap(mm, VA, P(256)), 0);
	EXPECT(tlb_flush_count() - before <= 256 / GATHER_PAGES + 1);
	EXPECT(tlb_flush_count() > before);
	mm_bind(NULL);
	mm_put(mm);
}

TEST(layout, no_flush_where_never_loaded,
     "an address space that no CPU has loaded is unmapped without a flush")
{
	struct mm *mm = filled(64);
	uint64_t before = tlb_flush_count();

	EXPECT_EQ(mm_unmap(mm, VA, P(64)), 0);
	EXPECT_EQ(tlb_flush_count(), before);
	mm_put(mm);
}

TEST(layout, protect_takes_and_returns_rights,
     "a protect takes rights away and gives them back, and the content stays")
{
	struct mm *mm = filled(4);

	EXPECT_EQ(mm_protect(mm, P(1), P(3), PROT_R), 0);
	EXPECT_EQ(wr(mm, P(1), 9), -EFAULT);
	EXPECT_EQ(wr(mm, P(0), 9), 0);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(regions(mm), 3);
	EXPECT_EQ(mm_protect(mm, P(1), P(3), RW), 0);
	EXPECT_EQ(wr(mm, P(1), 10), 0);
	EXPECT_EQ(rd(mm, P(1)), 10);
	EXPECT_EQ(regions(mm), 1);
	mm_put(mm);
}

TEST(layout, protect_none_hides,
     "PROT_NONE makes a page inaccessible and keeps its content")
{
	struct mm *mm = filled(2);

	EXPECT_EQ(mm_protect(mm, VA, P(2), PROT_NONE), 0);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(mm->mapped, 2);
	EXPECT_EQ(mm_protect(mm, VA, P(2), RW), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(wr(mm, P(1), 5), 0);
	mm_put(mm);
}

TEST(layout, protect_stale_writer,
     "no store succeeds after a protect has returned, not by a stale "
     "translation either")
{
	struct mm *mm = filled(1);

	mm_bind(mm);
	EXPECT_EQ(wr(mm, VA, 1), 0);
	EXPECT_EQ(mm_protect(mm, VA, P(1), PROT_R), 0);
	EXPECT_EQ(wr(mm, VA, 2), -EFAULT);
	EXPECT_EQ(rd(mm, VA), 1);
	mm_bind(NULL);
	mm_put(mm);
}

TEST(layout, unmap_stale_reader,
     "no load reads an unmapped page by a stale translation")
{
	struct mm *mm = filled(3);

	mm_bind(mm);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_EQ(mm_discard(mm, P(2), P(3)), 0);
	EXPECT_EQ(rd(mm, P(2)), 0);
	mm_bind(NULL);
	mm_put(mm);
}

TEST(layout, protect_does_not_break_cow,
     "a protect that gives W back to a shared page does not let a write "
     "through")
{
	struct mm *mm = filled(1), *child = fork_of(mm);

	EXPECT_EQ(mm_protect(mm, VA, P(1), PROT_R), 0);
	EXPECT_EQ(mm_protect(mm, VA, P(1), RW), 0);
	wr(mm, VA, 77);
	EXPECT_EQ(rd(child, VA), 1);
	mm_put(child);
	mm_put(mm);
}

TEST(layout, protect_with_a_hole_is_refused,
     "a protect of a range with a hole is refused and changes nothing")
{
	struct mm *mm = filled(3);

	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
	EXPECT_EQ(mm_protect(mm, VA, P(3), PROT_R), -ENOENT);
	EXPECT_EQ(wr(mm, VA, 4), 0);
	mm_put(mm);
}

TEST(layout, discarded_page_reads_zero,
     "a discarded page reads zero, and its neighbours keep their content")
{
	struct mm *mm = filled(3);

	EXPECT_EQ(mm_discard(mm, P(1), P(2)), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_EQ(regions(mm), 1);
	mm_put(mm);
}

TEST(layout, discard_keeps_object,
     "a discarded page of an object stays in its object")
{
	struct object *o = object_create(1);
	struct mm *mm;

	REQUIRE(o);
	mm = mm_fixture_shared(o, 1);
	wr(mm, VA, 5);
	EXPECT_EQ(mm_discard(mm, VA, P(1)), 0);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(rd(mm, VA), 5);
	mm_put(mm);
	object_put(o);
}

TEST(layout, remap_moves_contents,
     "a move keeps the content of the pages (H36)")
{
	struct mm *mm = filled(8);
	va_t at = 0;

	EXPECT_EQ(mm_remap(mm, P(2), 4 * PAGE_SIZE, P(100), 4 * PAGE_SIZE, &at),
		  0);
	EXPECT_EQ(at, P(100));
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(rd(mm, P(2 + i)), BAD);
		EXPECT_EQ(rd(mm, P(100 + i)), i + 3);
	}
	EXPECT_EQ(rd(mm, P(6)), 7);
	mm_put(mm);
}

TEST(layout, remap_across_tables,
     "a move may cross from one page table to another")
{
	struct mm *mm = filled(8);
	va_t to = (VA & ~UINT64_C(0x1fffff)) + (UINT64_C(8) << 21) -
		  3 * PAGE_SIZE;

	EXPECT_EQ(mm_remap(mm, VA, 8 * PAGE_SIZE, to, 8 * PAGE_SIZE, NULL), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, to + i * PAGE_SIZE), i + 1);
	mm_put(mm);
}

TEST(layout, remap_frees_emptied_tables,
     "a move frees the tables that it empties")
{
	struct mm *mm = filled(2);
	uint64_t tables = mm->pt.tables;

	EXPECT_EQ(
		mm_remap(mm, P(0), 2 * PAGE_SIZE, P(1024), 2 * PAGE_SIZE, NULL),
		0);
	EXPECT_EQ(rd(mm, P(1025)), 2);
	EXPECT_EQ(mm->pt.tables, tables);
	mm_put(mm);
}

TEST(layout, remap_grows_and_shrinks, "a mapping grows in place and shrinks")
{
	struct mm *mm = filled(4);
	va_t at = 0;

	EXPECT_EQ(mm_remap(mm, VA, 4 * PAGE_SIZE, 0, 6 * PAGE_SIZE, &at), 0);
	EXPECT_EQ(at, VA);
	EXPECT_EQ(rd(mm, P(5)), 0);
	EXPECT_EQ(mm_remap(mm, VA, 6 * PAGE_SIZE, 0, 2 * PAGE_SIZE, &at), 0);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(rd(mm, P(2)), BAD);
	mm_put(mm);
}

TEST(layout, remap_makes_the_old_address_unreachable,
     "the old address is unreachable before the pages can be freed by the new "
     "one (B19)")
{
	struct mm *mm = filled(1);

	mm_bind(mm);
	EXPECT_EQ(rd(mm, VA), 1);
	EXPECT_EQ(mm_remap(mm, VA, PAGE_SIZE, P(50), PAGE_SIZE, NULL), 0);
	EXPECT_EQ(rd(mm, VA), BAD);
	EXPECT_EQ(mm_discard(mm, P(50), P(51)), 0);
	EXPECT_EQ(rd(mm, VA), BAD);
	EXPECT_EQ(rd(mm, P(50)), 0);
	mm_bind(NULL);
	mm_put(mm);
}

TEST(layout, remap_forked_pages_stay_shared,
     "the reverse map finds a page of a forked process after it was moved")
{
	struct mm *mm = filled(1), *child = fork_of(mm);
	struct page *page;

	EXPECT_EQ(mm_remap(mm, VA, PAGE_SIZE, P(9), PAGE_SIZE, NULL), 0);
	page = page_at(mm, P(9));
	REQUIRE(page);
	EXPECT_EQ(mappings(page), 2);
	page_put(page);
	mm_put(child);
	mm_put(mm);
}

TEST(layout, objects_bound_their_mappings,
     "a mapping beyond an object's end is refused")
{
	struct object *o = object_create(4);
	struct mm *mm = mm_create();

	REQUIRE(o && mm);
	EXPECT_EQ(mm_map(mm, VA, 5 * PAGE_SIZE, RW, 0, o, 0, NULL), -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, PAGE_SIZE, RW, 0, o, 4, NULL), -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, 2 * PAGE_SIZE, RW, 0, o, 2, NULL), 0);
	EXPECT(!object_create(0));
	EXPECT(!object_create(OBJECT_MAX_PAGES + 1));
	mm_put(mm);
	object_put(o);
}
