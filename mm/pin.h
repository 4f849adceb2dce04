/* SPDX-License-Identifier: MIT */
/*
 * pin.h - pages that stay where they are, for those who use their frames
 *
 * A pinned page is the page at its address until it is unpinned or unmapped:
 * no fork, copy-on-write or try_to_unmap() replaces it under its owner (B41).
 * It follows that a private page can be pinned only while it is exclusive,
 * for reading too; pin_pages() makes it so.  Linux: FOLL_PIN | FOLL_LONGTERM.
 */
#pragma once

#include "mm/mm.h"

#define PIN_WRITE BIT(0) /* the owner will write                           */
#define PIN_FORCE \
	BIT(1) /* ... even where the region is read-only: a
			  * debugger.  It gets a copy, never a shared page;
			  * memory of an object has none to give: -EFAULT */

/*
 * Pin n pages from va on into pages[].  Returns -EFAULT (no region, or not
 * that right), -ENOMEM; then none is pinned.
 * Context: may sleep; takes mm->lock to read.
 */
must_check int pin_pages(struct mm *mm, va_t va, unsigned n, unsigned flags,
			 struct page **pages);

/* Any context that may take RANK_PMM; the mm need not exist any more. */
void unpin_pages(struct page **pages, unsigned n);
