/* SPDX-License-Identifier: MIT */
/*
 * alone.c - a device that has pages alone, and adds to them
 */
#include "tests/scenario/hmm/alone.h"
#include "mm/check/check.h"

struct hmm_driver alone;

/* A space with 1, 2, ... in its pages, mirrored by device 0. */
struct mm *alone_begin(struct iommu_fixture *s)
{
	struct mm *mm = mm_fixture(PAGES);

	for (unsigned i = 0; i < PAGES; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	hmm_driver_start(&alone, s, 0, mm, 0, PAGES);
	return mm;
}

void alone_end(struct iommu_fixture *s, struct mm *mm)
{
	EXPECT_STR_NULL(mm_check());
	hmm_driver_stop(&alone);
	fixture_detach(s, 0);
	mm_put(mm);
}

enum entry_state alone_state(struct mm *mm, unsigned i)
{
	return entry_state(entry_at(mm, P(i)));
}

/* Have the device add 1 to page i.  Context: the driver's lock held. */
void alone_add_held(struct iommu_fixture *s, unsigned i)
{
	fixture_write(s, 0, IO(i), fixture_read(s, 0, IO(i)) + 1);
}

/* Give the range to the device, which adds 1 to page i. */
void alone_add(struct iommu_fixture *s, unsigned i)
{
	EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
	alone_add_held(s, i);
	hmm_driver_unlock(&alone);
}

/* Does the device's table have page i? */
bool alone_reaches(unsigned i)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(alone.domain, IO(i), &pa, &prot);
}

/* Expect that page i is mapped once, writable, with no reference left. */
void alone_mapped_again(struct mm *mm, unsigned i)
{
	struct page *page = page_at(mm, P(i));

	REQUIRE(page);
	EXPECT(entry_at(mm, P(i)) & PTE_W);
	EXPECT_EQ(page_count(page), PAGE_MAP + PAGE_REF); /* and ours */
	page_put(page);
}

/* The page that a device-exclusive entry names, with a reference. */
struct page *alone_page(struct mm *mm, unsigned i)
{
	struct page *page = entry_page(entry_at(mm, P(i)));

	EXPECT_EQ(alone_state(mm, i), STATE_DEVICE_EXCLUSIVE);
	page_get(page);
	return page;
}

int alone_ask(unsigned first, unsigned end)
{
	struct hmm_range range = alone.range;

	range.start = P(first);
	range.end = P(end);
	range.hmm_pfns = alone.fresh;
	range.notifier_seq = mmu_interval_read_begin(&alone.mni);
	return make_device_exclusive(&range, &alone);
}
