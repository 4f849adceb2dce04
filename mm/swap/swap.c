/* SPDX-License-Identifier: MIT */
/*
 * swap.c - one word a slot: users, transfers, and the frame in the cache
 *
 * Users are added and dropped without the lock.  All else in a word changes under
 * swap.lock, and only while the slot has users; a slot without users is the
 * property of the thread that dropped the last one, and then of the free list,
 * whose next free slot it holds in the place of the frame.
 */
#include "mm/swap/swap.h"
#include "kernel/err.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/waitq.h"
#include "mm/frame/pmm.h"

#define SLOT_USERS   GENMASK(28, 0)
#define SLOT_STORED  BIT(29) /* the store has the content                   */
#define SLOT_READING BIT(30) /* the frame does not have the content yet     */
#define SLOT_WRITING BIT(31) /* claimed by a swap-out                       */
#define SLOT_FRAME   GENMASK(63, 32)

/* Key: (S) lock  (I) immutable while a slot has users  (A) atomic */
static struct swap {
	struct spinlock lock; /* RANK_SWAP                                  */
	struct waitq wake;    /* a read has ended                           */
	struct swap_store *store; /* (I) NULL: none                         */
	struct page *block;       /* (I) frames of slots[]                  */
	_Atomic uint64_t *slots;  /* (I) pages + 1 of them; 0 is not used   */
	swp_t free;               /* (S) first free slot                    */
	bool closed;              /* (S) no slot is given out               */
	struct swap_stat stat;    /* (S)                                    */
} swap = { .lock = SPINLOCK_INIT(RANK_SWAP, "swap") };

static uint64_t slot_read(swp_t swp)
{
	return atomic_load_explicit(&swap.slots[swp], memory_order_acquire);
}

/* Return the frame that a word names, or NULL. */
static struct page *slot_frame(uint64_t word)
{
	pfn_t pfn = FIELD_GET(SLOT_FRAME, word);

	return pfn ? page_of(pfn) : NULL;
}

/* Set and clear flags of a word.  Users may change at the same time.
 * Context: swap.lock held. */
static void slot_set(swp_t swp, uint64_t bits)
{
	require(spin_held(&swap.lock));
	atomic_fetch_or_explicit(&swap.slots[swp], bits, memory_order_release);
}

static void slot_clear(swp_t swp, uint64_t bits)
{
	require(spin_held(&swap.lock));
	atomic_fetch_and_explicit(&swap.slots[swp], ~bits,
				  memory_order_release);
}

/* ---- the store ------------------------------------------------------------- */

/* Put a slot without users on the free list.  Context: swap.lock held. */
static void slot_free(swp_t swp)
{
	require(spin_held(&swap.lock));
	atomic_store_explicit(&swap.slots[swp],
			      FIELD_PREP(SLOT_FRAME, swap.free),
			      memory_order_relaxed);
	swap.free = swp;
}

/* Take a free slot, with one user; 0: there is none.  Context: swap.lock held. */
static swp_t slot_alloc(void)
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

/* Put page into the cache of a slot, which is then being transferred.
 * Context: swap.lock held. */
static void cache_add(swp_t swp, struct page *page, uint64_t transfer)
{
	require(spin_held(&swap.lock) && !page_swp(page));
	page_get(page); /* the cache's reference */
	page_set(page, (uint32_t)FIELD_PREP(PG_SWAP, swp));
	slot_set(swp, transfer | FIELD_PREP(SLOT_FRAME, pfn_of(page)));
}

/* Take the frame out of the cache.  The caller drops the cache's reference.
 * Context: swap.lock held. */
static void cache_remove(swp_t swp, struct page *page)
{
	require(spin_held(&swap.lock) && page_swp(page) == swp);
	slot_clear(swp, SLOT_FRAME);
	page_clear(page, PG_SWAP);
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
		cache_remove(swp, page);
	slot_free(swp);
	swap.stat.used--;
	spin_unlock(&swap.lock);
	if (page) {
		/* No entry names it: its flush was that of the swap-out. */
		PROBE(swap_uncached, page, swp);
		page_put(page);
	}
}

/* ---- out ------------------------------------------------------------------- */

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
	else if ((*swp = slot_alloc()))
		cache_add(*swp, page, SLOT_WRITING);
	else
		ret = err(ENOSPC);
	spin_unlock(&swap.lock);
	return ret;
}

int swap_out_write(struct page *page, swp_t swp)
{
	uint64_t word = slot_read(swp);
	int ret = 0;

	require(may_sleep() && (word & SLOT_WRITING));
	if (!(word & SLOT_STORED)) {
		PROBE(swap_write, page, swp);
		ret = swap.store->write(swap.store, swp - 1, page);
		PROBE(swap_written, page, swp);
	}
	spin_lock(&swap.lock);
	swap.stat.write_errors += ret != 0;
	swap.stat.clean += (word & SLOT_STORED) != 0;
	/* A fault that took the page may have written it during the transfer. */
	if (!ret && page_swp(page) == swp)
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
	cache_remove(swp, page);
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

struct page *swap_cache_find(swp_t swp)
{
	require(may_sleep());
	for (;;) {
		struct page *page;
		bool reading;

		spin_lock(&swap.lock);
		page = slot_frame(slot_read(swp));
		reading = slot_read(swp) & SLOT_READING;
		if (page && !reading) {
			page_get(page);
			swap.stat.hits++;
		}
		spin_unlock(&swap.lock);
		if (!reading)
			return page;
		/* The wait holds the slot, and no reference on the frame. */
		PROBE(swap_wait, page, swp);
		wait_event(&swap.wake, !(slot_read(swp) & SLOT_READING));
	}
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

int swap_cache_read(swp_t swp, struct page *page)
{
	int ret;

	require(may_sleep());
	if (!read_begin(swp, page))
		return -EAGAIN;
	PROBE(swap_read, page, swp);
	ret = swap.store->read(swap.store, swp - 1, page);
	spin_lock(&swap.lock);
	if (ret)
		cache_remove(swp, page);
	slot_clear(swp, SLOT_READING);
	swap.stat.ins += !ret;
	swap.stat.read_errors += ret != 0;
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
	require(locks_below(RANK_SWAP));
	spin_lock(&swap.lock);
	assert(slot_frame(slot_read(swp)) == page);
	cache_remove(swp, page);
	slot_clear(swp, SLOT_STORED);
	spin_unlock(&swap.lock);
	page_put(page);
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
