/* SPDX-License-Identifier: MIT */
/*
 * swap.c - the store, its free slots, and the users of the others
 */
#include "mm/swap/swap.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"
#include "mm/swap/swap_priv.h"

struct swap swap = { .lock = SPINLOCK_INIT(RANK_SWAP, "swap") };

/* ---- the store ------------------------------------------------------------- */

int swap_on(struct swap_store *store)
{
	struct page *block;

	require(may_sleep());
	if (!store->pages || store->pages > SWAP_STORE_MAX)
		return err(EINVAL);
	block = pages_alloc(order_of((store->pages + 1) * sizeof(*swap.slots)));
	if (!block)
		return err(ENOMEM);
	spin_lock(&swap.lock);
	if (swap.store) {
		spin_unlock(&swap.lock);
		page_put(block);
		return err(EBUSY);
	}
	waitq_init(&swap.wake);
	swap.store = store;
	swap.block = block;
	swap.slots = page_va(block);
	swap.free = 0;
	swap.closed = false;
	swap.stat = (struct swap_stat){ .pages = store->pages };
	swap.stat.used = store->pages;
	for (swp_t swp = store->pages; swp; swp--)
		slot_free(swp);
	spin_unlock(&swap.lock);
	return 0;
}

bool swap_close(void)
{
	bool closed;

	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	closed = swap.store && !swap.closed;
	swap.closed |= closed;
	spin_unlock(&swap.lock);
	return closed;
}

void swap_open(void)
{
	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	swap.closed = false;
	spin_unlock(&swap.lock);
}

int swap_remove(void)
{
	struct page *block = NULL;

	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	assert(swap.closed);
	if (!swap.stat.used) {
		block = swap.block;
		swap.store = NULL;
		swap.free = 0;
		swap.stat = (struct swap_stat){ 0 };
	}
	spin_unlock(&swap.lock);
	if (!block)
		return err(EBUSY);
	page_put(block);
	return 0;
}

struct swap_stat swap_stat(void)
{
	struct swap_stat stat;

	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	stat = swap.stat;
	spin_unlock(&swap.lock);
	return stat;
}

/* ---- users ----------------------------------------------------------------- */

void swap_hold(swp_t swp)
{
	uint64_t old = atomic_fetch_add_explicit(&swap.slots[swp], 1,
						 memory_order_relaxed);

	require((old & SLOT_USERS) && (old & SLOT_USERS) < SLOT_USERS);
}

void swap_drop(swp_t swp)
{
	struct page *page;
	uint64_t old;

	require(locks_below(RANK_SWAP));
	old = atomic_fetch_sub_explicit(&swap.slots[swp], 1,
					memory_order_acq_rel);
	require(old & SLOT_USERS);
	if ((old & SLOT_USERS) > 1)
		return;
	/* No thread can become a user of this slot now. */
	spin_lock(&swap.lock);
	page = slot_frame(slot_read(swp));
	if (page)
		cache_remove(swp, page, 0);
	slot_free(swp);
	spin_unlock(&swap.lock);
	if (page) {
		/* No entry names it: its flush was that of the swap-out. */
		PROBE(swap_uncached, page, swp);
		page_put(page);
	}
}

/* ---- checks ---------------------------------------------------------------- */

uint32_t swap_users(swp_t swp)
{
	return (uint32_t)(slot_read(swp) & SLOT_USERS);
}

/* Check one slot's word. */
static const char *slot_check(swp_t swp)
{
	uint64_t word = slot_read(swp);
	struct page *page = word & SLOT_USERS ? slot_frame(word) : NULL;

	if (word & (SLOT_READING | SLOT_WRITING))
		return "swap: a slot is still being transferred";
	if ((word & SLOT_USERS) && !page && !(word & SLOT_STORED))
		return "swap: the content of a slot is nowhere";
	if (page && page_swp(page) != swp)
		return "swap: the frame of a slot names another";
	if (page && page_exclusive(page))
		return "swap: a frame in the cache may be written";
	return NULL;
}

const char *swap_check(void)
{
	uint32_t used = 0, free = 0;
	const char *why = NULL;

	if (!swap.store)
		return NULL;
	for (swp_t swp = 1; swp <= swap.stat.pages && !why; swp++) {
		used += swap_users(swp) > 0;
		why = slot_check(swp);
	}
	for (swp_t swp = swap.free; swp && free <= swap.stat.pages; free++)
		swp = (swp_t)FIELD_GET(SLOT_FRAME, slot_read(swp));
	if (!why && (used != swap.stat.used || used + free != swap.stat.pages))
		why = "swap: used and free slots are not all";
	return why;
}
