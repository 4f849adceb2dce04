/* SPDX-License-Identifier: MIT */
/*
 * swap_error.c - stores that fail, are full, or go out of use
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fixture/mm/sweep.h"

TEST(swap_error, failed_read_is_an_error,
     "an access to a page that cannot be read from the store fails with -EIO "
     "and "
     "reads nothing, not zeroes; a later one gets the content")
{
	struct mm *mm = swap_fixture(4, 1);

	swap_out_pages(mm, 0, 1);
	swap_fixture_fail(3, 0);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(wr(mm, P(0), 'X'), -EFAULT);
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -EIO);
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(swap_stat().read_errors, 3);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_error, failed_write_keeps_the_page,
     "a page that cannot be written to the store stays in memory, and is "
     "written "
     "at the next attempt")
{
	struct mm *mm = swap_fixture(4, 2);
	struct page *page = page_at(mm, P(0));

	REQUIRE(page);
	swap_fixture_fail(0, 2);
	EXPECT_EQ(swap_out(page), -EIO);
	EXPECT_EQ(page_refs(page), 2); /* ours, and the cache's */
	EXPECT_EQ(swap_out_at(mm, P(1)), -EIO);
	EXPECT_EQ(swap_out(page), 0); /* an unmapped page goes out, too */
	EXPECT_EQ(page_refs(page), 1);
	page_put(page);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(swap_fixture_reads(), 1); /* page 1 was in the cache */
	EXPECT_EQ(swap_stat().write_errors, 2);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_error, full_store_changes_nothing,
     "a swap-out to a full store is refused before anything is unmapped; when "
     "a slot "
     "is free it succeeds")
{
	struct mm *mm = swap_fixture(2, 3);
	uint64_t e;

	swap_out_pages(mm, 0, 2);
	e = entry_at(mm, P(2));
	EXPECT_EQ(swap_out_at(mm, P(2)), -ENOSPC);
	EXPECT_EQ(entry_at(mm, P(2)), e);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(swap_out_at(mm, P(2)), 0);
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_EQ(rd(mm, P(1)), 2);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_error, without_a_store_nothing_goes,
     "without a store a swap-out is refused and changes nothing")
{
	struct mm *mm = mm_fixture(1);

	REQUIRE(!wr(mm, P(0), 'A'));
	EXPECT_EQ(swap_out_at(mm, P(0)), -ENOSPC);
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(swap_off(), -EINVAL);
	mm_put(mm);
}

TEST(swap_error, one_store_of_a_good_size,
     "a second store, an empty one, and one with more pages than slot numbers "
     "are "
     "refused")
{
	struct swap_store bad = { .name = "bad" };
	struct ram_store ram;

	EXPECT_EQ(swap_on(&bad), -EINVAL);
	bad.pages = SWAP_STORE_MAX + 1;
	EXPECT_EQ(swap_on(&bad), -EINVAL);
	EXPECT_EQ(ram_store_init(&ram, 0), -EINVAL);
	EXPECT_EQ(ram_store_init(&ram, SWAP_STORE_MAX + 1), -EINVAL);
	swap_fixture_begin(1);
	bad.pages = 1;
	EXPECT_EQ(swap_on(&bad), -EBUSY);
	swap_fixture_end();
}

TEST(swap_error, store_without_memory_is_none,
     "a store in RAM and the slots of any store need memory: whichever "
     "allocation fails, nothing is in use")
{
	struct ram_store ram;

	for (unsigned n = 1; n <= 3; n++) {
		inject_arm(n);
		EXPECT_EQ(ram_store_init(&ram, 2), -ENOMEM);
		EXPECT(inject_disarm());
	}
	REQUIRE(!ram_store_init(&ram, 2));
	inject_arm(1);
	EXPECT_EQ(swap_on(&ram.store), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(swap_stat().pages, 0);
	ram_store_destroy(&ram);
}

TEST(swap_error, swapoff_brings_all_back,
     "swapoff brings every page of every address space back, forks, moved and "
     "inaccessible ones included, and gives out no slot meanwhile")
{
	struct mm *mm = swap_fixture(16, 6), *child;

	swap_out_pages(mm, 0, 6);
	child = fork_of(mm);
	REQUIRE(!mm_remap(mm, P(1), PAGE_SIZE, P(30), PAGE_SIZE, NULL));
	REQUIRE(!mm_protect(mm, P(2), P(3), PROT_NONE));
	REQUIRE(!wr(child, P(3), 'C'));
	EXPECT_EQ(swap_off(), 0);
	EXPECT_EQ(swap_stat().pages, 0);
	swap_fixture_off();
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(30)), 2);
	EXPECT_EQ(rd(child, P(1)), 2);
	EXPECT_EQ(rd(mm, P(2)), BAD);
	REQUIRE(!mm_protect(mm, P(2), P(3), RW));
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_EQ(rd(mm, P(3)), 4);
	EXPECT_EQ(rd(child, P(3)), 'C');
	mm_put(child);
	mm_put(mm);
}

TEST(swap_error, swapoff_of_a_store_that_fails,
     "a swapoff that cannot read a page fails, loses nothing, and leaves the "
     "store in "
     "use")
{
	struct mm *mm = swap_fixture(4, 3);

	swap_out_pages(mm, 0, 2);
	swap_fixture_fail(1, 0);
	EXPECT_EQ(swap_off(), -EIO);
	EXPECT_EQ(swap_out_at(mm, P(2)), 0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	swap_fixture_end();
}

/* ---- memory ----------------------------------------------------------------- */

static void all_out(struct mm *mm)
{
	swap_fixture_begin(16);
	swap_out_pages(mm, 0, 8);
}

static int one_in(struct mm *mm)
{
	int ret = mm_fault(mm, P(0), PROT_R);

	if (ret)
		return ret;
	inject_disarm(); /* the rest is not the operation */
	EXPECT_EQ(rd(mm, P(0)), 1);
	swap_fixture_end();
	EXPECT_EQ(rd(mm, P(7)), 8);
	return 0;
}

TEST(swap_error, each_allocation_may_fail,
     "a fault on a swapped page survives the failure of each of its "
     "allocations, and "
     "nothing has changed")
{
	sweep(all_out, one_in, SNAP_STATE, 1);
}
