/* SPDX-License-Identifier: MIT */
/*
 * compact.c - take the free frames of a block first, then move the pages of the others
 *
 * A frame that was taken is the caller's, with one reference: no allocation can get it,
 * and a page that moves cannot move to it.  Two threads that want the same block refuse
 * each other.
 *
 * Locks: none.  A block is chosen by a look at its frames without any; what they are is
 * found out when each is taken.
 */
#include "mm/reclaim/compact.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/move/migrate_block.h"
#include "mm/move/migrate_pages.h"

#define PASSES 3 /* what was freed or cached meanwhile has two more turns */
#define DEFER \
	6 /* log2 of the most calls that do not try                         */

/* Counts of compact_stat(). */
static _Atomic uint64_t blocks, moved, failed;

/* A block that is being emptied. */
struct evacuation {
	struct page *first;
	unsigned left; /* frames that are not taken yet                     */
	uint64_t taken[BLOCK_PAGES / 64];
	unsigned listed; /* pages that have a reference and will move        */
	struct page_move list[MOVE_BATCH];
};

static bool is_taken(const struct evacuation *e, const struct page *page)
{
	uint64_t i = (uint64_t)(page - e->first);

	return e->taken[i / 64] & BIT(i % 64);
}

static void take(struct evacuation *e, const struct page *page)
{
	uint64_t i = (uint64_t)(page - e->first);

	e->taken[i / 64] |= BIT(i % 64);
	e->left--;
}

/* Give each page of the list the frame that it moves to.  Returns 0 or -ENOMEM. */
static int frames_find(struct page_move *list, unsigned n)
{
	struct page *frames = NULL;
	int ret = page_alloc_list(&frames, n, PAGE_KERNEL);

	for (unsigned i = 0; !ret && i < n; i++) {
		list[i].to = frames;
		frames = frames->mapping.next;
	}
	return ret;
}

/* Move the users' pages of the list, on which the caller has references, to other frames.
 * If one of these lies in the block, because it was freed meanwhile, the page moves once
 * more.  Returns 0 or an error of block_evacuate(). */
static int list_evacuate(struct evacuation *e)
{
	int ret;

	if (!e->listed)
		return 0;
	ret = frames_find(e->list, e->listed);
	if (!ret)
		moved += migrate_pages(e->list, e->listed);
	for (unsigned i = 0; i < e->listed; i++) {
		struct page_move *m = &e->list[i];

		if (m->to)
			page_put(m->to);
		if (!m->to || m->ret)
			page_put(m->page);
		else
			take(e, m->page);
		if (!ret)
			ret = m->ret;
	}
	e->listed = 0;
	return ret;
}

/* Put a user's page, on which the caller has a reference, on the list.  A block is split
 * when its head moves, and its other frames are pages then.  Returns 0 or an error of
 * block_evacuate(). */
static int user_evacuate(struct evacuation *e, struct page *page)
{
	bool block = page_order(page);

	e->list[e->listed++] = (struct page_move){ .page = page };
	return block || e->listed == MOVE_BATCH ? list_evacuate(e) : 0;
}

/* Take one frame of the block, or put its page on the list.  Returns 0, also for a frame
 * that is free in a CPU's cache; or an error of block_evacuate(). */
static int frame_evacuate(struct evacuation *e, struct page *page)
{
	if (page_take(page)) {
		take(e, page);
		return 0;
	}
	if (page_try_get_user(page))
		return user_evacuate(e, page);
	return page_is_free(page) ? 0 : err(EBUSY);
}

/* Take the frames that are free, so that no page moves to one of them. */
static void take_free(struct evacuation *e)
{
	pmm_drain();
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		if (!is_taken(e, e->first + i) && page_take(e->first + i))
			take(e, e->first + i);
}

/* Take the other frames, as far as they are no longer in a CPU's cache.  Returns 0 or an
 * error of block_evacuate(). */
static int take_used(struct evacuation *e)
{
	int ret = 0, last;

	for (unsigned i = 0; i < BLOCK_PAGES && !ret; i++)
		if (!is_taken(e, e->first + i))
			ret = frame_evacuate(e, e->first + i);
	last = list_evacuate(e);
	return ret ? ret : last;
}

