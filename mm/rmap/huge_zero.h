/* SPDX-License-Identifier: MIT */
/*
 * huge_zero.h - one block of zeroes, for reads of 2 MiB that nothing was written to
 *
 * The first read of such a place maps it by one entry without W or D.  The block is of
 * kind ZERO, is never written, and once allocated it stays: an MMU with a table of
 * its own may use it longer than the CPU's entry, which a split replaces by 512 of
 * zero_page without an invalidation, since both read as zero.  To give the block
 * back, each split would have to invalidate, which needs a sleep, and every entry
 * would have to be counted for a memory of 2 MiB in all.  Linux counts and gives back
 * (mm_get_huge_zero_folio()).
 *
 * page_maps() of the head counts the entries, as for every block; mm->mapped does not,
 * as for zero_page.
 */
#pragma once

#include "mm/core/entry.h"
#include "mm/rmap/block.h"

/* The head; NULL until a read needs it.  Set once. */
extern struct page *_Atomic huge_zero;

/* Return true if e, an entry of 2 MiB, maps the block of zeroes. */
static inline bool entry_huge_zero(uint64_t e)
{
	return entry_page(e) ==
	       atomic_load_explicit(&huge_zero, memory_order_relaxed);
}

/* Return the block of zeroes, or NULL if there is no memory for it.
 * Context: may sleep. */
struct page *huge_zero_get(void);

/*
 * Free the block unless an entry maps it.  For the end of a test: no secondary MMU
 * reaches it, and no other thread faults.
 */
void huge_zero_forget(void);
