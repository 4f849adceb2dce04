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
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"

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

/* Move a user's page, on which the caller has a reference, to another frame.  If that lies
 * in the block, because it was freed meanwhile, the page moves once more. */
static int user_evacuate(struct evacuation *e, struct page *page)
{
	struct page *to = page_alloc();
	int ret = to ? migrate_page(page, to) : err(ENOMEM);

	if (to)
		page_put(to);
	if (ret) {
		page_put(page);
		return ret;
	}
	moved++;
	take(e, page);
	return 0;
}

/* Take one frame of the block.  Returns 0; -EAGAIN for a frame that is free in a CPU's
 * cache; or an error of block_evacuate(). */
static int frame_evacuate(struct evacuation *e, struct page *page)
{
	if (page_take(page)) {
		take(e, page);
		return 0;
	}
	if (page_try_get_user(page))
		return user_evacuate(e, page);
	return page_is_free(page) ? -EAGAIN : err(EBUSY);
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
	int ret = 0;

	for (unsigned i = 0; i < BLOCK_PAGES && (!ret || ret == -EAGAIN); i++)
		if (!is_taken(e, e->first + i))
			ret = frame_evacuate(e, e->first + i);
	return ret == -EAGAIN ? 0 : ret;
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

int block_evacuate(pfn_t pfn, struct page **block)
{
	struct evacuation e = { .left = BLOCK_PAGES };
	int ret;

	require(may_sleep() && locks_below(RANK_LINKS));
	if (!IS_ALIGNED(pfn, BLOCK_PAGES) || pfn >= frames_end ||
	    frames_end - pfn < BLOCK_PAGES)
		return err(EINVAL);
	e.first = page_of(pfn);
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
