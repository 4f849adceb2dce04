/* SPDX-License-Identifier: MIT */
/*
 * from_device.c - pages come back from the memory of a device: C62, H44
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "tests/fake/fake_device.h"

static struct fake_device *d;

TEST(from_device, load_brings_the_page_back,
     "a load of a CPU brings what the device wrote back to RAM, mapped with W, "
     "and the device's page is free")
{
	struct mm *mm = mm_with_device(&d, 2, 4);

	EXPECT_EQ(device_store(d, mm, P(0), 71), 0);
	EXPECT_EQ(rd(mm, P(0)), 71);
	EXPECT(entry_at(mm, P(0)) & PTE_W && entry_at(mm, P(0)) & PTE_D);
	EXPECT_EQ(entry_state(entry_at(mm, P(0))), STATE_EXCLUSIVE);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT(device_has(d, mm, P(1)));
	mm_with_device_end(mm, d);
}

TEST(from_device, store_brings_the_page_back,
     "a store of a CPU is added to what the device wrote")
{
	struct mm *mm = mm_with_device(&d, 1, 4);

	EXPECT_EQ(device_store(d, mm, P(0), 71), 0);
	EXPECT_EQ(wr(mm, P(0) + 8, 5), 0);
	EXPECT_EQ(rd(mm, P(0)), 71);
	EXPECT_EQ(rd(mm, P(0) + 8), 5);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_with_device_end(mm, d);
}

TEST(from_device, pages_go_and_come_again,
     "a page goes to the device and comes back a hundred times, and each side "
     "finds what the other wrote")
{
	struct mm *mm = mm_with_device(&d, 1, 1);

	for (unsigned i = 0; i < 100; i++) {
		EXPECT_EQ(device_store(d, mm, P(0), 2 * i), 0);
		EXPECT_EQ(rd(mm, P(0)), 2 * i);
		EXPECT_EQ(wr(mm, P(0), 2 * i + 1), 0);
		EXPECT_EQ(device_take(d, mm, 0, 1), 1);
		EXPECT_EQ(device_word(d, mm, P(0)), 2 * i + 1);
	}
	mm_with_device_end(mm, d);
}

TEST(from_device, pin_brings_the_page_back,
     "a pin of a device's page brings it back, and it stays in RAM (a "
     "long-term "
     "pin of device memory is never made)")
{
	struct mm *mm = mm_with_device(&d, 1, 4);
	struct page *pin;

	REQUIRE(pin_pages(mm, P(0), 1, PIN_WRITE, &pin) == 0);
	EXPECT(!page_is_device(pin));
	EXPECT_EQ(*(uint64_t *)page_va(pin), 1);
	EXPECT_EQ(device_take(d, mm, 0, 1), 0);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	unpin_pages(&pin, 1);
	mm_with_device_end(mm, d);
}

TEST(from_device, fork_shares_the_device_page,
     "after a fork parent and child name one device page; a load of the child "
     "brings it back for both, read-only, and a write then copies (C62)")
{
	struct mm *mm = mm_with_device(&d, 1, 4), *child = fork_of(mm);
	struct page *page = device_page_at(mm, P(0));

	REQUIRE(page);
	EXPECT_EQ(page_count(page), 3 * PAGE_REF);
	EXPECT(!page_exclusive(page));
	page_put(page);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	EXPECT_EQ(entry_at(mm, P(0)) & PTE_ADDR,
		  entry_at(child, P(0)) & PTE_ADDR);
	EXPECT(!(entry_at(mm, P(0)) & PTE_W));
	EXPECT_EQ(wr(child, P(0), 9), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(child, P(0)), 9);
	mm_put(child);
	mm_with_device_end(mm, d);
}

TEST(from_device, write_of_a_child_is_its_own,
     "a write of the child to a shared device page is not seen by the parent, "
     "nor by the grandchild")
{
	struct mm *mm = mm_with_device(&d, 1, 4), *child = fork_of(mm);
	struct mm *third = fork_of(child);

	EXPECT_EQ(wr(child, P(0), 9), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(third, P(0)), 1);
	EXPECT_EQ(rd(child, P(0)), 9);
	mm_put(third);
	mm_put(child);
	mm_with_device_end(mm, d);
}

TEST(from_device, shared_device_page_ends_with_its_last_user,
     "a device page that parent and child share is free when both are gone, "
     "not "
     "before")
{
	struct mm *mm = mm_with_device(&d, 1, 4), *child = fork_of(mm);

	mm_put(mm);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_EQ(device_word(d, child, P(0)), 1);
	mm_with_device_end(child, d);
}

TEST(from_device, unmap_of_a_part_frees_its_pages,
     "an unmap of the middle of a range frees the device's pages of it, and "
     "the "
     "others keep their content (C62)")
{
	struct mm *mm = mm_with_device(&d, 6, 8);

	EXPECT_EQ(mm_unmap(mm, P(2), P(4)), 0);
	EXPECT_EQ(device_memory_used(&d->memory), 4);
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(rd(mm, P(i)), i < 2 || i >= 4 ? i + 1 : BAD);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_with_device_end(mm, d);
}

TEST(from_device, discard_frees_the_page,
     "a discarded device page is free, and the address reads as zero")
{
	struct mm *mm = mm_with_device(&d, 2, 4);

	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(1)), 2);
	mm_with_device_end(mm, d);
}

TEST(from_device, move_takes_the_page_along,
     "mremap moves the entries of device pages, and a fault at the new address "
     "brings them back")
{
	struct mm *mm = mm_with_device(&d, 2, 4);

	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(16), PAGE_SIZE, NULL), 0);
	EXPECT(device_has(d, mm, P(16)));
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(device_memory_evict(&d->memory, 8), 2);
	EXPECT(entry_mapped(entry_at(mm, P(16))));
	EXPECT_EQ(rd(mm, P(16)), 1);
	EXPECT_EQ(rd(mm, P(1)), 2);
	mm_with_device_end(mm, d);
}

TEST(from_device, rights_of_the_region_hold,
     "a page comes back with the rights that its region has then: none, "
     "read-only, or both")
{
	struct mm *mm = mm_with_device(&d, 1, 4);

	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_NONE), 0);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT(device_has(d, mm, P(0)));
	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	EXPECT_EQ(wr(mm, P(0), 3), -EFAULT);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT(!(entry_at(mm, P(0)) & PTE_W));
	EXPECT_EQ(mm_protect(mm, P(0), P(1), RW), 0);
	EXPECT_EQ(wr(mm, P(0), 3), 0);
	mm_with_device_end(mm, d);
}

TEST(from_device, exit_frees_all,
     "at the end of an address space the device's pages are free")
{
	struct mm *mm = mm_with_device(&d, 5, 8);

	EXPECT_EQ(device_memory_used(&d->memory), 5);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	fake_device_end(d);
}

TEST(from_device, full_memory_is_evicted,
     "when the device has no page left some of its pages are brought back to "
     "RAM, and others take their place")
{
	struct mm *mm = mm_with_device(&d, 4, 4);

	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	EXPECT_EQ(device_memory_evict(&d->memory, 2), 2);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_EQ(mm->mapped, 2);
	for (unsigned i = 1; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_EQ(device_memory_evict(&d->memory, 2), 0);
	mm_with_device_end(mm, d);
}

TEST(from_device, driver_goes,
     "a driver that goes closes its memory, has everything brought back, and "
     "takes its struct pages away: no content is lost")
{
	struct mm *mm = mm_with_device(&d, 3, 4), *child = fork_of(mm);

	EXPECT_EQ(device_memory_remove(&d->memory), -EBUSY);
	device_memory_close(&d->memory);
	EXPECT_EQ(device_take(d, mm, 0, 3), 0);
	EXPECT_EQ(device_memory_evict(&d->memory, 3), 3);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(rd(mm, P(i)), i + 1);
		EXPECT_EQ(rd(child, P(i)), i + 1);
	}
	mm_put(child);
	mm_with_device_end(mm, d);
}

TEST(from_device, failed_copy_is_an_error_of_the_access,
     "when the device cannot copy, the access fails, the entry still names the "
     "device's page, and the next access gets it")
{
	struct mm *mm = mm_with_device(&d, 2, 4);
	uint64_t before = entry_at(mm, P(0));

	d->fail = 1;
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -EIO);
	EXPECT_EQ(entry_at(mm, P(0)), before);
	d->fail = 1;
	EXPECT_EQ(device_memory_evict(&d->memory, 2), 1);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(1)), 2);
	mm_with_device_end(mm, d);
}

TEST(from_device, failed_copy_of_a_shared_page_restores_all,
     "when the device cannot copy a page that a fork shares, both entries name "
     "the device's page again")
{
	struct mm *mm = mm_with_device(&d, 1, 4), *child = fork_of(mm);

	d->fail = 1;
	EXPECT_EQ(mm_fault(child, P(0), PROT_R), -EIO);
	EXPECT(device_has(d, mm, P(0)) && device_has(d, child, P(0)));
	EXPECT_EQ(wr(mm, P(0), 4), 0);
	EXPECT_EQ(rd(child, P(0)), 1);
	mm_put(child);
	mm_with_device_end(mm, d);
}

TEST(from_device, fault_without_memory,
     "a fault without memory for a frame fails, and the page stays with the "
     "device, not on its way")
{
	struct mm *mm = mm_with_device(&d, 1, 4);

	inject_arm(1);
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT(device_has(d, mm, P(0)));
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_with_device_end(mm, d);
}

TEST(from_device, shared_fault_without_memory,
     "a fault on a device page that a fork shares fails without memory for a "
     "frame, and both entries name the page")
{
	struct mm *mm = mm_with_device(&d, 1, 4), *child = fork_of(mm);

	inject_arm(1);
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT(device_has(d, mm, P(0)) && device_has(d, child, P(0)));
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_put(child);
	mm_with_device_end(mm, d);
}
