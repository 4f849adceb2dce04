/* SPDX-License-Identifier: MIT */
/*
 * swap_priv.h - one word a slot: users, transfers, and the frame in the cache
 *
 * Users are added and dropped without the lock.  All else in a word changes under
 * swap.lock, and only while the slot has users; a slot without users is the
 * property of the thread that dropped the last one, and then of the free list,
 * whose next free slot it holds in the place of the frame.
 */
#pragma once

#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/waitq.h"
#include "mm/swap/swap.h"

#define SLOT_USERS   GENMASK(28, 0)
#define SLOT_STORED  BIT(29) /* the store has the content                   */
#define SLOT_READING BIT(30) /* the frame does not have the content yet     */
#define SLOT_WRITING BIT(31) /* claimed by a swap-out                       */
#define SLOT_FRAME   GENMASK(63, 32)

/* Key: (S) lock  (I) immutable while a slot has users  (A) atomic */
struct swap {
	struct spinlock lock; /* RANK_SWAP                                  */
	struct waitq wake;    /* a read has ended                           */
	struct swap_store *store; /* (I) NULL: none                         */
	struct page *block;       /* (I) frames of slots[]                  */
	_Atomic uint64_t *slots;  /* (I) pages + 1 of them; 0 is not used   */
	swp_t free;               /* (S) first free slot                    */
	bool closed;              /* (S) no slot is given out               */
	struct swap_stat stat;    /* (S)                                    */
};

extern struct swap swap;

static inline uint64_t slot_read(swp_t swp)
{
	return atomic_load_explicit(&swap.slots[swp], memory_order_acquire);
}

/* Return the frame that a word names, or NULL. */
static inline struct page *slot_frame(uint64_t word)
{
	pfn_t pfn = FIELD_GET(SLOT_FRAME, word);

	return pfn ? page_of(pfn) : NULL;
}

/* Set and clear flags of a word.  Users may change at the same time.
 * Context: swap.lock held. */
static inline void slot_set(swp_t swp, uint64_t bits)
{
	require(spin_held(&swap.lock));
	atomic_fetch_or_explicit(&swap.slots[swp], bits, memory_order_release);
}

static inline void slot_clear(swp_t swp, uint64_t bits)
{
	require(spin_held(&swap.lock));
	atomic_fetch_and_explicit(&swap.slots[swp], ~bits,
				  memory_order_release);
}

/* Put a slot without users on the free list.  Context: swap.lock held. */
static inline void slot_free(swp_t swp)
{
	require(spin_held(&swap.lock));
	atomic_store_explicit(&swap.slots[swp],
			      FIELD_PREP(SLOT_FRAME, swap.free),
			      memory_order_relaxed);
	swap.free = swp;
	swap.stat.used--;
}

/* Take a free slot, with one user; 0: there is none.  Context: swap.lock held. */
static inline swp_t slot_alloc(void)
{
	swp_t swp = swap.free;

	require(spin_held(&swap.lock));
	if (!swp)
		return 0;
	swap.free = (swp_t)FIELD_GET(SLOT_FRAME, slot_read(swp));
	swap.stat.used++;
	atomic_store_explicit(&swap.slots[swp], 1, memory_order_relaxed);
	return swp;
}

/* Take the frame out of the cache, and clear the bits `also` of the slot.  The caller
 * drops the cache's reference.  Context: swap.lock held. */
static inline void cache_remove(swp_t swp, struct page *page, uint64_t also)
{
	require(spin_held(&swap.lock) && page_swp(page) == swp);
	slot_clear(swp, SLOT_FRAME | also);
	page_clear(page, PG_SWAP);
}
