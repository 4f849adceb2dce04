/* SPDX-License-Identifier: MIT */
/*
 * buddy.h - what pmm.c, pmm_init.c and buddy.c share; not for others
 *
 * buddy_*: under pmm.c's lock.
 */
#pragma once

#include "mm/pmm.h"

/* Frames in all lists. */
extern uint64_t buddy_frames;

/*
 * A free block joins the lists and unites with its free buddies.  Its frames
 * are of kind FREE, not tails; the head need not be aligned to the result.
 */
void buddy_give(struct page *page, unsigned order);

/* A block of exactly 2^order frames, NULL when there is none. */
must_check struct page *buddy_take(unsigned order);

/*
 * The smallest block there is, cut down to 2^most frames if it is larger: so
 * that fragments are used up before blocks are broken.
 */
must_check struct page *buddy_take_small(unsigned most, unsigned *order);

/* Free [start, end) in the largest aligned blocks. */
void buddy_give_range(pfn_t start, pfn_t end);

/* Oracle: the lists' links, flags and sum.  NULL, or what is wrong. */
const char *buddy_check(void);

/* ------------------------------------------- pmm.c, for pmm_init.c */

/* Frames [start, end) of the frame array become free memory. */
void pmm_release_range(pa_t start, pa_t end);

/* Oracle: buddy_check() and the caches; *listed = frames that are free. */
const char *pmm_check_lists(uint64_t *listed);

/* The first word of a PG_POISONED frame that is not poison, NULL if none. */
const uint64_t *pmm_poison_hurt(const struct page *page);
