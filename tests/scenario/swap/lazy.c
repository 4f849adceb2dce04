/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - memory that was given up, and may be dropped (mm/reclaim/lazy.h): C79, H33
 */
#include "mm/reclaim/lazy.h"
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

/* Return an mm whose page i of n holds i + 1 and was given up. */
static struct mm *given_up(unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	EXPECT_EQ(mm_free_lazily(mm, P(0), P(n)), 0);
	return mm;
}

TEST(lazy, dropped_when_memory_is_needed,
     "pages that were given up are there until reclaim comes, also after a "
     "read, and read as zeroes after it; no swap store is needed")
{
	struct mm *mm = given_up(8);

	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_EQ(mm_reclaim(mm, 100), 8);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_STR_NULL(mm_check());
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, P(i)), 0);
	EXPECT_EQ(wr(mm, P(3), 9), 0);
	EXPECT_EQ(mm_reclaim(mm, 100), 0);
	EXPECT_EQ(rd(mm, P(3)), 9);
	mm_put(mm);
}

TEST(lazy, written_again_is_kept,
     "a page that was written after it had been given up stays, with its other "
     "bytes, and goes to the swap store like any other")
{
	struct mm *mm = given_up(2);

	EXPECT_EQ(wr(mm, P(0) + 8, 7), 0);
	EXPECT_EQ(mm_reclaim(mm, 100), 1);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 0);
	swap_fixture_begin(4);
	EXPECT_EQ(mm_reclaim(mm, 100), 1);
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(rd(mm, P(0) + 8), 7);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(lazy, dirty_bit_of_an_evicted_entry_counts,
     "a page that was written and then evicted and mapped again is kept")
{
	struct mm *mm = given_up(1);
	struct page *page = page_at(mm, P(0));

	EXPECT_EQ(wr(mm, P(0), 5), 0);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(rd(mm, P(0)), 5);
	EXPECT_EQ(mm_reclaim(mm, 100), 0);
	EXPECT_EQ(rd(mm, P(0)), 5);
	mm_put(mm);
}

TEST(lazy, shared_and_locked_pages_stay,
     "pages of a fork, of an object, and of a locked region are not given up, "
     "nor is what a pin uses (H33)")
{
	struct object *object = object_create(1);
	struct mm *mm = mm_fixture(3), *child;
	struct page *pin;

	REQUIRE(object && !mm_map(mm, P(4), PAGE_SIZE, RW, 0, object, 0, NULL));
	REQUIRE(!mm_map(mm, P(6), PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	object_put(object);
	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(wr(mm, P(4), 4), 0);
	child = fork_of(mm);
	EXPECT_EQ(wr(mm, P(6), 6), 0);
	EXPECT_EQ(wr(mm, P(1), 2), 0);
	EXPECT_EQ(wr(mm, P(2), 3), 0);
	EXPECT_EQ(mm_free_lazily(mm, P(0), P(8)), 0);
	REQUIRE(!pin_pages(mm, P(1), 1, 0, &pin)); /* after the advice */
	EXPECT(entry_at(mm, P(6)) & PTE_W);        /* not touched */
	EXPECT_EQ(mm_reclaim(mm, 100), 1);
	page_get(pin);
	EXPECT(!page_drop_lazy(pin));
	page_put(pin);
	EXPECT_EQ(*(uint64_t *)page_va(pin), 2);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(rd(mm, P(2)), 0);
	EXPECT_EQ(rd(mm, P(4)), 4);
	EXPECT_EQ(rd(mm, P(6)), 6);
	unpin_pages(&pin, 1);
	EXPECT_EQ(mm_free_lazily(mm, P(1), P(1)), -EINVAL);
	EXPECT_EQ(mm_free_lazily(mm, P(1) + 1, P(2)), -EINVAL);
	mm_put(child);
	mm_put(mm);
}

TEST(lazy, other_reference_keeps_it,
     "a page that another thread holds is not dropped, and is mapped as before")
{
	struct mm *mm = given_up(1);
	struct page *page = page_at(mm, P(0));

	EXPECT_EQ(mm_reclaim(mm, 100), 0);
	EXPECT_EQ(entry_page(entry_at(mm, P(0))) == page, true);
	EXPECT_EQ(rd(mm, P(0)), 1);
	page_put(page);
	mm_put(mm);
}

TEST(lazy, huge_pages_are_split,
     "the pages of a huge page that were given up are dropped one by one, the "
     "others stay")
{
	struct mm *mm = huge_filled();

	EXPECT_EQ(mm_free_lazily(mm, P(0), P(N / 2)), 0);
	EXPECT_EQ(mm_reclaim(mm, 2 * N), N / 2);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(N / 2 - 1)), 0);
	EXPECT_EQ(huge_wrong(mm, N / 2, N), 0);
	mm_put(mm);
}

USER_TEST(lazy_device, write_of_a_device_keeps_the_page,
	  "a device that had the right to write loses it with the advice: its "
	  "next write is a fault, and the page is kept; one that it only reads "
	  "is "
	  "dropped (C79, B33)")
{
	struct mm *mm = fixture_mm(s, 2);

	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_store(s, 0, P(0), 1), 0);
	EXPECT_EQ(fixture_store(s, 0, P(1), 2), 0);
	EXPECT_EQ(mm_free_lazily(mm, P(0), P(2)), 0);
	fixture_write(s, 0, P(0), 77);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(fixture_store(s, 0, P(0) + 8, 5), 0);
	EXPECT_EQ(fixture_load(s, 0, P(1)), 2);
	mm_reclaim(mm, 100);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 1);
	EXPECT_EQ(rd(mm, P(0) + 8), 5);
	EXPECT_EQ(fixture_load(s, 0, P(1)), 0);
}

USER_TEST(
	lazy_device, write_without_a_fault_keeps_the_page,
	"a page that was given up, evicted, and mapped again by a device's "
	"read "
	"may be writable without a fault: what the device has written is kept "
	"(B33)")
{
	struct mm *mm = fixture_mm(s, 1);
	struct page *page;
	uint64_t word;

	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_store(s, 0, P(0), 1), 0);
	EXPECT_EQ(mm_free_lazily(mm, P(0), P(1)), 0);
	page = page_at(mm, P(0));
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 1);
	fixture_write(s, 0, P(0), 2);
	word = fixture_read(s, 0, P(0));
	mm_reclaim(mm, 100);
	if (word == 2)
		EXPECT_EQ(rd(mm, P(0)), 2);
}
