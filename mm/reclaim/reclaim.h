/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - choose pages to swap out: a clock over the pages of an address space
 *
 *        hand
 *         ▼
 *   [A] [A] [ ] [A] [ ] ...      the next page that was not used since the hand
 *                                passed it the last time is swapped out; one that
 *                                was used gets another turn
 *
 * "Used" is asked of every CPU and every secondary MMU (page_referenced()), of every
 * address space that maps the page.  Pinned pages and pages of locked regions stay.
 * Linux: shrink_lruvec(), with lists of active and inactive pages in place of one clock.
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/rmap/rmap.h"

#define RECLAIM_BATCH EVICT_BATCH /* pages, for an allocation that has failed */

/*
 * Swap out up to n pages of mm, least recently used first, as far as one turn of
 * the hand tells.  If all are in use some go nevertheless, after two whole turns.
 * Context: may sleep; any that may take RANK_MM.
 * Pages that their owner has given up (lazy.h) are dropped instead.
 * Returns how many frames were freed: without a store, or if it is full or fails, only
 * such pages.
 */
unsigned mm_reclaim(struct mm *mm, unsigned n);

/*
 * Swap out up to n pages of any address spaces: for an allocation that has failed.
 * Context: may sleep; any that may take RANK_MM_LIST.  Returns how many frames were
 * freed.
 */
unsigned reclaim_any(unsigned n);

/*
 * Let mm have at most `pages` pages mapped, shared ones too, from the next fault on; 0: as
 * many as there are.  A shared page that goes leaves every address space.  A limit of 1 is raised to 2, since an access may need two pages
 * at once.  A fault at the limit first swaps out what is above, and up to an eighth of the
 * limit more, EVICT_BATCH at most, with one flush.  It is no error if
 * nothing can go.  Several threads that fault at once may each add one.  A fork's
 * child has the limit of its parent.  Context: takes mm->pt_lock.
 */
void mm_set_limit(struct mm *mm, uint64_t pages);

/* Make room below the limit, if there is still one.  Context: may sleep; any that may
 * take RANK_MM. */
void mm_keep_limit(struct mm *mm);
