/* SPDX-License-Identifier: MIT */
/*
 * fake_device.h - a device with memory that no CPU access reaches
 *
 *	struct fake_device *d = fake_device(0, 8);	8 pages
 *
 *	EXPECT_EQ(device_take(d, mm, 0, 4), 4);		P(0) to P(3) go there
 *	EXPECT_EQ(device_word(d, mm, P(1)), 2);
 *	...
 *	mm_put(mm);
 *	fake_device_end(d);
 *
 * The memory is a block of RAM that nothing maps, and a thread of the test makes the
 * device's accesses, as Linux's test_hmm does.  A real one: iommu/sva/vram.h.
 */
#pragma once

#include "mm/core/device.h"
#include "mm/hmm/migrate_vma.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define FAKE_DEVICES 2u

struct fake_device {
	struct device_memory memory;
	struct page *store;    /* the block                                   */
	_Atomic unsigned fail; /* so many next copies fail               */
	_Atomic unsigned succeed; /* but first so many succeed              */
	_Atomic unsigned copies;  /* that were made                         */
	bool returns; /* no copy from the device to RAM fails                 */
	struct sync_point *stop; /* where a copy stops; NULL: nowhere      */
};

/* Return device i, with so many pages, all free; ends the test on failure. */
struct fake_device *fake_device(unsigned i, unsigned pages);

/* Expect that all pages are free, and remove the device. */
void fake_device_end(struct fake_device *d);

/* Migrate pages [first, first + n) of the fixture's mm to d, in one call.  Returns how
 * many are there now, or an error of migrate_vma_setup(). */
int device_take(struct fake_device *d, struct mm *mm, unsigned first,
		unsigned n);

/*
 * Do the steps of device_take() one by one: _begin is the setup, and allocates; _copy
 * copies or clears; then migrate_vma_pages(&take.args); _end finalizes and returns how
 * many moved.  mm->lock is held in between.
 */
#define TAKE_MAX 1024u
struct device_take {
	struct fake_device *d;
	struct migrate_vma args;
	uint64_t src[TAKE_MAX], dst[TAKE_MAX];
};
int device_take_begin(struct device_take *take, struct fake_device *d,
		      struct mm *mm, unsigned first, unsigned n);
void device_take_copy(struct device_take *take);
int device_take_end(struct device_take *take);

/* Return whether the entry at va names a page of d. */
bool device_has(struct fake_device *d, struct mm *mm, va_t va);

/* Return the page that a device entry names, with a reference; NULL if none is there. */
struct page *device_page_at(struct mm *mm, va_t va);

/* Load and store the first word of a page, as the device does.  BAD, or -EFAULT, if the
 * entry at va names none of its pages. */
uint64_t device_word(struct fake_device *d, struct mm *mm, va_t va);
int device_store(struct fake_device *d, struct mm *mm, va_t va, uint64_t v);

/* Return a space of n pages, page i holding i + 1, all with a device *d of `room` pages;
 * check and end both. */
struct mm *mm_with_device(struct fake_device **d, unsigned n, unsigned room);
void mm_with_device_end(struct mm *mm, struct fake_device *d);
