/* SPDX-License-Identifier: MIT */
/*
 * transfer.c - out to a slot and in again: through the swap cache, and of objects
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/swap/swap_priv.h"

/* ---- out ------------------------------------------------------------------- */

/* Put page into the cache of a slot, which is then being transferred.
 * Context: swap.lock held. */
static void cache_add(swp_t swp, struct page *page, uint64_t transfer)
{
	require(spin_held(&swap.lock) && !page_swp(page));
	page_get(page); /* the cache's reference */
	page_set(page, (uint32_t)FIELD_PREP(PG_SWAP, swp));
	slot_set(swp, transfer | FIELD_PREP(SLOT_FRAME, pfn_of(page)));
}

/* Claim the slot for a swap-out, as a new user.  Returns 0, or -EBUSY if it is being
 * transferred or has lost its last user.  Context: swap.lock held. */
static int slot_claim(swp_t swp)
{
	uint64_t word = slot_read(swp);

	require(spin_held(&swap.lock));
	do {
		if (!(word & SLOT_USERS) ||
		    (word & (SLOT_READING | SLOT_WRITING)))
			return err(EBUSY);
	} while (!atomic_compare_exchange_weak_explicit(
		&swap.slots[swp], &word, (word + 1) | SLOT_WRITING,
		memory_order_acquire, memory_order_relaxed));
	return 0;
}

/* Make the page of an object another user of the slot, which is then being written.
 * Context: swap.lock held. */
static void object_add(swp_t swp, struct page *page)
{
	require(spin_held(&swap.lock) && !page_swp(page));
	swap_hold(swp);
	page_set(page, (uint32_t)FIELD_PREP(PG_SWAP, swp));
	slot_set(swp, SLOT_WRITING);
}

int swap_out_begin(struct page *page, swp_t *swp)
{
	int ret = 0;

	require(locks_below(RANK_SWAP) && page_refs(page));
	spin_lock(&swap.lock);
	*swp = page_swp(page);
	if (swap.closed)
		ret = err(ENOSPC);
	else if (*swp)
		ret = slot_claim(*swp);
	else if (!(*swp = slot_alloc()))
		ret = err(ENOSPC);
	else if (page_kind(page) == PAGE_OBJECT)
		object_add(*swp, page);
	else
		cache_add(*swp, page, SLOT_WRITING);
	spin_unlock(&swap.lock);
	return ret;
}

int swap_out_write(struct page *page, swp_t swp)
{
	uint64_t word = slot_read(swp);
	/* A page in the cache is never written, one of an object says whether it was. */
	bool clean = (word & SLOT_STORED) && !(page_kind(page) == PAGE_OBJECT &&
					       page_test(page, PG_DIRTY));
	int ret = 0;

	require(may_sleep() && (word & SLOT_WRITING));
	if (!clean) {
		PROBE(swap_write, page, swp);
		ret = swap.store->write(swap.store, swp - 1, page);
		PROBE(swap_written, page, swp);
	}
	spin_lock(&swap.lock);
	swap.stat.write_errors += ret != 0;
	swap.stat.clean += clean;
	if (ret)
		slot_clear(swp, SLOT_STORED);
	/* A fault that took the page may have written it during the transfer. */
	else if (page_swp(page) == swp)
		slot_set(swp, SLOT_STORED);
	spin_unlock(&swap.lock);
	return ret ? err(EIO) : 0;
}

/* Take the frame out of the cache if its content is stored, and only the cache and
 * the caller have references.  Returns whether that was so.
 * Context: swap.lock held. */
static always_inline bool cache_leave(swp_t swp, struct page *page)
{
	uint64_t word = slot_read(swp);

	require(spin_held(&swap.lock));
	/* A user of the page has taken its reference under swap.lock. */
	if (slot_frame(word) != page || !(word & SLOT_STORED) ||
	    page_count(page) != 2 * PAGE_REF)
		return false;
	cache_remove(swp, page, 0);
	swap.stat.outs++;
	return true;
}

bool swap_out_end(struct page *page, swp_t swp)
{
	bool out;

	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	assert(slot_read(swp) & SLOT_WRITING);
	out = cache_leave(swp, page);
	slot_clear(swp, SLOT_WRITING);
	spin_unlock(&swap.lock);
	if (out)
		page_put(page);
	swap_drop(swp);
	return out;
}