/* Take all frames of the block. */
static int evacuate(struct evacuation *e)
{
	int ret = 0;

	for (unsigned n = 0; n < PASSES && e->left && !ret; n++) {
		take_free(e);
		ret = take_used(e);
	}
	return !ret && e->left ? err(EBUSY) : ret;
}

static void give_back(struct evacuation *e)
{
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		if (is_taken(e, e->first + i))
			page_put(e->first + i);
}

/* Move the block as a whole, if it is a user's page of 2 MiB and there is another block.
 * Returns whether it is the caller's. */
static bool whole_evacuate(struct page *first)
{
	struct page *to;
	int ret;

	if (!block_whole(first) || !page_try_get_user(first))
		return false;
	to = pages_alloc_bare(BLOCK_ORDER);
	ret = to ? migrate_block(first, to) : -ENOMEM;
	if (to)
		page_put(to);
	if (ret)
		page_put(first);
	else
		moved += BLOCK_PAGES;
	return !ret;
}

int block_evacuate(pfn_t pfn, struct page **block)
{
	struct evacuation e;
	int ret;

	require(may_sleep() && locks_below(RANK_LINKS));
	if (!IS_ALIGNED(pfn, BLOCK_PAGES) || pfn >= frames_end ||
	    frames_end - pfn < BLOCK_PAGES)
		return err(EINVAL);
	e.first = page_of(pfn);
	if (whole_evacuate(e.first)) {
		blocks++;
		*block = e.first;
		return 0;
	}
	e.left = BLOCK_PAGES;
	e.listed = 0;
	memset(e.taken, 0, sizeof(e.taken));
	ret = evacuate(&e);
	if (ret) {
		failed++;
		give_back(&e);
		return ret;
	}
	blocks++;
	pages_unite(e.first, BLOCK_ORDER);
	*block = e.first;
	return 0;
}

/* Return how many frames of the block are in use; more than all of them if one cannot
 * move, or if nothing is to be won. */
static unsigned block_used(struct page *first)
{
	unsigned used = 0;

	for (unsigned i = 0; i < BLOCK_PAGES; i++) {
		struct page *page = first + i;
		enum page_kind kind = page_kind(page);

		if (page_order(page) >= BLOCK_ORDER || page_pins(page) ||
		    (kind != PAGE_FREE && !kind_user(kind)))
			return BLOCK_PAGES + 1;
		used += kind != PAGE_FREE;
	}
	return used;
}

/* Empty the first block from the hand on that has at most `most` frames in use. */
static struct page *compact_upto(unsigned most)
{
	static _Atomic pfn_t hand;
	struct page *block;

	PROBE(compact_begin, most, 0);
	for (pfn_t n = 0; n < frames_end / BLOCK_PAGES; n++) {
		pfn_t pfn = hand++ % (frames_end / BLOCK_PAGES) * BLOCK_PAGES;

		if (block_used(page_of(pfn)) <= most &&
		    !block_evacuate(pfn, &block))
			return block;
	}
	return NULL;
}

struct page *block_compact(void)
{
	struct page *block;

	require(may_sleep() && locks_below(RANK_LINKS));
	block = compact_upto(BLOCK_PAGES / 2);
	return block ? block : compact_upto(BLOCK_PAGES);
}

/* Calls of block_obtain() that will not compact, and failures in a row.  A lost update
 * costs one compaction more or less. */
static _Atomic unsigned skip, failures;

static bool deferred(void)
{
	unsigned n = skip;

	if (n)
		skip = n - 1;
	return n;
}

static void defer(bool failure)
{
	unsigned n = failures;

	failures = failure ? n + (n < DEFER) : 0;
	skip = failure ? 1u << failures : 0;
}

struct page *block_obtain(void)
{
	struct page *block;

	require(may_sleep() && locks_below(RANK_LINKS));
	block = pages_alloc_bare(BLOCK_ORDER);
	/* A test may have made the allocation fail. */
	if (block || pmm_has_block(BLOCK_ORDER))
		return block;
	if (deferred())
		return NULL;
	block = block_compact();
	defer(!block);
	return block;
}

void compact_stat(struct compact_stat *stat)
{
	*stat = (struct compact_stat){ blocks, moved, failed };
}
