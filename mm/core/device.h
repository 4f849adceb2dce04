/* SPDX-License-Identifier: MIT */
/*
 * device.h - pages of memory that only a device reaches
 *
 *      frames[]:  0 ... RAM ... frames_end .. device_first ... pages_end
 *                                             | of device 0 | of device 1 | unused |
 *
 * A CPU neither loads from such memory nor stores to it, but an address space may have
 * its content there.  Each page of it has a struct page, with a number that no RAM has,
 * so that an entry of the CPU can name it, count it, and be found by the reverse map.
 * The entry is never present (mm/core/entry.h): a fault has the content copied back to
 * RAM.  The page goes back to its device when its last reference is dropped.
 *
 *   kind VRAM, count 0       free
 *   kind VRAM, count 1       its driver's: being filled
 *   kind DEVICE              the page of an address space; refs = entries that name
 *                            it, and threads that move it
 *
 * Linux: MEMORY_DEVICE_PRIVATE, struct dev_pagemap, memremap_pages().
 */
#pragma once

#include "mm/frame/page.h"

#define DEVICE_CHUNK 256u /* a device has a whole number of these          */

struct device_memory;

struct device_ops {
	/*
	 * Copy a page.  One of the two is of this device, the other a frame of
	 * RAM.  No CPU and no device writes `from` meanwhile.  Returns 0 or a
	 * negative error: then `to` may hold anything.  Context: may sleep.
	 */
	int (*copy)(struct device_memory *dm, struct page *to,
		    struct page *from);
};

/* Key: (I) immutable from add to remove  (L) device_lock */
struct device_memory {
	const char *name;             /* (I)                                */
	const struct device_ops *ops; /* (I)                                */
	unsigned pages;               /* (I)                                */
	pa_t bus;           /* (I) where devices find the first page, or 0  */
	struct page *first; /* (I) set by device_memory_add()               */
	struct page *free;  /* (L) linked by mapping.next                   */
	unsigned n_free;    /* (L)                                          */
	bool closed;        /* (L) no page is allocated any more            */
};

/* Set up.  Boot, once, before the first device. */
void device_memory_init(void);

/*
 * Give struct pages to a device's memory; name, ops, pages and bus are set.  Returns 0
 * or -ENOSPC if not enough numbers in a row are left.  Context: may sleep.
 */
must_check int device_memory_add(struct device_memory *dm);

/* Allocate no page of dm any more, until device_memory_add().  Any context that may
 * take RANK_PMM. */
void device_memory_close(struct device_memory *dm);

/* Take the struct pages away.  Returns 0; -EBUSY, with nothing changed, if a page is in
 * use.  Context: may sleep. */
must_check int device_memory_remove(struct device_memory *dm);

/*
 * Allocate a page, of kind VRAM with one reference; page_put() gives it back.  Returns
 * NULL if there is none, or dm is closed.  Context: any that may take RANK_PMM.
 */
must_check struct page *device_page_alloc(struct device_memory *dm);

/* Return the device of a page that is_device, and in use.  Any context. */
struct device_memory *device_memory_of(const struct page *page);

/* Return the bytes from the start of its device's memory to the page. */
static inline uint64_t device_page_offset(const struct device_memory *dm,
					  const struct page *page)
{
	return (uint64_t)(page - dm->first) << PAGE_SHIFT;
}

/* Return how many pages of dm are not free.  Any context that may take RANK_PMM. */
unsigned device_memory_used(struct device_memory *dm);

/* Checker: the lists hold exactly the free pages.  Returns NULL or an error message.
 * Context: nothing else runs. */
const char *device_memory_check(void);
