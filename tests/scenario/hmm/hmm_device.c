/* SPDX-License-Identifier: MIT */
/*
 * hmm_device.c - a device that mirrors a range moves data by DMA
 */
#include "iommu/sva/hmm_map.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fake/hmm_driver.h"

#define PAGES 4u

static struct hmm_driver dev;

/* Expect that the table translates each page as the CPU does, with no more rights, or
 * not at all (B31, B32). */
static void coherent(struct mm *mm, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		uint64_t e = entry_at(mm, P(i));
		enum prot prot;
		pa_t pa;

		if (!domain_lookup(dev.domain, IO(i), &pa, &prot))
			continue;
		EXPECT_EQ(pa, e & PTE_ADDR);
		EXPECT(e & PTE_P && (!(prot & PROT_W) || e & PTE_W));
	}
}

/* A space with 1, 2, 3, 4 in its pages, and the driver, for those from `first` on. */
static struct mm *started(struct iommu_fixture *s, unsigned first)
{
	struct mm *mm = mm_fixture(PAGES);

	for (unsigned i = 0; i < PAGES; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	hmm_driver_start(&dev, s, 0, mm, first, PAGES);
	return mm;
}

static void stopped(struct iommu_fixture *s, struct mm *mm)
{
	coherent(mm, PAGES);
	hmm_driver_stop(&dev);
	fixture_detach(s, 0);
	mm_put(mm);
}

/* ---- reads and writes ------------------------------------------------------------ */

IOMMU_TEST(hmm_device, reads_and_writes_what_the_cpu_has,
	   "after a range fault the device reads what the CPU wrote, and the "
	   "CPU what the device wrote (C61)")
{
	struct mm *mm = started(s, 0);

	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(fixture_read(s, 0, IO(i)), i + 1);
		fixture_write(s, 0, IO(i), 100 + i);
	}
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(rd(mm, P(i)), 100 + i);
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, absent_pages_are_made,
	   "a range fault makes the pages that the device reads or writes "
	   "before any CPU")
{
	struct mm *mm = mm_fixture(PAGES);

	hmm_driver_start(&dev, s, 0, mm, 0, PAGES);
	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	fixture_write(s, 0, IO(2), 7);
	EXPECT_EQ(rd(mm, P(2)), 7);
	EXPECT_EQ(rd(mm, P(1)), 0);
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, read_request_of_a_shared_page_gives_no_write,
	   "a page that a fork shares is mapped for the device without W; a "
	   "request to write copies it first, and the child keeps the old "
	   "word")
{
	struct mm *mm = started(s, 0), *child = fork_of(mm);

	EXPECT_EQ(hmm_driver_fault(&dev, READ), 0);
	EXPECT_EQ(fixture_read(s, 0, IO(0)), 1);
	fixture_may_be_refused(s,
			       0); /* QEMU 11 logs no event of a cached right */
	fixture_write(s, 0, IO(0), 66);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	EXPECT_EQ(dev.busy, PAGES); /* a copy each */
	fixture_write(s, 0, IO(0), 77);
	EXPECT_EQ(rd(mm, P(0)), 77);
	EXPECT_EQ(rd(child, P(0)), 1);
	mm_put(child);
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, mixed_rights_are_mapped_page_by_page,
	   "of a snapshot each page is mapped with its own frame and rights, "
	   "and a hole not at all")
{
	struct mm *mm = mm_fixture(PAGES);

	hmm_driver_start(&dev, s, 0, mm, 0, PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		if (i != 2)
			REQUIRE(!wr(mm, P(i), i + 1));
	REQUIRE(!mm_protect(mm, P(1), P(2), PROT_R));
	EXPECT_EQ(hmm_driver_fault(&dev, 0), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		enum prot prot = PROT_NONE;
		pa_t pa = 0;

		EXPECT_EQ(domain_lookup(dev.domain, IO(i), &pa, &prot), i != 2);
		EXPECT_EQ(prot, i == 2 ? PROT_NONE : i == 1 ? PROT_R : IO_RW);
		EXPECT_EQ(pa, entry_at(mm, P(i)) & PTE_ADDR);
	}
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 2);
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, scattered_pages_take_one_flush,
	   "pages that do not follow one another in memory are mapped by one "
	   "call, with one flush")
{
	struct mm *mm = started(s, 0);
	struct page *page[PAGES];
	uint64_t before;

	/* Page 2 gets another frame while its old one is held. */
	for (unsigned i = 0; i < PAGES; i++)
		page[i] = page_at(mm, P(i));
	EXPECT_EQ(mm_discard(mm, P(2), P(3)), 0);
	REQUIRE(!wr(mm, P(2), 3));
	EXPECT((entry_at(mm, P(2)) & PTE_ADDR) != page_pa(page[1]) + PAGE_SIZE);
	before = dev.domain->flushes;
	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	/* One more for the unmap before it. */
	EXPECT_EQ(dev.domain->flushes - before, 1u + s->iommu->np_cache);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(fixture_read(s, 0, IO(i)), i + 1);
		page_put(page[i]);
	}
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, failed_map_leaves_nothing,
	   "a map that meets an entry in its way leaves nothing of its own, "
	   "and succeeds when the entry is gone")
{
	struct mm *mm = started(s, 0);
	struct page *other = fixture_page(s, 'X');
	struct hmm_range range = dev.range;
	enum prot prot;
	pa_t pa;

	REQUIRE(!mm_protect(mm, P(3), P(4), PROT_R)); /* a run of its own */
	EXPECT_EQ(hmm_driver_fault(&dev, 0), 0);
	range.hmm_pfns = dev.fresh;
	rw_write_lock(&dev.lock);
	EXPECT_EQ(hmm_dma_unmap(dev.domain, &dev.range, IOVA, VA, P(PAGES),
				false),
		  0);
	EXPECT_EQ(domain_map(dev.domain, IO(3), page_pa(other), PAGE_SIZE,
			     PROT_R),
		  0);
	EXPECT_EQ(hmm_dma_map(dev.domain, &range, IOVA), -EEXIST);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(!domain_lookup(dev.domain, IO(i), &pa, &prot));
	EXPECT(domain_lookup(dev.domain, IO(3), &pa, &prot) &&
	       pa == page_pa(other));
	EXPECT_EQ(domain_unmap(dev.domain, IO(3), IO(4)), 0);
	EXPECT_EQ(hmm_dma_map(dev.domain, &range, IOVA), 0);
	memcpy(dev.mapped, dev.fresh, sizeof(dev.mapped));
	rw_write_unlock(&dev.lock);
	EXPECT_EQ(fixture_read(s, 0, IO(3)), 4);
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, dirty_is_what_the_device_could_write,
	   "a page that the driver unmaps becomes dirty if the device could "
	   "write it, and not if it could only read it")
{
	struct mm *mm = started(s, 0);
	struct page *page[PAGES];

	REQUIRE(!mm_protect(mm, P(1), P(2), PROT_R));
	EXPECT_EQ(hmm_driver_fault(&dev, 0), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		page[i] = page_at(mm, P(i));
		page_clear(page[i], PG_DIRTY);
	}
	rw_write_lock(&dev.lock);
	EXPECT_EQ(hmm_dma_unmap(dev.domain, &dev.range, IOVA, P(0), P(3), true),
		  0);
	rw_write_unlock(&dev.lock);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(!!page_test(page[i], PG_DIRTY), i == 0 || i == 2);
		page_put(page[i]);
	}
	stopped(s, mm);
}

