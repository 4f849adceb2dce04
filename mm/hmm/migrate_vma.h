/* SPDX-License-Identifier: MIT */
/*
 * migrate_vma.h - move private pages of a range to the memory of a device
 *
 *	rw_read_lock(&mm->lock);
 *	ret = migrate_vma_setup(&args);         collect, unmap, flush
 *	for each src[i] with MIGRATE_PFN_MIGRATE
 *		dst[i] = migrate_pfn(device_page_alloc(dm));
 *	... the device copies, or clears dst[i] where src[i] is not VALID ...
 *	... dst[i] = 0 where that failed ...
 *	migrate_vma_pages(&args);               commit
 *	... the driver fills its own table where src[i] still has MIGRATE ...
 *	migrate_vma_finalize(&args);            restore what did not move
 *	rw_read_unlock(&mm->lock);
 *
 * Back it goes by itself: by the fault of a CPU, or device_memory_evict()
 * (mm/rmap/migrate.h).
 *
 * Names and steps are those of Linux's include/linux/migrate.h and mm/migrate_device.c;
 * the layout of a word is not.  The chapter is HMM.md.
 */
#pragma once

#include "mm/core/device.h"
#include "mm/notifier/mmu_notifier.h"

/*
 * src[i], of setup, and dst[i], of the driver:
 *
 *	63     62       51                                    0
 *	VALID  MIGRATE  frame number
 */
#define MIGRATE_PFN_VALID   BIT(63) /* it names a page                     */
#define MIGRATE_PFN_MIGRATE BIT(62) /* of src: it moves, or has moved      */
#define MIGRATE_PFN_FRAME   GENMASK(51, 0)

struct migrate_vma {
	struct mm *mm;
	va_t start, end; /* pages of one private region                    */
	uint64_t *src;   /* one word a page; set by setup                  */
	uint64_t *dst;   /* one word a page; cleared by setup              */
	/* The owner of the invalidations: a client whose callback finds itself in
	 * range->owner, with MMU_NOTIFY_MIGRATE, may ignore it (B30), since its
	 * driver is the caller and changes its table itself. */
	void *owner;
	unsigned cpages; /* pages that move, so far                       */
	struct region *region; /* private                                  */
};

/* Return the word that names page, or 0 for NULL. */
static inline uint64_t migrate_pfn(const struct page *page)
{
	return page ? pfn_of(page) | MIGRATE_PFN_VALID : 0;
}

/* Return the page that a word names, NULL if it is not VALID. */
static inline struct page *migrate_page_of(uint64_t word)
{
	return word & MIGRATE_PFN_VALID ? page_of(word & MIGRATE_PFN_FRAME)
					: NULL;
}

/*
 * Collect the pages of the range that can move, and take them from every MMU.  src[i] is
 *   VALID and MIGRATE  a private page: no CPU and no device, but the owner's, has a
 *                      translation to it, and a fault waits until finalize
 *   MIGRATE            a hole or the zero page: nothing has to be copied
 *   0                  the page stays: it is shared, merged, pinned, used by another
 *                      thread, on its way, in a swap slot, or with a device already
 * Huge mappings are split.
 *
 * Context: may sleep; mm->lock held to read, until migrate_vma_finalize() returns.  The
 * caller holds no lock that its own callback takes.
 * Returns 0, then the other two follow; -EINVAL, with nothing changed, if the range is
 * empty, unaligned, or not in one private region with rights and without MAP_LOCKED.
 */
must_check int migrate_vma_setup(struct migrate_vma *args);

/*
 * Put dst[i], a page of device_page_alloc() with the content of src[i], where src[i]
 * was.  src[i] loses MIGRATE where dst[i] is 0, another thread has a reference on the
 * page, the hole is one no more, or there is no memory for a table.
 * Context: may sleep; as migrate_vma_setup().
 */
void migrate_vma_pages(struct migrate_vma *args);

/*
 * Map what has not moved again, wake the faults that wait, and drop the caller's
 * reference on each page of src and dst: a frame of RAM that was left, and a device page
 * that was not used, are free then.
 * Context: may sleep; as migrate_vma_setup().
 */
void migrate_vma_finalize(struct migrate_vma *args);