bool swap_object_end(struct page *page, swp_t swp)
{
	bool out = !page_refs(page), kept;

	require(locks_below(RANK_SWAP) && page_swp(page) == swp);
	spin_lock(&swap.lock);
	assert(slot_read(swp) & SLOT_WRITING);
	slot_clear(swp, SLOT_WRITING);
	kept = slot_read(swp) & SLOT_STORED;
	swap.stat.outs += out;
	spin_unlock(&swap.lock);
	if (out || !kept)
		page_clear(page, PG_SWAP);
	if (!kept)
		swap_drop(swp); /* the page's use */
	swap_drop(swp);
	return out;
}

void swap_object_drop(struct page *page)
{
	swp_t swp = page_swp(page);

	require(locks_below(RANK_SWAP));
	if (!swp)
		return;
	page_clear(page, PG_SWAP);
	swap_drop(swp);
}

void swap_cache_put(struct page *page)
{
	bool out = false;
	swp_t swp;

	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	swp = page_swp(page);
	if (swp && !(slot_read(swp) & (SLOT_READING | SLOT_WRITING)))
		out = cache_leave(swp, page);
	page_put(page); /* under the lock: swap_out_end() counts, too */
	spin_unlock(&swap.lock);
	if (out)
		page_put(page);
}

/* ---- in -------------------------------------------------------------------- */

/* Wait until the slot's frame has the content.  The wait holds the slot, and no
 * reference on the frame.  Not inline: most finds need none of its registers. */
static noinline void read_wait(swp_t swp)
{
	PROBE(swap_wait, slot_frame(slot_read(swp)), swp);
	wait_event(&swap.wake, !(slot_read(swp) & SLOT_READING));
}

struct page *swap_cache_find(swp_t swp)
{
	struct page *page;
	uint64_t word;

	require(may_sleep());
	for (;;) {
		spin_lock(&swap.lock);
		word = slot_read(swp);
		if (!(word & SLOT_READING))
			break;
		spin_unlock(&swap.lock);
		read_wait(swp);
	}
	page = slot_frame(word);
	if (page) {
		page_get(page);
		swap.stat.hits++;
	}
	spin_unlock(&swap.lock);
	return page;
}

/* Make page the frame of the slot, to be read.  Returns false if the slot has one,
 * or no content, or if a swap-out that found page by its number has given it another
 * slot. */
static bool read_begin(swp_t swp, struct page *page)
{
	bool begun;

	spin_lock(&swap.lock);
	begun = !page_swp(page) &&
		(slot_read(swp) & (SLOT_STORED | SLOT_FRAME)) == SLOT_STORED;
	if (begun)
		cache_add(swp, page, SLOT_READING);
	spin_unlock(&swap.lock);
	return begun;
}

/* Read the slot's content into the page.  Returns 0 or an error of the store, with
 * swap.lock held. */
static int read_locked(swp_t swp, struct page *page)
{
	int ret;

	PROBE(swap_read, page, swp);
	ret = swap.store->read(swap.store, swp - 1, page);
	spin_lock(&swap.lock);
	swap.stat.ins += !ret;
	swap.stat.read_errors += ret != 0;
	return ret;
}

int swap_object_read(swp_t swp, struct page *page)
{
	int ret;

	require(may_sleep() && (slot_read(swp) & SLOT_STORED));
	ret = read_locked(swp, page);
	spin_unlock(&swap.lock);
	if (ret)
		return err(EIO);
	page_set(page, (uint32_t)FIELD_PREP(PG_SWAP, swp));
	return 0;
}

int swap_cache_read(swp_t swp, struct page *page)
{
	int ret;

	require(may_sleep());
	if (!read_begin(swp, page))
		return -EAGAIN;
	ret = read_locked(swp, page);
	if (ret)
		cache_remove(swp, page, 0);
	slot_clear(swp, SLOT_READING);
	spin_unlock(&swap.lock);
	PROBE(swap_read_done, page, swp);
	wake_all(&swap.wake);
	if (!ret)
		return 0;
	page_put(page);
	return err(EIO);
}

void swap_cache_take(swp_t swp, struct page *page)
{
	uint64_t users;

	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	assert(FIELD_GET(SLOT_FRAME, slot_read(swp)) == pfn_of(page));
	cache_remove(swp, page, SLOT_STORED);
	users = atomic_fetch_sub_explicit(&swap.slots[swp], 2,
					  memory_order_acq_rel) &
		SLOT_USERS;
	if (users == 2)
		slot_free(swp);
	else
		assert(users > 2);
	spin_unlock(&swap.lock);
	page_put(page);
}
