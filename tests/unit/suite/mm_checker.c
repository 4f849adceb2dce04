/* SPDX-License-Identifier: MIT */
/*
 * mm_checker.c - the checkers of address spaces find what is broken (mm/check/check.c)
 */
#include "kernel/string.h"
#include "mm/check/check.h"
#include "tests/fake/fake_device.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/swap_fixture.h"

TEST(checker, leaked_reference_is_charged_once,
     "a reference without an owner is reported by the next check and by no "
     "later one; its return is reported too")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_STR_NULL(mm_check());
	page = page_at(mm, P(0));
	EXPECT(glob_match("*1 extra references*", mm_check() ?: ""));
	EXPECT_STR_NULL(mm_check());
	page_put(page);
	EXPECT(glob_match("*0 extra references*", mm_check() ?: ""));
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(checker, open_invalidation_is_found,
     "an invalidation that is left open, with an interval and without, is "
     "reported until it ends")
{
	struct mm *mm = mm_fixture(4);
	struct mmu_notifier_range range;
	struct watch w;

	watch(&w, mm, 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		rw_read_lock(&mm->lock);
		invalidation_begin(&range, mm, 2 * i, 2 * i + 1);
		rw_read_unlock(&mm->lock);
		EXPECT(glob_match(i ? "*invalidation is open*"
				    : "*interval counts*",
				  mmu_notifier_check() ?: ""));
		rw_read_lock(&mm->lock);
		mmu_notifier_invalidate_range_end(&range);
		rw_read_unlock(&mm->lock);
		EXPECT_STR_NULL(mmu_notifier_check());
	}
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(checker, lost_count_of_entries_is_found,
     "a count of an mm's entries that is off by one is reported")
{
	struct mm *mm = mm_fixture(2);

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	mm->mapped++;
	EXPECT(glob_match("*entries, mm->mapped*", mm_check() ?: ""));
	mm->mapped--;
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(checker, writable_entry_is_found,
     "an entry that may be written in a region that may not is reported, and "
     "so is one that the CPU may write and devices may not")
{
	struct mm *mm = mm_fixture(2);
	uint64_t *slot, was;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	slot = pt_slot(&mm->pt, P(0), 0, false);
	was = pte_read(slot);
	pte_write(slot, was | PTE_W);
	EXPECT(glob_match("*rights differ*", mm_check() ?: ""));
	pte_write(slot, was | PTE_W | ENTRY_IW);
	EXPECT(glob_match("*writable beyond its region*", mm_check() ?: ""));
	pte_write(slot, was);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(checker, page_of_a_device_alone_is_looked_at,
     "a device-exclusive entry whose page is shared, or pinned, is reported")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;
	uint64_t *slot, was;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	page = page_at(mm, P(0));
	slot = pt_slot(&mm->pt, P(0), 0, false);
	was = pte_read(slot);
	pte_write(slot, entry_make_device_exclusive(page, was));
	page_map_to_ref(page);
	mm->mapped--;
	page_clear_exclusive(page);
	EXPECT(glob_match("*a device's alone*", mm_check() ?: ""));
	page_set_exclusive(page);
	atomic_fetch_add(&page->pins, 1);
	EXPECT(glob_match("*a device's alone*", mm_check() ?: ""));
	atomic_fetch_sub(&page->pins, 1);
	page_put(page);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(checker, user_of_a_swap_slot_is_counted,
     "a user of a swap slot that is no entry is reported")
{
	struct mm *mm = swap_fixture(8, 2), *child;
	swp_t swp;

	REQUIRE(!mm_fork(mm, &child));
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	EXPECT_STR_NULL(mm_check());
	swp = entry_swp(pte_read(pt_slot(&mm->pt, P(0), 0, false)));
	swap_hold(swp);
	EXPECT(glob_match("*users of swap slots*", mm_check() ?: ""));
	swap_drop(swp);
	EXPECT_STR_NULL(mm_check());
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(checker, frame_of_a_swap_slot_is_looked_at,
     "a frame in the swap cache that may be written is reported")
{
	struct mm *mm = swap_fixture(8, 1), *child;
	struct page *page;

	REQUIRE(!mm_fork(mm, &child));
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(0)), 1); /* the child's entry keeps the slot */
	page = page_at(mm, P(0));
	REQUIRE(page_swp(page));
	page_put(page);
	EXPECT_STR_NULL(mm_check());
	page_set_exclusive(page);
	EXPECT(glob_match("*in the cache may be written*", mm_check() ?: ""));
	page_clear_exclusive(page);
	EXPECT_STR_NULL(mm_check());
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(checker, free_page_of_a_device_is_looked_at,
     "a free page of a device that is marked as if it were in use is reported")
{
	struct fake_device *d = fake_device(0, 2);

	EXPECT_STR_NULL(mm_check());
	page_set(d->memory.free, PG_DIRTY);
	EXPECT(glob_match("*a free page is in use*", mm_check() ?: ""));
	page_clear(d->memory.free, PG_DIRTY);
	EXPECT_STR_NULL(mm_check());
	fake_device_end(d);
}

TEST(checker, get_adds_a_user, "an mm lives until its last user has left")
{
	struct mm *mm = mm_fixture(1);

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	mm_get(mm);
	mm_put(mm);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_put(mm);
}
