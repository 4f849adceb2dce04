/* SPDX-License-Identifier: MIT */
/*
 * migrate_block.h - move a page of 2 MiB as a whole
 *
 * Every entry that maps the block loses all access and is flushed; the block is copied;
 * then each entry maps the new block.  An entry on its way is a huge entry without
 * access, which all code that handles entries knows; a fault waits.  Why no write is
 * lost: mm/rmap/MIGRATE.md.
 */
#pragma once

#include "mm/rmap/block.h"

/*
 * Move the private page of 2 MiB that `head` heads to the block `to`, from
 * pages_alloc_bare(BLOCK_ORDER), which no other thread knows.  Content, dirty and exclusive
 * flags, and A and D of each entry come along.  Linux: migrate_folio() of a large folio.
 *
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference on each.
 * Returns 0: `head` is a block of the kernel's, as from pages_alloc_bare(), and `to` the
 * page; -EINVAL if head is not such a page; -EBUSY if the block was split, has another
 * reference or a pin, is in a region of MAP_LOCKED, or another thread moves it.  After an
 * error every entry maps what it mapped, or an equal copy, and the caller drops both
 * references: `to` may be a page.
 */
must_check int migrate_block(struct page *head, struct page *to);