/* ---- every kind of change reaches the device ---------------------------------------- */

static void discards(struct mm *mm)
{
	EXPECT_EQ(mm_discard(mm, P(1), P(2)), 0);
}

static void unmaps(struct mm *mm)
{
	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
}

static void protects(struct mm *mm)
{
	EXPECT_EQ(mm_protect(mm, P(1), P(2), PROT_NONE), 0);
}

static void evicts(struct mm *mm)
{
	struct page *page = page_at(mm, P(1));

	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
}

static void migrates(struct mm *mm)
{
	EXPECT_EQ(migrate_at(mm, P(1)), 0);
}

static void (*const changes[])(struct mm *) = { discards, unmaps, protects,
						evicts, migrates };

IOMMU_TEST(hmm_device, every_change_takes_the_page_from_the_device,
	   "discard, unmap, protect, eviction and migration of a page each "
	   "take it, and no other page, from the device (C61)")
{
	for (unsigned k = 0; k < ARRAY_SIZE(changes); k++) {
		struct mm *mm = started(s, 0);

		EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
		EXPECT_EQ(fixture_read(s, 0, IO(1)), 2);
		changes[k](mm);
		EXPECT_EQ(dev.notified, 1);
		EXPECT_EQ(dev.mapped[1], 0);
		fixture_may_be_refused(s, 0);
		EXPECT_EQ(fixture_read(s, 0, IO(1)), BLOCKED);
		EXPECT_EQ(fixture_read(s, 0, IO(0)), 1);
		EXPECT_EQ(fixture_read(s, 0, IO(2)), 3);
		stopped(s, mm);
	}
}

