/* SPDX-License-Identifier: MIT */
/*
 * compact.h - empty a block of 2 MiB of physical memory while its pages are used
 *
 *      before                              after
 *   [A][ ][B][ ][ ][C] ... [ ]  ──►  [            one block            ]
 *    │     │        └────────────────────────────────────────────┐
 *    └─────┴─► frames elsewhere, from page_alloc()                ▼
 *
 * Two users: code that needs a block when only fragments are free (compaction), and
 * code that needs these frames and no others, because the memory is to be taken out
 * (evacuation).  Each page moves as migrate_page() moves it, under CPUs and devices
 * that go on using it.
 */
#pragma once

#include "mm/rmap/block.h"

/*
 * Move every page of the BLOCK_PAGES frames from number pfn on, which is aligned to that,
 * to other frames.  A huge page moves as a whole if another block is free, and is split
 * otherwise.
 * Linux: alloc_contig_range().
 *
 * Context: may sleep; any that may take RANK_LINKS.
 * Returns 0: *block is these frames, as from pages_alloc_bare(BLOCK_ORDER); -EINVAL if
 * pfn is not aligned or not below frames_end; -ENOMEM without frames elsewhere; -EBUSY
 * if a frame is reserved or the kernel's own, or a page does not move (migrate_page()).  After an error each page is
 * mapped, in its old frame or in a new one, and the free frames are free.
 */
must_check int block_evacuate(pfn_t pfn, struct page **block);

/*
 * Empty any block in which all frames in use can move, the emptier ones first.  Linux:
 * compact_zone().  Context: as block_evacuate().
 * Returns a block as pages_alloc_bare(BLOCK_ORDER) does, or NULL.
 */
must_check struct page *block_compact(void);

/*
 * Return pages_alloc_bare(BLOCK_ORDER), or, if no free block is so large, block_compact().
 * After that has failed it is not tried again for the next calls, twice as many each
 * time, up to 64.  Linux: __alloc_pages_direct_compact(), defer_compaction().
 * Context: as block_evacuate().
 */
must_check struct page *block_obtain(void);

/* What was counted since boot. */
struct compact_stat {
	uint64_t
		blocks; /* emptied                                             */
	uint64_t
		moved; /* pages that went elsewhere                           */
	uint64_t
		failed; /* blocks in which a page did not move                 */
};

void compact_stat(struct compact_stat *stat);
