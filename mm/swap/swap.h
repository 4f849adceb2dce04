/* SPDX-License-Identifier: MIT */
/*
 * swap.h - swap slots, and the swap cache
 *
 * A swap slot is a page of the store.  One word describes it:
 *
 *   63              32  31      30      29     28             0
 *  +------------------+-------+-------+------+-----------------+
 *  | frame in cache   |WRITING|READING|STORED|     users       |  0 users: free
 *  +------------------+-------+-------+------+-----------------+
 *
 * Its users are the entries that name it (mm/core/entry.h) and the threads that
 * transfer it.  The frame is the one in memory that holds its content: that frame
 * is in the *swap cache*, which has a reference on it, and PG_SWAP leads back.  So
 * a fault that brings the content back, of a CPU or a device, gets this frame, and no
 * second one is read beside it (docs/invariants.md, C73, H47).
 *
 * While an entry names the slot, the frame in the cache is never written: no entry
 * of it has W (PG_EXCLUSIVE is clear).  Therefore the content that was STORED
 * stays true, and a frame that is evicted again need not be written again.
 * An entry that was exclusive takes the frame out of the cache when it comes back
 * (swap_cache_take()), and the slot becomes free.
 *
 * A slot of an object has one user, its page.  While the page is out the object's slot
 * of it holds the number; the frame that is read then has PG_SWAP as long as the page
 * has the slot, which is true or, with PG_DIRTY, old.  Such a frame is in no cache: all who
 * want the page meet in the object (mm/core/object.h).
 *
 * The states of a page, and every step between them: RECLAIM.md.
 */
#pragma once

#include "arch/bits.h"
#include "mm/frame/page.h"
#include "mm/swap/store.h"

/* The number of a swap slot, from 1; 0: none.  Linux: swp_entry_t. */
typedef uint32_t swp_t;

/* ---- the store ------------------------------------------------------------- */

/*
 * Use the store until swap_off() (mm/space/swap_off.h).
 * Returns 0; -EBUSY if another is in use; -EINVAL if it has no pages or more than
 * SWAP_STORE_MAX; -ENOMEM.  Context: may sleep.
 */
must_check int swap_on(struct swap_store *store);

/* Give out no slot from now on; open: do so again.  Returns false if no store is in
 * use, or one is being closed already.  Context: any that may take RANK_SWAP. */
must_check bool swap_close(void);
void swap_open(void);

/*
 * Remove the closed store if no slot has a user.  Returns 0 or -EBUSY.
 * Context: any that may take RANK_SWAP.
 */
must_check int swap_remove(void);

/* Counted since swap_on(), except for the first two. */
struct swap_stat {
	uint32_t pages, used; /* slots: all, with users                   */
	uint64_t outs, clean; /* pages whose frame was freed; unwritten   */
	uint64_t ins, hits;   /* contents read; found in the cache        */
	uint64_t write_errors, read_errors;
};

/* Return the counters; pages 0: no store is in use.  Context: any that may take
 * RANK_SWAP. */
struct swap_stat swap_stat(void);

/* ---- users of a slot ------------------------------------------------------- */

/* Add a user.  Context: the pt_lock of an entry that names the slot, or the caller is
 * a user. */
void swap_hold(swp_t swp);

/* Drop a user.  The last one frees the slot and takes its frame out of the cache.
 * Context: any that may take RANK_SWAP. */
void swap_drop(swp_t swp);

/* ---- out ------------------------------------------------------------------- */

/*
 * Put page into the cache of a slot, if it is in none, and claim the slot for one
 * swap-out: the caller becomes a user.  *swp receives the slot.
 * Returns 0; -EBUSY if the slot is being transferred; -ENOSPC if no slot is free or
 * no store is in use.
 * Context: any that may take RANK_SWAP.  The caller has a reference on page.
 */
must_check int swap_out_begin(struct page *page, swp_t *swp);

/*
 * Write the page, which no entry maps, to its slot, unless its content is there.
 * Returns 0 or -EIO.  Context: may sleep.
 */
must_check int swap_out_write(struct page *page, swp_t swp);

/*
 * End the swap-out.  If the content is stored and only the cache and the caller have
 * references, take the page out of the cache.  Returns whether that was so: the
 * frame is free when the caller drops its reference.
 * Context: any that may take RANK_SWAP.
 */
bool swap_out_end(struct page *page, swp_t swp);

/*
 * Do page_put() for a thread that has looked at the page, and may have kept another's
 * swap-out from freeing it: then it is freed here.  Context: any that may take RANK_SWAP.
 */
void swap_cache_put(struct page *page);

/*
 * End the swap-out of a page of an object, which the caller has frozen if its content
 * is stored.  A frozen page gives its use of the slot to the object; one whose content is
 * not stored has no slot any more.  Returns whether it was frozen.
 * Context: any that may take RANK_SWAP; the page is on the way (mm/frame/moving.h).
 */
bool swap_object_end(struct page *page, swp_t swp);

/* ---- in -------------------------------------------------------------------- */

/*
 * Return the frame that holds the slot's content, with a reference, after its read
 * has ended; NULL if there is none.  Context: may sleep; the caller is a user.
 */
must_check struct page *swap_cache_find(swp_t swp);

/*
 * Make page, fresh and of kind ANON, the frame of the slot and read its content.
 * Returns 0, with the page in the cache; or with nothing changed -EAGAIN, if the
 * slot has a frame or its entry is gone, or -EIO.
 * Context: may sleep; the caller is a user.
 */
must_check int swap_cache_read(swp_t swp, struct page *page);

/*
 * Take page out of the cache for an exclusive entry, which is about to map it: the
 * content of the slot is no longer needed, and the uses of the entry and of the caller end.
 * Context: the entry's pt_lock; the caller is a user and has a reference on page.
 */
void swap_cache_take(swp_t swp, struct page *page);

/*
 * Read the slot's content into page, fresh and of kind KERNEL, for an object, and give it
 * the object's use of the slot.  Returns 0, or -EIO with nothing changed.
 * Context: may sleep; one thread at a time.
 */
must_check int swap_object_read(swp_t swp, struct page *page);

/* Give up the slot of a page of an object, if it has one.  Context: any that may take
 * RANK_SWAP; the page is on the way, or the object has no user. */
void swap_object_drop(struct page *page);

/* Return the slot of the page: in whose cache it is, or of a page of an object the one
 * that it keeps; 0: none.  Stable while the caller is a user of the slot, the page is
 * on the way, or no other thread runs. */
static inline swp_t page_swp(const struct page *page)
{
	return (swp_t)FIELD_GET(PG_SWAP, page_flags(page));
}

/* Return whether the page is in the cache, which then has a reference on it. */
static inline bool page_cached(const struct page *page)
{
	return page_swp(page) && page_kind(page) != PAGE_OBJECT;
}

/* ---- for checkers: no other thread runs ------------------------------------ */

/* Return the number of users of slot swp <= swap_stat().pages. */
uint32_t swap_users(swp_t swp);

/* Check the words, the free list and the frames.  Returns NULL or an error message. */
const char *swap_check(void);
