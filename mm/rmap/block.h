/* SPDX-License-Identifier: MIT */
/*
 * block.h - 512 frames that one entry may map: how they are counted
 *
 *      whole                               split
 *   +--------+------+-- ... --+------+     +--------+------+-- ... --+------+
 *   | head   | tail |         | tail |     | frame  | frame|         | frame|
 *   | maps M |    0 |         |    0 |     | maps M |    M |         |    M |
 *   +--------+------+-- ... --+------+     +--------+------+-- ... --+------+
 *
 * A block is allocated whole: its head has order BLOCK_ORDER and is the only frame
 * with a count, owner and flags.  Each entry of 2 MiB that maps the block counts in
 * it once.  No entry of 4 KiB maps a frame of a whole block.
 *
 * The first entry of 2 MiB that is split into entries of 4 KiB splits the block too:
 * each frame gets the head's number of mappings, and is a private page of its own
 * from then on.  Other address spaces may still map these frames by one entry; it
 * counts in each of the 512.  A split block becomes whole again only by
 * block_join(), when one address space alone maps all of it, by entries of 4 KiB.
 *
 * So page_maps() of a frame is the number of entries, of either size, that map it,
 * and a frame is freed by its own count.  mm/huge/HUGE.md weighs this against
 * Linux's and FreeBSD's ways to count.
 *
 * Locks: block_lock, RANK_BLOCK, makes "whole?" and the change of a count one step
 * for entries of 2 MiB.  References on the head that are no mappings need no lock:
 * they stay with the head's frame when the block is split.
 */
#pragma once

#include "kernel/lock.h"
#include "mm/frame/page.h"

struct region;

#define BLOCK_ORDER 9u
#define BLOCK_PAGES (1u << BLOCK_ORDER)
#define BLOCK_SIZE  (PAGE_SIZE * BLOCK_PAGES)

/* Return true if page heads a whole block.  A false answer is stable while an entry of
 * 2 MiB maps it; a true one only under block_lock, or while no other entry does. */
static inline bool block_whole(const struct page *page)
{
	return page_order(page) == BLOCK_ORDER;
}

/*
 * Count one more entry for each of n entries of 2 MiB, one after the other in a table,
 * before it is visible, and take PG_EXCLUSIVE from their blocks.
 * Context: the pt_lock of the entries, which map the blocks.
 */
void blocks_share(const uint64_t *entries, unsigned n);

/*
 * Count one entry of 2 MiB less, after it was cleared and flushed everywhere, for each
 * block of a list: the frames on it, linked by mapping.next, have the frame number of a
 * block's head as index.  Frees the block, or each frame, whose count is then 0.
 * Context: any that may take RANK_BLOCK.
 */
void blocks_map_drop(struct page *list);

/*
 * Return true if the block is whole and one entry is its only reference.  The two are
 * read in one step: of a block that is split meanwhile the head's count says nothing
 * about the other frames (H35, CVE-2020-29368).
 * Context: the pt_lock of an entry that maps the block.
 */
bool block_sole(struct page *head);

/* Do block_set_dirty().  Context: as below. */
void block_set_dirty_slow(struct page *head);

/* Mark every frame of the block dirty.  Context: as block_sole(). */
static inline void block_set_dirty(struct page *head)
{
	uint32_t whole = FIELD_PREP(PG_ORDER, BLOCK_ORDER) | PG_DIRTY;

	require(locks_below(RANK_BLOCK));
	/* Read at one instant: a split after it marks each frame. */
	if ((page_flags(head) & (PG_ORDER | PG_DIRTY)) != whole)
		block_set_dirty_slow(head);
}

/*
 * Split the block if it is whole: see the head of this file.  The caller's entry still
 * counts once in each frame.  Context: as block_sole().
 */
void block_split(struct page *head);

/*
 * Count one entry of 2 MiB less in `head` and one more in `to`, which takes its place.
 * Returns false, with nothing changed, if a block is not whole, or head is exclusive and has
 * a user besides the entry and one reference, of the caller.  PG_EXCLUSIVE comes along.
 * Context: the pt_lock of the entry, which has no access.
 */
must_check bool block_map_move(struct page *head, struct page *to);

/* Blocks that are on their way: mm/move/migrate_block.c. */
extern _Atomic unsigned blocks_held;

/* Set PG_MOVING of the block.  Returns false if it was set. */
must_check bool block_hold(struct page *head);

/* Clear it, and wake the waiting threads.  Context: any. */
void block_release(struct page *head);

/*
 * Return the first of n entries of 2 MiB that has no access because its block is on its
 * way, as the block's head, or NULL.  Code that gives access to an entry waits for it
 * (moving_wait()), or that gives a copy to another table leaves out the access.
 * Context: the pt_lock of the entries.
 */
struct page *block_held_slow(const uint64_t *entries, unsigned n);

static inline struct page *block_held(const uint64_t *entries, unsigned n)
{
	if (likely(!atomic_load_explicit(&blocks_held, memory_order_relaxed)))
		return NULL;
	return block_held_slow(entries, n);
}

/*
 * Make the 512 private pages from head on, which an aligned block contains, a whole
 * block again.  Each has one reference, the mapping that the caller has taken from every
 * MMU; the block then has one.  Returns false, with nothing changed, if a page has another
 * reference, or if they differ in owner or in a flag other than dirty.
 * Context: the pt_lock of their entries; any that may take RANK_BLOCK.
 */
must_check bool block_join(struct page *head);
