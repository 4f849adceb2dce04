/* SPDX-License-Identifier: MIT */
/*
 * buddy.c - blocks of 2^order frames
 *
 *   order 2   [ A       |         ]     a block's buddy differs from it in
 *   order 1   [ A  | B  ]               one bit of the frame number:
 *   order 0   [A|A']                    pfn ^ (1 << order)
 *
 * Invariant: a block is in the list of its order iff its first frame has
 * PG_BUDDY, and then no two buddies of one order are both in lists.  All other
 * frames of a free block are of kind FREE without PG_BUDDY.  PG_POISONED and
 * PG_FRESH are a frame's own and survive here.
 *
 * A list is threaded through struct page (mapping = next, index = previous), so
 * that giving and taking never touch the frames: memory that is not in the
 * direct map yet can be listed.
 */
#include "mm/frame/buddy.h"

uint64_t buddy_frames;

/* Both under pmm_lock. */
static struct page *lists[PMM_ORDERS];
static unsigned nonempty; /* bit n: lists[n] has a block */

/* Set the flags of a free frame; the two that are its own stay. */
static void set_free(struct page *page, uint32_t flags)
{
	flags |= (page_flags(page) & (PG_POISONED | PG_FRESH)) | PAGE_FREE;
	atomic_store_explicit(&page->flags, flags, memory_order_relaxed);
}

/* Put a block at the head of the list of its order. */
static void push(struct page *page, unsigned order)
{
	struct page *next = lists[order];

	page->mapping.next = next;
	page->prev = NULL;
	if (next)
		next->prev = page;
	lists[order] = page;
	nonempty |= 1u << order;
	set_free(page, PG_BUDDY | FIELD_PREP(PG_ORDER, order));
}

/* Take a listed block out of the list of its order. */
static void unlink_block(struct page *page, unsigned order)
{
	struct page *next = page->mapping.next, *prev = page->prev;

	if (next)
		next->prev = prev;
	if (prev)
		prev->mapping.next = next;
	else
		lists[order] = next;
	if (!lists[order])
		nonempty &= ~(1u << order);
	set_free(page, 0);
}

/* Return true if page is the head of a listed block of exactly this order. */
static bool listed(const struct page *page, unsigned order)
{
	return (page_flags(page) & (PG_BUDDY | PG_ORDER)) ==
	       (PG_BUDDY | FIELD_PREP(PG_ORDER, order));
}

void buddy_give(struct page *page, unsigned order)
{
	pfn_t pfn = pfn_of(page);

	require(spin_held(&pmm_lock));
	assert(IS_ALIGNED(pfn, UINT64_C(1) << order));
	WRITE_ONCE(buddy_frames, buddy_frames + (UINT64_C(1) << order));
	for (; order < PMM_ORDERS - 1; order++) {
		pfn_t buddy = pfn ^ (UINT64_C(1) << order);

		if (buddy >= frames_end || !listed(&frames[buddy], order))
			break;
		unlink_block(&frames[buddy], order);
		pfn &= buddy;
	}
	push(&frames[pfn], order);
}

/* Take a listed block and give back its halves down to order, but for the block of that
 * order that is `offset` frames inside. */
static always_inline struct page *cut_at(struct page *page, unsigned from,
					 uint64_t offset, unsigned order)
{
	assert(page && listed(page, from));
	unlink_block(page, from);
	while (from > order) {
		uint64_t half = UINT64_C(1) << --from;

		push(page + (~offset & half), from);
		page += offset & half;
	}
	WRITE_ONCE(buddy_frames, buddy_frames - (UINT64_C(1) << order));
	return page;
}

/* Take the first listed block, down to order. */
static struct page *cut(unsigned from, unsigned order)
{
	return cut_at(lists[from], from, 0, order);
}

struct page *buddy_take(unsigned order)
{
	unsigned larger = nonempty >> order << order;

	require(spin_held(&pmm_lock));
	return larger ? cut((unsigned)__builtin_ctz(larger), order) : NULL;
}

bool buddy_take_at(struct page *page, unsigned order)
{
	require(spin_held(&pmm_lock));
	for (unsigned n = order; n < PMM_ORDERS; n++) {
		uint64_t offset = pfn_of(page) & (BIT(n) - 1);

		if (!listed(page - offset, n))
			continue;
		cut_at(page - offset, n, offset, order);
		return true;
	}
	return false;
}

bool buddy_has(unsigned order)
{
	require(spin_held(&pmm_lock));
	return nonempty >> order;
}

struct page *buddy_take_small(unsigned most, unsigned *order)
{
	unsigned least;

	require(spin_held(&pmm_lock));
	if (!nonempty)
		return NULL;
	least = (unsigned)__builtin_ctz(nonempty);
	*order = least < most ? least : most;
	return cut(least, *order);
}

void buddy_give_range(pfn_t start, pfn_t end)
{
	require(spin_held(&pmm_lock));
	while (start < end) {
		/* Find the largest block that is aligned here and fits. */
		uint64_t aligned = start | UINT64_C(1) << (PMM_ORDERS - 1);
		unsigned order = (unsigned)__builtin_ctzll(aligned);

		while (end - start < UINT64_C(1) << order)
			order--;
		buddy_give(&frames[start], order);
		start += UINT64_C(1) << order;
	}
}

/* ---- low memory ------------------------------------------------------------ */

static uint64_t low_mark;
static void (*_Atomic low_fn)(void);

void pmm_watch_low(uint64_t frames, void (*fn)(void))
{
	atomic_store(&low_fn, fn);
	WRITE_ONCE(low_mark, frames);
}

void buddy_low_check(void)
{
	/* Both are hints: the next refill looks again. */
	if (unlikely(READ_ONCE(buddy_frames) < READ_ONCE(low_mark)))
		atomic_load (&low_fn)();
}

const char *buddy_check(void)
{
	uint64_t sum = 0;

	require(spin_held(&pmm_lock));
	for (unsigned order = 0; order < PMM_ORDERS; order++) {
		struct page *prev = NULL;

		if (!lists[order] != !(nonempty >> order & 1))
			return "buddy: the map of non-empty lists is wrong";
		for (struct page *p = lists[order]; p; p = p->mapping.next) {
			pfn_t buddy = pfn_of(p) ^ (UINT64_C(1) << order);

			if (!listed(p, order))
				return "buddy: a listed block is not marked so";
			if (p->prev != prev)
				return "buddy: a list's back link is wrong";
			if (order < PMM_ORDERS - 1 && buddy < frames_end &&
			    listed(&frames[buddy], order))
				return "buddy: two free buddies did not unite";
			prev = p;
			sum += UINT64_C(1) << order;
		}
	}
	return sum == buddy_frames ? NULL : "buddy: lists and sum differ";
}
