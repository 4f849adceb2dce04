/* SPDX-License-Identifier: MIT */
/*
 * pin.h - keep pages at their addresses while a device uses their frames
 *
 * A pinned page is the page at its address until it is unpinned or unmapped: no
 * fork, copy-on-write or try_to_unmap() replaces it (docs/invariants.md, B41).
 * Therefore a private page can be pinned only while it is exclusive, also for
 * reading; pin_pages() makes it so.  Linux: FOLL_PIN | FOLL_LONGTERM.
 */
#pragma once

#include "mm/core/mm.h"

#define PIN_WRITE BIT(0) /* the frames will be written */
/*
 * With PIN_WRITE: pin private memory that may be read but not written, as a
 * debugger's breakpoint needs.  The page is made exclusive first; the entry stays
 * read-only.  In shared memory the flag has no effect.  Linux: FOLL_FORCE.
 */
#define PIN_FORCE BIT(1)

/*
 * Pin n pages, from the one that contains va on, and store them in pages[].
 * Without PIN_WRITE a region with any right will do: what x86 can write or
 * execute it can read.
 * Context: may sleep; takes mm->lock to read.
 * Returns 0; -EFAULT (outside the user half, no region, or no such right) or
 * -ENOMEM: then none is pinned, but some may have been faulted in.
 */
must_check int pin_pages(struct mm *mm, va_t va, unsigned n, unsigned flags,
			 struct page **pages);

/* Unpin n pages of pin_pages(); the mm need not exist any more.
 * Context: any that may take RANK_PMM. */
void unpin_pages(struct page **pages, unsigned n);
