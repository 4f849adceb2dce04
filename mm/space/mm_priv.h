/* SPDX-License-Identifier: MIT */
/*
 * mm_priv.h - private to the files that change address spaces
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/core/object.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/pt/pt_x86.h"
#include "mm/rmap/anon_vma.h"
#include "mm/rmap/region.h"
#include "mm/rmap/rmap.h"
#include "mm/space/zap.h"

/*
 * Unmap [start, end) and take it out of its regions.  No region crosses both ends:
 * region_part() or region_cut() was called before.  Context: mm->lock held to write.
 */
void unmap_regions(struct mm *mm, va_t start, va_t end);

/*
 * Make page, just allocated and filled, the region's private page at va and turn
 * the caller's reference into its mapping.  Returns the entry that maps it; the
 * caller stores it and counts it in mm->mapped.  The entry has D, even for a read
 * fault, because no other copy of the contents exists.
 * Context: region->mm->pt_lock held.
 */
static inline uint64_t page_new_anon(struct page *page, struct region *region,
				     va_t va)
{
	require(spin_held(&region->mm->pt_lock));
	page_set_anon(page, region, va);
	page_ref_to_map(page);
	return entry_make(page, region->prot) | PTE_D;
}

/*
 * Make an address space with one user that mm_find() and mm_for_each() do not
 * know until mm_publish().  Returns NULL without memory.
 * Context: any that may take RANK_POOL.
 */
must_check struct mm *mm_alloc(void);

/*
 * Tear down an address space that was never published, with its one user.
 * Context: may sleep; any that may take RANK_MM_LIST.
 */
void mm_abandon(struct mm *mm);

/*
 * Set D in every entry of the run through which a device may have written
 * (entry_dirty()), before W is cleared in them.  For an mm with notifiers.
 * Context: mm->pt_lock held.
 */
void run_keep_dirty(struct mm *mm, const struct pt_run *run);
