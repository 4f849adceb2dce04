/* SPDX-License-Identifier: MIT */
/*
 * huge_checker.c - mm_check() looks at entries of 2 MiB (mm/check/check.c)
 *
 * Each test makes by hand what a broken kernel would leave behind, takes the complaint,
 * and puts it right again.
 */
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/huge_pool.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/block.h"
#include "mm/rmap/huge_zero.h"
#include "tests/fixture/mm/huge_fixture.h"

/* Return true if mm_check() complains as the glob says. */
static bool says(const char *glob)
{
	return glob_match(glob, mm_check() ?: "");
}

TEST(huge_checker, live_entries_are_sound,
     "the checker has no complaint about 2 MiB of one mm, of zeroes, and of a "
     "block that a child shares, before and after the block is split")
{
	struct mm *mm = huge_filled(), *child;

	EXPECT_EQ(rd(mm, Q(0)), 0);
	REQUIRE(entry_page(entry_at(mm, Q(0))) == huge_zero);
	EXPECT_STR_NULL(mm_check());
	REQUIRE(!mm_fork(mm, &child));
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(mm_unmap(child, P(3), P(4)), 0);
	EXPECT(!block_whole(huge_head(mm)));
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT_STR_NULL(mm_check());
	mm_put(child);
	mm_put(mm);
}

TEST(huge_checker, small_entry_with_its_bit_is_found,
     "an entry of 4 KiB with PTE_PS is reported, the last of a table, too")
{
	struct mm *mm = mm_fixture(N);
	uint64_t *slot, was;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(wr(mm, P(N - 1), 1), 0);
	slot = pt_slot(&mm->pt, P(N - 1), 0, false);
	was = pte_read(slot);
	pte_write(slot, was | PTE_PS);
	EXPECT(says("*a small entry at*has PS"));
	pte_write(slot, was);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(huge_checker, entry_of_no_block_is_found,
     "a huge entry of a block that is no user's is reported")
{
	struct mm *mm = huge_filled();
	struct page *other = pages_alloc(BLOCK_ORDER);
	uint64_t *slot = pt_slot(&mm->pt, VA, 1, false), was = pte_read(slot);

	if (!other)
		test_skip("needs a free block of 2 MiB");
	page_set_exclusive(other);
	pte_write(slot, (was & ~PTE_ADDR) | page_pa(other));
	EXPECT(says("*maps no block"));
	pte_write(slot, was);
	page_put(other);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(huge_checker, lost_table_is_found,
     "a huge entry without a table in the deposit is reported")
{
	struct mm *mm = huge_filled();
	struct page *all = mm->deposit;

	mm->deposit = all->mapping.next;
	EXPECT(says("*1 huge entries, 0 tables for them"));
	mm->deposit = all;
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(huge_checker, entry_that_crosses_its_region_is_found,
     "a huge entry that does not lie inside one region is reported, and so is "
     "a region of the fixed pool with a block of another kind")
{
	struct mm *mm = huge_filled();
	struct region *r = region_first(mm, VA, VA + 1);
	va_t end = r->end;

	r->end = VA + BLOCK_SIZE - PAGE_SIZE;
	EXPECT(says("*crosses its region"));
	r->end = end;
	r->flags |= MAP_HUGETLB;
	EXPECT(says("*disagree about the pool"));
	r->flags &= ~MAP_HUGETLB;
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(huge_checker, exclusive_frame_of_a_split_block_is_found,
     "a frame of a split block that is exclusive while a huge entry maps it is "
     "reported, and so is a pinned one")
{
	struct mm *mm = huge_filled(), *child;
	struct page *page;

	REQUIRE(!mm_fork(mm, &child));
	REQUIRE(!mm_unmap(child, P(3), P(4)));
	page = huge_head(mm) + N - 1;
	EXPECT(!page_exclusive(page));
	page_set_exclusive(page);
	EXPECT(says("*of a huge entry is exclusive"));
	page_clear_exclusive(page);
	atomic_fetch_add(&page->pins, 1);
	EXPECT(says("*of a huge entry is exclusive"));
	atomic_fetch_sub(&page->pins, 1);
	mm_check(); /* the reference of the pin is no longer missed */
	EXPECT_STR_NULL(mm_check());
	mm_put(child);
	mm_put(mm);
}

TEST(huge_checker, mapping_of_the_zeroes_without_an_entry_is_found,
     "a mapping that the block of zeroes counts and no entry has is reported")
{
	struct mm *mm = huge_fixture();

	EXPECT_EQ(rd(mm, VA), 0);
	REQUIRE(huge_head(mm) == huge_zero);
	EXPECT_STR_NULL(mm_check());
	page_map_add(huge_zero);
	EXPECT(says("*has 2 mappings"));
	page_map_drop(huge_zero);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(huge_checker, block_that_left_the_pool_is_found,
     "a block of the fixed pool that is neither free nor mapped is reported")
{
	unsigned at_boot = huge_pool_stat().total;
	struct mm *mm = mm_create();
	struct page *block;

	REQUIRE(mm);
	if (at_boot || huge_pool_resize(2) != 2) {
		huge_pool_resize(at_boot);
		mm_put(mm);
		test_skip("needs memory in blocks of 2 MiB, no hugepages=");
	}
	REQUIRE(!mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGETLB, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, VA, 1), 0);
	EXPECT_STR_NULL(mm_check());
	block = huge_pool_take();
	EXPECT(block && says("hugetlb frame*has 0 mappings"));
	page_put(block);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	EXPECT_EQ(huge_pool_resize(at_boot), at_boot);
}
