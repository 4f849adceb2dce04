/* SPDX-License-Identifier: MIT */
/*
 * lazy.h - memory that may be dropped when it is needed, unless it is written again
 *
 * An allocator gives memory back without paying for it: the pages stay until reclaim
 * meets them, and are then dropped, not stored.  A page that was written after the
 * advice, by a CPU or by a device, is kept.  Linux: MADV_FREE.
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/frame/page.h"

/*
 * Let reclaim drop the private pages in [start, end), which may have holes.  A read then
 * finds what was there, or zeroes; a write keeps the page, with its other bytes as they
 * are at that time.  Pages that are shared after a fork, merged, pinned or in a region of
 * MAP_LOCKED or MAP_HUGETLB are left as they are; huge entries are split.
 *
 * Context: may sleep; takes mm->lock to read.
 * Returns 0; -EINVAL.
 */
must_check int mm_free_lazily(struct mm *mm, va_t start, va_t end);

/*
 * Drop the page if its owner has said so and it was not written since: its entry
 * becomes a hole, and the caller's reference is the last one.  Linux: try_to_unmap_one()
 * of a folio that is not swap-backed.
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on page, as for rmap_walk().
 * Returns whether it was dropped.
 */
must_check bool page_drop_lazy(struct page *page);

/* Return whether any page was given up since boot: without a swap store only these can
 * be reclaimed. */
bool lazy_any(void);
