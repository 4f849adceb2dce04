/* SPDX-License-Identifier: MIT */
/*
 * block.c - count the entries of a block, split it, join it
 */
#include "mm/rmap/block.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/frame/tail.h"
#include "mm/rmap/anon_vma.h"

static struct spinlock block_lock = SPINLOCK_INIT(RANK_BLOCK, "block");

/* Count a mapping more, or less, in each frame of a split block. */
static noinline void parts_add(struct page *head)
{
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		page_map_add(head + i);
}

static noinline void parts_drop(struct page *head)
{
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		page_map_drop(head + i);
}

void blocks_share(const uint64_t *entries, unsigned n)
{
	require(locks_below(RANK_BLOCK));
	spin_lock(&block_lock);
	for (unsigned i = 0; i < n; i++) {
		struct page *head = entry_page(pte_read(&entries[i]));

		page_clear_exclusive(head);
		if (likely(block_whole(head))) {
			page_map_add(head);
			continue;
		}
		spin_unlock(&block_lock);
		parts_add(head);
		spin_lock(&block_lock);
	}
	spin_unlock(&block_lock);
}

void blocks_map_drop(struct page *list)
{
	require(locks_below(RANK_BLOCK));
	spin_lock(&block_lock);
	for (; list; list = list->mapping.next) {
		struct page *head = page_of(list->index);
		bool whole = block_whole(head);

		if (likely(whole) && page_count_add(head, -PAGE_MAP))
			continue;
		/* Other blocks do not wait for this one. */
		spin_unlock(&block_lock);
		if (whole)
			page_free(head);
		else
			parts_drop(head);
		spin_lock(&block_lock);
	}
	spin_unlock(&block_lock);
}

bool block_sole(struct page *head)
{
	bool sole;

	require(locks_below(RANK_BLOCK));
	spin_lock(&block_lock);
	sole = block_whole(head) && page_count(head) == PAGE_MAP;
	spin_unlock(&block_lock);
	return sole;
}

bool block_map_move(struct page *head, struct page *to)
{
	bool exclusive = page_exclusive(head), moves;

	require(locks_below(RANK_BLOCK));
	spin_lock(&block_lock);
	moves = block_whole(head) && block_whole(to) &&
		(!exclusive || page_count(head) == PAGE_MAP + PAGE_REF);
	if (moves) {
		if (exclusive)
			page_set_exclusive(to);
		page_map_add(to);
		page_count_add(head, -PAGE_MAP);
	}
	spin_unlock(&block_lock);
	return moves;
}

_Atomic unsigned blocks_held;

bool block_hold(struct page *head)
{
	/* Before the flag: a thread that finds no block held has its pt_lock, and the
	 * mover takes it later. */
	atomic_fetch_add(&blocks_held, 1);
	if (moving_begin(head))
		return true;
	atomic_fetch_sub(&blocks_held, 1);
	return false;
}

void block_release(struct page *head)
{
	moving_end(head);
	atomic_fetch_sub(&blocks_held, 1);
}

struct page *block_held_slow(const uint64_t *entries, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct page *head = entry_page(pte_read(&entries[i]));

		if (page_moving(head))
			return head;
	}
	return NULL;
}

void block_set_dirty_slow(struct page *head)
{
	unsigned n;

	require(locks_below(RANK_BLOCK));
	spin_lock(&block_lock);
	n = block_whole(head) ? 1 : BLOCK_PAGES;
	for (unsigned i = 0; i < n; i++)
		page_set_dirty(head + i);
	spin_unlock(&block_lock);
}

#define TAILS 7u /* at once: 511 is a multiple */

/* Make TAILS private pages of a block's tails. */
static always_inline void tails_begin(struct page *page, uint32_t flags,
				      struct anon_vma *av, uint64_t index,
				      uint64_t count)
{
	/* Keep the address in a register: otherwise gcc computes it anew for each
	 * frame. */
	__asm__("" : "+r"(page), "+r"(index));
#pragma GCC unroll 7
	for (unsigned i = 0; i < TAILS; i++)
		page_tail_begin(page + i, flags, av, index + i, count);
}

