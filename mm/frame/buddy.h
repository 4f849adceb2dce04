/* SPDX-License-Identifier: MIT */
/*
 * buddy.h - private to mm/frame/, and for the bench, which sets fragments aside
 *
 * Ranges of frame numbers are half-open.
 */
#pragma once

#include "kernel/lock.h"
#include "mm/frame/pmm.h"

/* Protects the lists and buddy_frames.  RANK_PMM. */
extern struct spinlock pmm_lock;

/* Frames in all lists.  Written under pmm_lock. */
extern uint64_t buddy_frames;

/*
 * Put a free block of 2^order frames into the lists and unite it with its free
 * buddies.  Its frames are of kind FREE, not tails; page is aligned to 2^order.
 * Context: pmm_lock held.
 */
void buddy_give(struct page *page, unsigned order);

/*
 * Take a block of exactly 2^order frames out of the lists; NULL when there is
 * none.  Context: pmm_lock held.
 */
must_check struct page *buddy_take(unsigned order);

/*
 * Take the smallest block, cut down to 2^most frames if it is larger, so that
 * fragments are used up before large blocks are broken.  *order receives its
 * order.  Returns NULL when the lists are empty.  Context: pmm_lock held.
 */
must_check struct page *buddy_take_small(unsigned most, unsigned *order);

/*
 * Take the block of 2^order frames that begins at page, which is aligned to that, out
 * of the lists, and leave the rest of the listed block that it lies in.  Returns false
 * if a part of it is not in the lists, or in blocks of its own.  Context: pmm_lock held.
 */
must_check bool buddy_take_at(struct page *page, unsigned order);

/* Return whether buddy_take(order) would find a block.  Context: pmm_lock held. */
bool buddy_has(unsigned order);

/*
 * Put the frames [start, end) into the lists, in the largest aligned blocks.
 * Context: pmm_lock held.
 */
void buddy_give_range(pfn_t start, pfn_t end);

/* Call the function of pmm_watch_low(), if few frames are left.  Context: pmm_lock was
 * just released. */
void buddy_low_check(void);

/*
 * Check the links, flags and sum of the lists.  Returns NULL or an error
 * message.  Context: pmm_lock held.
 */
const char *buddy_check(void);

/* ------------------------------------------------ page.c, for pmm.c */

extern page_destructor *page_destructors[]; /* by kind */

/* Drop what page->mapping holds, if frames of this kind hold anything. */
static inline void page_destroy(struct page *page)
{
	page_destructor *destroy = page_destructors[page_kind(page)];

	if (destroy) {
		destroy(page);
		page->mapping.next = NULL;
	}
}

/* ------------------------------------------- pmm_block.c, for pmm.c */

/* Free the block that page heads, whose count is 0. */
void block_free(struct page *page);

/* ------------------------------------------- pmm.c, for pmm_init.c */

/*
 * Check the lists and the caches; *listed receives the number of free frames.
 * Returns NULL or an error message.  Context: no other thread allocates.
 */
const char *pmm_check_lists(uint64_t *listed);
