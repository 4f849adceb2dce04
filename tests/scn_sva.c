/* SPDX-License-Identifier: MIT */
/*
 * scn_sva.c - a device that walks the page table of a process
 *
 * What the CPU does to the address space the device must see at once: it has
 * cached what was there, by a real transfer, before each change.
 */
#include "arch/layout.h"
#include "kernel/err.h"
#include "tests/stand_mm.h"

/* One page with 'A' in it, which device 0 has read. */
static struct mm *warm(struct stand *s)
{
	struct mm *mm = stand_mm(s, 2);

	stand_share(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(stand_load(s, 0, P(0)) == 'A');
	return mm;
}

IOMMU_TEST(sva, same_memory,
	   "CPU and device read what the other wrote, at the same address")
{
	struct mm *mm = warm(s);

	stand_write(s, 0, P(0) + 8, 'B');
	EXPECT_EQ(rd(mm, P(0) + 8), 'B');
	REQUIRE(!wr(mm, P(0) + 8, 'C'));
	EXPECT_EQ(stand_read(s, 0, P(0) + 8), 'C');
}

IOMMU_TEST(sva, bound_to_nothing_else,
	   "nothing is reached before the bind, nor after the unbind")
{
	struct mm *mm = stand_mm(s, 1);

	REQUIRE(!wr(mm, P(0), 'A'));
	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	stand_share(s, 0, mm);
	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	stand_unshare(s, 0);

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

IOMMU_TEST(sva, unmap_reaches_the_device,
	   "when unmap returns the device does not reach the page (C1, B2)")
{
	struct mm *mm = warm(s);
	struct page *page = page_at(mm, P(0));

	REQUIRE(!mm_unmap(mm, P(0), P(1)));

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(stand_word(page), 'A');
	EXPECT(!stand_names(s, page));
	page_put(page);
}

IOMMU_TEST(sva, all_of_a_range,
	   "of a range every page is flushed, and its neighbours stay (C5)")
{
	struct mm *mm = stand_mm(s, 5);

	stand_share(s, 0, mm);
	for (unsigned i = 0; i < 5; i++)
		REQUIRE(!stand_store(s, 0, P(i), 'A' + i));
	REQUIRE(!mm_unmap(mm, P(1), P(4)));

	for (unsigned i = 1; i < 4; i++)
		EXPECT_EQ(stand_read(s, 0, P(i)), BLOCKED);
	EXPECT_EQ(stand_read(s, 0, P(0)), 'A');
	EXPECT_EQ(stand_read(s, 0, P(4)), 'E');
}

IOMMU_TEST(sva, discard_reaches_the_device,
	   "after a discard the device reads the new page, not the old (C78)")
{
	struct mm *mm = warm(s);

	REQUIRE(!mm_discard(mm, P(0), P(1)));

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	REQUIRE(!wr(mm, P(0), 'B'));
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
}

IOMMU_TEST(sva, fork_stops_the_device,
	   "after a fork the device writes no page of both (C24)")
{
	struct mm *mm = warm(s), *child;

	stand_write(s, 0, P(0), 'B'); /* a right that it has cached */
	child = stand_fork(mm);
	stand_write(s, 0, P(0), 'X');

	EXPECT_EQ(rd(child, P(0)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'B');
}

IOMMU_TEST(sva, copy_reaches_the_device,
	   "after the CPU broke a COW the device reads the copy (C19)")
{
	struct mm *mm = warm(s), *child = stand_fork(mm);

	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	REQUIRE(!wr(mm, P(0), 'B'));

	EXPECT_EQ(stand_read(s, 0, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'A');
}

IOMMU_TEST(sva, device_write_copies,
	   "a device that writes a shared page gets a copy of its own (C23)")
{
	struct mm *mm = warm(s), *child = stand_fork(mm);

	REQUIRE(!stand_store(s, 0, P(0), 'B'));

	EXPECT_EQ(rd(mm, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'A');
}

IOMMU_TEST(sva, rights_go_and_come,
	   "a right that is lost or gained reaches the device (C13, C14, H18)")
{
	struct mm *mm = warm(s);

	stand_write(s, 0, P(0), 'B');
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(stand_read(s, 0, P(0)), 'B');
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_NONE));
	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	REQUIRE(!mm_protect(mm, P(0), P(1), RW));
	EXPECT_EQ(stand_read(s, 0, P(0)), 'B');
	stand_write(s, 0, P(0), 'C');
	EXPECT_EQ(rd(mm, P(0)), 'C');
}

IOMMU_TEST(sva, exit_denies_first,
	   "when the last user is gone the device reaches nothing (C49, B25)")
{
	struct mm *mm = warm(s);
	struct page *page = page_at(mm, P(0));

	stand_exit(mm);

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(stand_word(page), 'A');
	EXPECT(!stand_names(s, page));
	page_put(page);
}

IOMMU_TEST(sva, faults_follow_the_region,
	   "a device gets by a fault what a CPU would, and no more (C106, B52)")
{
	struct mm *mm = stand_mm(s, 2);
	struct sva *sva = stand_share(s, 0, mm);

	REQUIRE(!mm_protect(mm, P(1), P(2), PROT_R));
	EXPECT_EQ(stand_store(s, 0, P(0), 'A'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(sva_fault(sva, P(1), PROT_W), -EFAULT);
	EXPECT_EQ(entry_at(mm, P(1)), 0);
	EXPECT_EQ(sva_fault(sva, P(1), PROT_R), 0);
	EXPECT_EQ(sva_fault(sva, P(2), PROT_R), -EFAULT);
	EXPECT_EQ(sva_fault(sva, KERNEL_BASE, PROT_R), -EFAULT);
	stand_exit(mm);
	EXPECT_EQ(sva_fault(sva, P(0), PROT_R), -EFAULT);
}