IOMMU_TEST(hmm_device, change_beyond_the_range_is_cut,
	   "a change that begins before the range and ends inside it takes "
	   "its pages of the range from the device, and no other")
{
	struct mm *mm = started(s, 1);

	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	EXPECT_EQ(dev.notified, 1);
	EXPECT_EQ(dev.mapped[0], 0);
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_read(s, 0, IO(0)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 3);
	EXPECT_EQ(fixture_read(s, 0, IO(2)), 4);
	hmm_driver_stop(&dev);
	fixture_detach(s, 0);
	mm_put(mm);
}

IOMMU_TEST(hmm_device, moved_page_is_found_again,
	   "after a migration the next range fault maps the new frame, and "
	   "the word is there")
{
	struct mm *mm = started(s, 0);

	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	fixture_write(s, 0, IO(1), 50);
	EXPECT_EQ(migrate_at(mm, P(1)), 0);
	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 50);
	fixture_write(s, 0, IO(1), 51);
	EXPECT_EQ(rd(mm, P(1)), 51);
	stopped(s, mm);
}

IOMMU_TEST(hmm_device, exit_leaves_nothing,
	   "when the process exits the device reaches none of its pages")
{
	struct mm *mm = started(s, 0);

	EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
	mm_grab(mm);
	mm_put(mm);
	fixture_may_be_refused(s, 0);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), BLOCKED);
	hmm_driver_stop(&dev);
	mm_drop(mm);
	fixture_detach(s, 0);
}

/* ---- pages of 2 MiB, no memory -------------------------------------------------------- */

IOMMU_TEST(hmm_device, huge_page_is_cut_by_a_change,
	   "the device reaches a huge page by one leaf; a discard of one "
	   "page of it takes that page, also where there is no memory for "
	   "the table of the others")
{
	bool failed = true;
	unsigned n;

	for (n = 0; failed; n++) {
		struct mm *mm = huge_filled();

		hmm_driver_start(&dev, s, 0, mm, 0, N);
		EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
		EXPECT_EQ(fixture_read(s, 0, IO(300)), 301);
		EXPECT_EQ(fixture_read(s, 0, IO(301)), 302);
		inject_arm(n);
		EXPECT_EQ(mm_discard(mm, P(300), P(301)), 0);
		failed = inject_disarm() || !n;
		fixture_may_be_refused(s, 0);
		EXPECT_EQ(fixture_read(s, 0, IO(300)), BLOCKED);
		EXPECT_EQ(dev.mapped[300], 0);
		coherent(mm, N);
		EXPECT_EQ(hmm_driver_fault(&dev, WRITE), 0);
		EXPECT_EQ(fixture_read(s, 0, IO(301)), 302);
		coherent(mm, N);
		hmm_driver_stop(&dev);
		fixture_detach(s, 0);
		mm_put(mm);
	}
	EXPECT(n > 2); /* there was an allocation, and it has failed */
}