/* Make 512 private pages of a whole block.  Context: block_lock held. */
static void split_locked(struct page *head)
{
	uint64_t count = page_maps(head) * PAGE_MAP;
	/* PG_SWAP stays with the head: the swap cache has that frame alone. */
	uint32_t flags = page_flags(head) & (PG_KIND | PG_EXCLUSIVE);
	struct anon_vma *av = head->mapping.anon_vma;
	uint64_t index = head->index;
	bool dirty;

	require(spin_held(&block_lock));
	assert(page_kind(head) == PAGE_ANON && count && !page_pins(head));
	anon_vma_get_many(av, BLOCK_PAGES - 1);
	for (unsigned i = 1; i < BLOCK_PAGES; i += TAILS)
		tails_begin(head + i, flags, av, index + i, count);
	page_clear(head, PG_ORDER | PG_BARE | PG_PARTS);
	/* Only now: until then block_set_dirty() relies on the head's mark. */
	dirty = page_test(head, PG_DIRTY);
	for (unsigned i = 1; dirty && i < BLOCK_PAGES; i++)
		page_set_dirty(head + i);
}

void block_split(struct page *head)
{
	require(locks_below(RANK_BLOCK));
	spin_lock(&block_lock);
	if (block_whole(head)) {
		split_locked(head);
		PROBE(block_split, head, page_pa(head));
	}
	spin_unlock(&block_lock);
}

#define PART_FLAGS (PAGE_ANON | PG_EXCLUSIVE) /* but for PG_DIRTY */

/* Return true if a frame in this state can be a part of a block. */
static bool part_state(struct page_state s)
{
	return s.count == PAGE_MAP && (s.flags & ~PG_DIRTY) == PART_FLAGS;
}

/* Make a tail of a page that was found in this state, not the expected one.  Returns
 * its last state, which says with part_state() if that was done. */
static noinline struct page_state tail_end_slow(struct page *page,
						struct page_state was)
{
	/* PG_DIRTY may come at any time. */
	while (part_state(was))
		if (page_tail_end(page, &was,
				  PAGE_FREE | (was.flags & PG_DIRTY)))
			break;
	return was;
}

/*
 * Make tails of the pages after head, in their order, as long as they are alike.
 * Returns how many frames of the block are parts then, head included.  *dirty: one of
 * them has PG_DIRTY.  Context: block_lock held; head is frozen.
 */
static unsigned tails_end(struct page *head, bool *dirty)
{
	struct page_state was = { PAGE_MAP, PART_FLAGS };
	const struct anon_vma *av = head->mapping.anon_vma;
	unsigned n = 1;

	require(spin_held(&block_lock));
	*dirty = false;
	for (; n < BLOCK_PAGES; n += TAILS) {
		struct page *page = head + n;

#pragma GCC unroll 7
		for (unsigned i = 0; i < TAILS; i++) {
			if (unlikely(page[i].mapping.anon_vma != av))
				return n + i;
			if (likely(page_tail_end(&page[i], &was, PAGE_FREE)))
				continue;
			was = tail_end_slow(&page[i], was);
			if (!part_state(was))
				return n + i;
			*dirty |= (was.flags & PG_DIRTY) != 0;
			was = (struct page_state){ PAGE_MAP, PART_FLAGS };
		}
	}
	return BLOCK_PAGES;
}

/* Make pages again of the tails before tail n.  Context: block_lock held. */
static void tails_restore(struct page *head, unsigned n)
{
	require(spin_held(&block_lock));
	for (unsigned i = 1; i < n; i++)
		page_tail_begin(head + i, PART_FLAGS, head->mapping,
				head->index + i, PAGE_MAP);
}

#define WHOLE_FLAGS (FIELD_PREP(PG_ORDER, BLOCK_ORDER) | PG_BARE | PG_PARTS)

/* Do block_join() for a head that is frozen.  Context: block_lock held. */
static bool join_locked(struct page *head)
{
	bool dirty;
	unsigned n;

	require(spin_held(&block_lock));
	/* First: from now on a tail's number leads to the head. */
	page_set(head, WHOLE_FLAGS);
	n = tails_end(head, &dirty);
	if (n < BLOCK_PAGES) {
		page_clear(head, WHOLE_FLAGS);
		tails_restore(head, n);
		return false;
	}
	if (dirty)
		page_set_dirty(head);
	anon_vma_put_many(head->mapping.anon_vma, BLOCK_PAGES - 1);
	return true;
}

bool block_join(struct page *head)
{
	bool joined = false;

	require(locks_below(RANK_BLOCK));
	assert(IS_ALIGNED(pfn_of(head), BLOCK_PAGES));
	spin_lock(&block_lock);
	if (page_freeze(head, PAGE_MAP)) {
		joined = part_state((struct page_state){ PAGE_MAP,
							 page_flags(head) }) &&
			 !page_pins(head) && join_locked(head);
		page_unfreeze(head, PAGE_MAP);
	}
	spin_unlock(&block_lock);
	if (joined)
		PROBE(block_join, head, page_pa(head));
	return joined;
}
