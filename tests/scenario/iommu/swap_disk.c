/* SPDX-License-Identifier: MIT */
/*
 * swap_disk.c - swap on a real disk: ivshmem, copied by an LSI through the IOMMU
 */
#include "drivers/lsi.h"
#include "iommu/swap/disk_store.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

static struct disk_store disk;

/* Swap to the disk by the second LSI; SKIP without them. */
static void disk_begin(void)
{
	int ret = -ENODEV;

	if (iommu_machine() && lsi_at(1))
		ret = disk_store_open(&disk, iommu_machine(),
				      &lsi_at(1)->engine);
	if (ret == -ENODEV)
		SKIP("no IOMMU, no second LSI or no ivshmem");
	REQUIRE(!ret);
	REQUIRE(!swap_on(&disk.store));
}

static void disk_end(void)
{
	REQUIRE(!swap_off());
	disk_store_close(&disk);
}

TEST(swap_disk, disk_out_of_reach_is_none,
     "a disk that lies beyond the engine's address bits, or that is not there, "
     "is no store")
{
	struct dma_engine near = { .name = "near", .address_bits = 24 };

	EXPECT_EQ(disk_store_open(&disk, iommu_machine(), &near), -ENODEV);
}

TEST(swap_disk, pages_come_back,
     "pages that are swapped out lie on the disk, moved by DMA, and come back "
     "with "
     "every word")
{
	struct mm *mm;
	swp_t swp;

	disk_begin();
	mm = mm_numbered(16);
	swap_out_pages(mm, 0, 16);
	for (unsigned i = 0; i < 16; i++) {
		const uint64_t *page;

		swp = entry_swp(entry_at(mm, P(i)));
		page = (const void *)(disk.disk->memory +
				      (swp - 1) * PAGE_SIZE);
		EXPECT_EQ(READ_ONCE(page[73]), i * 1000 + 73);
	}
	expect_numbered(mm, 16);
	EXPECT_EQ(swap_stat().outs, 16);
	EXPECT_EQ(swap_stat().ins, 16);
	mm_put(mm);
	disk_end();
}

TEST(swap_disk, engine_reaches_the_frame_only_meanwhile,
     "the engine of the disk reaches no frame before a transfer and after it")
{
	struct mm *mm;
	enum prot prot;
	pa_t pa;

	disk_begin();
	mm = mm_numbered(2);
	swap_out_pages(mm, 0, 2);
	expect_numbered(mm, 1);
	for (unsigned i = 0; i < disk.store.pages; i++)
		EXPECT(!domain_lookup(disk.domain,
				      UINT64_C(0x40000000) + i * PAGE_SIZE, &pa,
				      &prot));
	expect_numbered(mm, 2);
	mm_put(mm);
	disk_end();
}

TEST(swap_disk, changed_content_is_an_error,
     "a page whose content on the disk was changed is not mapped: the access "
     "fails "
     "with -EIO until the content is right again")
{
	uint64_t *word, kept;
	struct mm *mm;

	disk_begin();
	mm = mm_numbered(2);
	swap_out_pages(mm, 0, 2);
	word = (uint64_t *)(disk.disk->memory +
			    (entry_swp(entry_at(mm, P(0))) - 1) * PAGE_SIZE) +
	       100;
	kept = READ_ONCE(*word);
	WRITE_ONCE(*word, kept ^ 1);
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -EIO);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(rd(mm, P(1) + 8 * 73), 1073);
	WRITE_ONCE(*word, kept);
	expect_numbered(mm, 2);
	mm_put(mm);
	disk_end();
}

TEST(swap_disk, denied_engine_is_an_error,
     "an engine that may not master the bus loses no page: writes fail and "
     "keep it, "
     "reads fail; both succeed when it may again")
{
	struct mm *mm;

	disk_begin();
	mm = mm_numbered(2);
	swap_out_pages(mm, 0, 1);
	pci_set_master(lsi_at(1)->dev, false);
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -EIO);
	EXPECT_EQ(swap_out_at(mm, P(1)), -EIO);
	EXPECT_EQ(rd(mm, P(1) + 8 * 73), 1073);
	pci_set_master(lsi_at(1)->dev, true);
	expect_numbered(mm, 2);
	EXPECT_EQ(swap_out_at(mm, P(1)), 0);
	expect_numbered(mm, 2);
	mm_put(mm);
	disk_end();
}

TEST(swap_disk, bytes_that_do_not_arrive_are_an_error,
     "a copy that the IOMMU refuses, which the engine reports as done, is an "
     "error of the transfer")
{
	iova_t bus;
	struct mm *mm;

	disk_begin();
	mm = mm_numbered(2);
	bus = disk.disk->bus;
	swap_out_pages(mm, 0, 1);
	memset(disk.disk->memory + PAGE_SIZE, 0, PAGE_SIZE); /* slot 2 */
	REQUIRE(!domain_unmap(disk.domain, bus, bus + 2 * PAGE_SIZE));
	EXPECT_EQ(swap_out_at(mm, P(1)), -EIO);
	EXPECT_EQ(mm_fault(mm, P(0), PROT_R), -EIO);
	events_refused(disk.engine->devid);
	EXPECT_EQ(rd(mm, P(1) + 8 * 73), 1073);
	REQUIRE(!domain_map(disk.domain, bus, bus, 2 * PAGE_SIZE, RW));
	expect_numbered(mm, 2);
	mm_put(mm);
	disk_end();
}

/* ---- with a device in the address space -------------------------------------- */

static void swap_disk_device_streams(struct iommu_fixture *s)
{
	struct mm *mm;

	disk_begin();
	mm = fixture_mm(s, 8);
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < 64; i++) {
		va_t va = P(i % 8);

		EXPECT_EQ(fixture_store(s, 0, va, i + 1), 0);
		EXPECT_EQ(swap_out_at(mm, va), 0);
		if (i >= 4)
			EXPECT_EQ(fixture_load(s, 0, P((i - 4) % 8)), i - 3);
	}
	disk_end();
}

USER_TEST_AS(swap_disk, device_streams, sva, USER_SVA, qemu,
	     "one LSI writes and reads pages of a process while the other "
	     "swaps them to "
	     "the disk: each comes back with the device's last word (C68)");
USER_TEST_AS(swap_disk, device_streams, mirror, USER_MIRROR, qemu,
	     "one LSI writes and reads pages of a process, in a table of its "
	     "own, while "
	     "the other swaps them to the disk (C68)");
