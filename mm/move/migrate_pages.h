/* SPDX-License-Identifier: MIT */
/*
 * migrate_pages.h - move a list of pages to other frames
 *
 *      unmap, one flush a region        freeze, copy           map again
 *   ---+--------------------------+--+---+---+-- ... --+--+------------------+---> time
 *      | pages 0 to n, region 1   |  | 0 | 1 |         |n | pages 0 to n,     |
 *      | pages 0 to n, region 2   |  |   |   |         |  | regions 1, 2 ...  |
 *
 * The pages of the list that are neighbours in one owner are a batch: one walk over the
 * regions, one flush in each.  What is true of each page on its way is as for
 * migrate_page(): mm/rmap/MIGRATE.md.
 */
#pragma once

#include "mm/rmap/migrate.h"

/* One page of a list. */
struct page_move {
	struct page *page; /* with a reference of the caller                */
	struct page *to; /* the frame that it moves to, as for migrate_page() */
	int ret;         /* what came of it: set by migrate_pages()       */
};

#define MOVE_BATCH 64 /* the most pages that one flush covers               */

/*
 * Do migrate_page() for each of the n pages of a list.  Pages that are next to each other
 * in the list, and less than 2 MiB apart in one anon_vma or object, are unmapped in a
 * region with one invalidation and one flush for up to MOVE_BATCH of them; each is
 * copied after the last of these flushes.  The other kinds of pages move one by one.  A
 * page that does not move is mapped as before; the others of the list move.
 * Linux: migrate_pages().
 *
 * Context: as migrate_page().
 * Returns how many pages moved; the ret of each is what migrate_page() would return.
 */
unsigned migrate_pages(struct page_move *list, unsigned n);
