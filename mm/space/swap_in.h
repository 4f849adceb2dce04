/* SPDX-License-Identifier: MIT */
/*
 * swap_in.h - bring back what was swapped out
 */
#pragma once

#include "mm/core/mm.h"

/*
 * Replace the swapped entry at slot, which region has at va, by one that maps the
 * content: the frame that is in the cache of the swap slot, or a new one.  The entry
 * that was exclusive is so again.  Linux: do_swap_page().
 * Context: mm->lock held; mm->pt_lock held, dropped; then it sleeps.
 * Returns -EAGAIN when the entry maps the page, or has changed; -ENOMEM, or -EIO if
 * the store failed, with the entry unchanged.
 */
must_check int fault_swapped(struct mm *mm, struct region *region, va_t va,
			     uint64_t *slot);

/*
 * Bring back everything that is swapped out, and take the store out of use.
 * Linux: swapoff(2).
 * Context: may sleep; any that may take RANK_MM_LIST.
 * Returns 0; -EINVAL if no store is in use, or another thread does this; -ENOMEM or
 * -EIO with the store in use as before: nothing is lost.
 */
must_check int swap_off(void);
