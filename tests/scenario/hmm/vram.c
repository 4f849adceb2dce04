/* SPDX-License-Identifier: MIT */
/*
 * vram.c - pages in the BAR of an ivshmem, copied by an LSI, used by another
 *
 * lsi1 copies; lsi0 is the device that works on the pages, in a domain of its own that a
 * mirror fills from hmm_range_fault().  Real DMA only: the model has no BARs.
 */
#include "drivers/lsi.h"
#include "iommu/sva/vram.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/hmm/migrate_vma.h"
#include "mm/rmap/migrate.h"
#include "tests/fake/fake_device.h"
#include "tests/fake/hmm_driver.h"

static struct vram vram;

/* Open the memory, with lsi1 as its engine; SKIP without one of them. */
static void vram_begin(void)
{
	int ret = -ENODEV;

	if (iommu_machine() && lsi_at(1))
		ret = vram_open(&vram, iommu_machine(), &lsi_at(1)->engine);
	if (ret == -ENODEV)
		SKIP("no IOMMU, no second LSI or no second ivshmem");
	REQUIRE(!ret);
}

/* Read a word of the page that the entry at va names from the BAR, by the engine. */
static uint64_t in_bar(struct mm *mm, va_t va)
{
	struct page *page = device_page_at(mm, va);
	uint64_t v = BAD;

	if (!page)
		return BAD;
	EXPECT_EQ(dma_read(vram.engine,
			   vram.memory.bus +
				   device_page_offset(&vram.memory, page) +
				   (va & ~PAGE_MASK),
			   &v, sizeof(v)),
		  0);
	page_put(page);
	return v;
}

TEST(vram, pages_go_by_dma,
     "pages go to the device's BAR by peer-to-peer DMA with every word, their "
     "frames are free, and loads of a CPU bring them back")
{
	struct mm *mm;

	vram_begin();
	mm = mm_numbered(40);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(40), NULL), 40);
	EXPECT_EQ(mm->mapped, 0);
	for (unsigned i = 0; i < 40; i++)
		EXPECT_EQ(in_bar(mm, P(i) + 73 * 8), i * 1000 + 73);
	expect_numbered(mm, 40);
	EXPECT_EQ(device_memory_used(&vram.memory), 0);
	mm_put(mm);
	vram_close(&vram);
}

TEST(vram, holes_are_cleared,
     "pages of the BAR that hold old content are cleared before holes become "
     "them")
{
	struct mm *mm;

	vram_begin();
	mm = mm_numbered(8);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(8), NULL), 8);
	EXPECT_EQ(mm_discard(mm, P(0), P(8)), 0);
	EXPECT_EQ(rd(mm, P(3)), 0);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(8), NULL), 8);
	for (unsigned i = 0; i < 8; i++) {
		EXPECT_EQ(in_bar(mm, P(i) + 73 * 8), 0);
		EXPECT_EQ(rd(mm, P(i) + 73 * 8), 0);
	}
	mm_put(mm);
	vram_close(&vram);
}

TEST(vram, engine_reaches_frames_only_meanwhile,
     "after a migration the engine has no translation of a frame of RAM")
{
	enum prot prot;
	struct mm *mm;
	pa_t pa;

	vram_begin();
	mm = mm_numbered(4);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(4), NULL), 4);
	EXPECT_EQ(rd(mm, P(1)), 1000);
	for (unsigned i = 0; i < vram.memory.pages; i++)
		EXPECT(!domain_lookup(vram.domain,
				      UINT64_C(0x50000000) + i * PAGE_SIZE, &pa,
				      &prot));
	mm_put(mm);
	vram_close(&vram);
}

TEST(vram, more_pages_than_memory,
     "of more pages than the memory has as many go as it has; after an "
     "eviction others go, and every word is right")
{
	unsigned pages, n;
	struct mm *mm;

	vram_begin();
	pages = vram.memory.pages;
	n = pages + 100;
	mm = mm_numbered(n);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(n), NULL), (int)pages);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(n), NULL), 0);
	EXPECT_EQ(device_memory_evict(&vram.memory, 60), 60);
	EXPECT_EQ(vram_take(&vram, mm, P(n - 60), P(n), NULL), 60);
	EXPECT_EQ(device_memory_used(&vram.memory), pages);
	expect_numbered(mm, n);
	mm_put(mm);
	vram_close(&vram);
}

TEST(vram, close_brings_everything_back,
     "a driver that closes leaves every page in RAM, of a fork's two spaces "
     "too")
{
	struct mm *mm, *child;

	vram_begin();
	mm = mm_numbered(6);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(6), NULL), 6);
	child = fork_of(mm);
	vram_close(&vram);
	EXPECT_STR_NULL(mm_check());
	expect_numbered(mm, 6);
	expect_numbered(child, 6);
	mm_put(child);
	mm_put(mm);
}

/* ---- a device that works on the pages --------------------------------------- */

#define PAGES 4u

static struct hmm_driver worker;

static void vram_device_works_in_place(struct iommu_fixture *s);
FIXTURE_TEST(
	vram, device_works_in_place, qemu,
	"a device reads and writes pages in the BAR and in RAM through one "
	"table; a CPU finds its words, and then it reaches the frame in "
	"RAM (C61, C62)",
	1, 0);
static void vram_device_works_in_place(struct iommu_fixture *s)
{
	enum prot prot;
	struct mm *mm;
	pa_t pa;

	vram_begin();
	mm = mm_numbered(PAGES);
	EXPECT_EQ(vram_take(&vram, mm, P(0), P(2), NULL), 2);
	hmm_driver_start(&worker, s, 0, mm, 0, PAGES);
	worker.range.dev_private_owner = &vram.memory;
	EXPECT_EQ(hmm_driver_fault(&worker, WRITE), 0);
	EXPECT(domain_lookup(worker.domain, IO(1), &pa, &prot));
	EXPECT(pa >= vram.memory.bus &&
	       pa < vram.memory.bus + vram.memory.pages * PAGE_SIZE);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(fixture_read(s, 0, IO(i) + 73 * 8), i * 1000 + 73);
		fixture_write(s, 0, IO(i), 7000 + i);
	}
	EXPECT_EQ(device_memory_used(&vram.memory), 2);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(rd(mm, P(i)), 7000 + i);
	EXPECT_EQ(device_memory_used(&vram.memory), 0);
	EXPECT(!domain_lookup(worker.domain, IO(1), &pa, &prot));
	EXPECT_EQ(hmm_driver_fault(&worker, WRITE), 0);
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 7001);
	hmm_driver_stop(&worker);
	fixture_detach(s, 0);
	mm_put(mm);
	vram_close(&vram);
}
