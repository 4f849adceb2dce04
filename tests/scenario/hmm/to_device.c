/* SPDX-License-Identifier: MIT */
/*
 * to_device.c - private pages go to the memory of a device, or are refused
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/huge/collapse.h"
#include "mm/rmap/migrate.h"
#include "tests/fake/fake_device.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

/* A space of n pages, of which page i holds i + 1. */
static struct mm *filled(unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	return mm;
}

TEST(to_device, page_goes_with_its_content,
     "a page goes to the device with its content, its entry is not present and "
     "names the device's page, and its frame is free")
{
	struct mm *mm = filled(1);
	struct fake_device *d = fake_device(0, 4);
	struct page *frame = page_at(mm, P(0)), *page;
	uint64_t e;

	page_put(frame);
	EXPECT_EQ(device_take(d, mm, 0, 1), 1);
	EXPECT(page_is_free(frame));
	e = entry_at(mm, P(0));
	EXPECT(entry_device(e) && entry_state(e) == STATE_DEVICE);
	EXPECT(!(e & (PTE_P | ENTRY_IR | ENTRY_IW | PTE_NEXT_LEVEL)));
	page = device_page_at(mm, P(0));
	REQUIRE(page);
	EXPECT_EQ(page_kind(page), PAGE_DEVICE);
	EXPECT_EQ(page_count(page), 2 * PAGE_REF);
	EXPECT(page_exclusive(page) && !page_test(page, PG_MOVING));
	page_put(page);
	EXPECT_EQ(device_word(d, mm, P(0)), 1);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, holes_and_zero_pages_go_without_a_copy,
     "a hole and the zero page become pages of the device that hold zeroes, "
     "and "
     "nothing is read from RAM")
{
	struct mm *mm = mm_fixture(3);
	struct fake_device *d = fake_device(0, 4);

	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT_EQ(device_take(d, mm, 0, 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(device_word(d, mm, P(i)), 0);
		EXPECT_EQ(device_store(d, mm, P(i), 5 + i), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(rd(mm, P(i)), 5 + i);
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, merged_zeroes_are_counted_no_more,
     "a page of zeroes that KSM has merged goes as the zero page does, and is "
     "no "
     "longer counted as merged")
{
	struct mm *mm = ksm_fixture(1);
	struct fake_device *d = fake_device(0, 4);

	ksm_knobs.use_zero_pages = true;
	EXPECT_EQ(wr(mm, P(0), 0), 0);
	ksm_scans(2);
	EXPECT_EQ(ksm_now().ksm_zero_pages_sharing, 1);
	EXPECT_EQ(device_take(d, mm, 0, 1), 1);
	EXPECT_EQ(ksm_now().ksm_zero_pages_sharing, 0);
	EXPECT_EQ(device_word(d, mm, P(0)), 0);
	ksm_knobs_reset();
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, range_crosses_tables,
     "a range over three tables, of which the middle one does not exist, goes "
     "whole")
{
	struct mm *mm = mm_fixture(3 * BLOCK_PAGES);
	struct fake_device *d = fake_device(0, 600);

	EXPECT_EQ(wr(mm, P(511), 511), 0);
	EXPECT_EQ(wr(mm, P(1024), 1024), 0);
	EXPECT_EQ(device_take(d, mm, 510, 516), 516);
	EXPECT_EQ(device_word(d, mm, P(511)), 511);
	EXPECT_EQ(device_word(d, mm, P(700)), 0);
	EXPECT_EQ(device_word(d, mm, P(1024)), 1024);
	EXPECT(!device_has(d, mm, P(509)) && !device_has(d, mm, P(1026)));
	EXPECT_EQ(rd(mm, P(700)), 0);
	EXPECT_EQ(rd(mm, P(1024)), 1024);
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, full_device_takes_what_fits,
     "of eight pages a device of three takes three; the others are mapped as "
     "before")
{
	struct mm *mm = filled(8);
	struct fake_device *d = fake_device(0, 3);
	uint64_t last = entry_at(mm, P(7));

	EXPECT_EQ(device_take(d, mm, 0, 8), 3);
	EXPECT_EQ(device_memory_used(&d->memory), 3);
	EXPECT(device_has(d, mm, P(2)) && !device_has(d, mm, P(3)));
	EXPECT_EQ(entry_at(mm, P(7)), last);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	fake_device_end(d);
}

/* Expect that page 0 stays, mapped as before, and that page 1 goes. */
static void refused(struct mm *mm)
{
	struct fake_device *d = fake_device(0, 4);
	uint64_t before = entry_at(mm, P(0));

	EXPECT_EQ(device_take(d, mm, 0, 2), 1);
	EXPECT_EQ(entry_at(mm, P(0)), before);
	EXPECT_EQ(d->copies, 1);
	EXPECT(device_has(d, mm, P(1)));
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 2);
	fake_device_end(d);
}

TEST(to_device, pinned_page_stays, "a pinned page does not go to the device")
{
	struct mm *mm = filled(2);
	struct page *pin;

	REQUIRE(pin_pages(mm, P(0), 1, PIN_WRITE, &pin) == 0);
	refused(mm);
	unpin_pages(&pin, 1);
	mm_put(mm);
}

TEST(to_device, referenced_page_stays,
     "a page on which another thread has a reference does not go")
{
	struct mm *mm = filled(2);
	struct page *page = page_at(mm, P(0));

	refused(mm);
	page_put(page);
	mm_put(mm);
}

TEST(to_device, shared_page_stays,
     "a page that a fork shares does not go; after a write the copy goes")
{
	struct mm *mm = filled(2), *child = fork_of(mm);

	EXPECT_EQ(wr(mm, P(1), 2), 0);
	refused(mm);
	EXPECT_EQ(rd(child, P(0)), 1);
	mm_put(child);
	mm_put(mm);
}

TEST(to_device, swapped_page_stays,
     "a page in a swap slot does not go; brought in, it goes")
{
	struct mm *mm = swap_fixture(8, 2);
	struct fake_device *d = fake_device(0, 4);

	swap_out_pages(mm, 0, 1);
	EXPECT_EQ(device_take(d, mm, 0, 2), 1);
	EXPECT(swapped_at(mm, P(0)) && device_has(d, mm, P(1)));
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(device_take(d, mm, 0, 2), 1);
	EXPECT(device_has(d, mm, P(0)) && device_has(d, mm, P(1)));
	EXPECT_EQ(device_word(d, mm, P(0)), 1);
	EXPECT_EQ(device_word(d, mm, P(1)), 2);
	mm_put(mm);
	fake_device_end(d);
	swap_fixture_end();
}

TEST(to_device, page_on_the_way_stays,
     "a page that another thread is moving does not go")
{
	struct mm *mm = filled(2);
	struct page *page = page_at(mm, P(0));

	page_put(page);
	REQUIRE(moving_begin(page));
	refused(mm);
	moving_end(page);
	mm_put(mm);
}

TEST(to_device, other_regions_are_refused,
     "a range without a region, in two, in one of an object, without rights or "
     "of MAP_LOCKED is -EINVAL, and nothing changes")
{
	struct object *object = object_create(1);
	struct mm *shared = mm_fixture_shared(object, 1), *mm = filled(4);
	struct mm *locked = mm_create();
	struct fake_device *d = fake_device(0, 4);

	object_put(object);
	REQUIRE(locked &&
		!mm_map(locked, VA, PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	EXPECT_EQ(device_take(d, mm, 4, 1), -EINVAL);
	EXPECT_EQ(device_take(d, mm, 3, 2), -EINVAL);
	EXPECT_EQ(device_take(d, mm, 1, 0), -EINVAL);
	EXPECT_EQ(device_take(d, shared, 0, 1), -EINVAL);
	EXPECT_EQ(device_take(d, locked, 0, 1), -EINVAL);
	EXPECT_EQ(mm_protect(mm, P(2), P(3), PROT_NONE), 0);
	EXPECT_EQ(device_take(d, mm, 2, 1), -EINVAL);
	EXPECT_EQ(device_take(d, mm, 1, 2), -EINVAL);
	EXPECT_EQ(mm->mapped, 4);
	EXPECT_EQ(d->copies, 0);
	mm_put(locked);
	mm_put(shared);
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, merged_page_stays,
     "a page that KSM has merged does not go, and both spaces still read it")
{
	struct mm *mm = ksm_equal(2, 42);
	struct fake_device *d = fake_device(0, 4);

	ksm_scans(2);
	EXPECT(is_merged(mm, P(0)));
	EXPECT_EQ(device_take(d, mm, 0, 2), 0);
	EXPECT_EQ(d->copies, 0);
	EXPECT_EQ(rd(mm, P(0)), 42);
	EXPECT_EQ(rd(mm, P(1)), 42);
	mm_put(mm);
	fake_device_end(d);
	ksm_knobs_reset();
}

TEST(to_device, huge_page_is_split,
     "pages inside a huge mapping go after a split, and the rest of it stays "
     "mapped")
{
	struct fake_device *d = fake_device(0, 8);
	struct mm *mm = huge_filled();

	EXPECT_EQ(device_take(d, mm, 4, 4), 4);
	for (unsigned i = 4; i < 8; i++)
		EXPECT_EQ(device_word(d, mm, P(i)), i + 1);
	EXPECT(entry_mapped(entry_at(mm, P(3))));
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, whole_block_goes_in_parts,
     "all pages of a huge mapping go, each to a page of its own; when loads "
     "have "
     "brought them back a collapse makes them one mapping again")
{
	struct fake_device *d = fake_device(0, N);
	struct mm *mm = huge_filled();

	EXPECT_EQ(device_take(d, mm, 0, N), N);
	EXPECT_EQ(device_memory_used(&d->memory), N);
	EXPECT_EQ(mm->mapped, 0);
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(device_word(d, mm, P(i)), i + 1);
	EXPECT_EQ(mm_collapse(mm, VA), -EBUSY);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT(entry_huge(entry_at(mm, VA)));
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, failed_copy_leaves_the_page,
     "a device that fails in the middle of a call takes the pages before and "
     "after, and the page that it failed on is mapped as before")
{
	struct mm *mm = filled(4);
	struct fake_device *d = fake_device(0, 8);
	uint64_t before = entry_at(mm, P(1));

	d->succeed = 1;
	d->fail = 1;
	EXPECT_EQ(device_take(d, mm, 0, 4), 3);
	EXPECT_EQ(entry_at(mm, P(1)), before);
	EXPECT(device_has(d, mm, P(0)) && device_has(d, mm, P(3)));
	EXPECT_EQ(device_memory_used(&d->memory), 3);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, accessed_and_dirty_come_along,
     "the A and D bits of an entry go with the page and come back, and those "
     "of "
     "a page that was refused too (H45)")
{
	struct mm *mm = filled(2);
	struct fake_device *d = fake_device(0, 1);
	struct page *page;

	for (unsigned i = 0; i < 2; i++) {
		page = page_at(mm, P(i));
		page_referenced(page);
		page_put(page);
		EXPECT(!(entry_at(mm, P(i)) & PTE_A));
	}
	EXPECT_EQ(device_take(d, mm, 0, 2), 1);
	EXPECT(!(entry_at(mm, P(0)) & PTE_A) && entry_at(mm, P(0)) & PTE_D);
	EXPECT(!(entry_at(mm, P(1)) & PTE_A) && entry_at(mm, P(1)) & PTE_D);
	EXPECT_EQ(device_memory_evict(&d->memory, 1), 1);
	EXPECT(!(entry_at(mm, P(0)) & PTE_A) && entry_at(mm, P(0)) & PTE_D);
	mm_put(mm);
	fake_device_end(d);
}
