/* SPDX-License-Identifier: MIT */
/*
 * huge_pool.h - blocks of 2 MiB that are kept for regions with MAP_HUGETLB
 *
 * A block of the pool is of kind HUGETLB.  It is free, with count 0, or mapped by one
 * entry of 2 MiB; when that has gone, page_free() gives it back to the pool.  It is
 * never split, so its tails are bare for ever (pmm_block.c), and it is not a user's
 * page for the reverse map: nothing swaps, moves, merges or pins it.
 * Linux: mm/hugetlb.c, nr_hugepages.
 */
#pragma once

#include "mm/frame/page.h"

#define HUGE_POOL_LEAVES 16384u /* frames that the pool does not take: 64 MiB */

/*
 * Make the pool n blocks: take them from free memory, or give back free ones.  A block
 * that is mapped stays, and so do HUGE_POOL_LEAVES frames for all else.
 * Context: no other thread resizes; any that may take RANK_PMM.  Returns the number of
 * blocks that the pool has: fewer than n if memory has fewer, more if more are mapped.
 */
unsigned huge_pool_resize(unsigned n);

/* Take a free block with one reference, exclusive, content undefined, or NULL.
 * Context: any that may take RANK_PMM. */
struct page *huge_pool_take(void);

struct huge_pool_stat {
	unsigned total, free; /* blocks */
};

/* Read both numbers at one instant.  Context: as above. */
struct huge_pool_stat huge_pool_stat(void);
