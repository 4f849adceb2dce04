/* SPDX-License-Identifier: MIT */
/*
 * collapse.h - make one entry of 2 MiB of a table of 512 small ones
 */
#pragma once

#include "mm/core/mm.h"

/*
 * Make the aligned 2 MiB that contain va one huge entry.  Holes and the zero page become
 * zeroes.  The pages are copied into a block, or stay where they are if they lie
 * together, in order, in an aligned block.  Linux: MADV_COLLAPSE.
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0, also if the entry is huge already; -EINVAL if no private region with
 * rights contains the 2 MiB, or the mm has a limit; -ENOENT if no page is mapped
 * there; -EBUSY if a page is shared, merged, evicted, swapped or pinned or has
 * another reference; -ENOMEM.  After an error every entry is as it was.
 */
must_check int mm_collapse(struct mm *mm, va_t va);

/* Do mm_collapse() for a user's address, but return -EINVAL if the region has no MAP_HUGE:
 * for the scanner.  Context: as mm_collapse(). */
must_check int collapse_advised(struct mm *mm, va_t va);
