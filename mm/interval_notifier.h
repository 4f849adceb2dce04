/* SPDX-License-Identifier: MIT */
/*
 * interval_notifier.h - listen to one range, and look up entries without a lock
 *
 *	again:
 *	seq = mmu_interval_read_begin(&mni);	waits while the range changes
 *	... fault the pages in, look what is mapped ...
 *	lock(client);
 *	if (mmu_interval_read_retry(&mni, seq)) {
 *		unlock(client);			it has changed meanwhile
 *		goto again;
 *	}
 *	... copy the entries to the secondary table ...
 *	unlock(client);
 *
 * and in the callback
 *
 *	lock(client);
 *	mmu_interval_set_seq(mni, seq);
 *	... take the entries of the range out of the secondary table ...
 *	unlock(client);
 *
 * Whoever gets the client's lock second sees the other: either the lookup finds
 * a new sequence and tries again, or the callback finds the entries and removes
 * them.  A flag "valid" in place of the sequence would miss a change that began
 * and ended during the lookup (H13).
 *
 * Names and contracts are Linux's (mm/mmu_notifier.c, since 5.5); how it is done
 * is not, see mm/interval_notifier.c.
 */
#pragma once

#include "mm/mmu_notifier.h"

struct mmu_interval_notifier;

struct mmu_interval_notifier_ops {
	/*
	 * Part of the interval is about to change, as invalidate_range_start()
	 * says; the window lasts until read_begin() returns again.  seq goes to
	 * mmu_interval_set_seq().  May sleep; returns true.  Where
	 * range->blockable is false it may not, and may return false: then the
	 * change is called off.
	 *
	 * Once with MMU_NOTIFY_RELEASE, everything, when the mm goes.
	 */
	bool (*invalidate)(struct mmu_interval_notifier *mni,
			   const struct mmu_notifier_range *range,
			   uint64_t seq);
};

/*
 * Lies in the client's object; all of it is the chain's.
 * Key: (I) immutable  (L) subscriptions' lock; (A) also read without it
 *      (C) the client's lock, to write
 */
struct mmu_interval_notifier {
	const struct mmu_interval_notifier_ops *ops; /* (I)                  */
	struct mm *mm;          /* (I) holds a reference                     */
	struct itree_node node; /* (L) first and last byte                   */
	uint64_t seq;           /* (C) of the last change; always odd        */
	uint64_t since,
		until; /* (L) windows that tell it: since < n <= until */
	unsigned told; /* (L) of those, open ones that meet it      */
	_Atomic unsigned busy; /* (L)(A) all open ones that meet it         */
	_Atomic bool out;      /* (L)(A) removed                            */
};

/*
 * Listen to [start, start + length) of mm, which need not be mapped.  Returns at
 * once; if the range is changing, the first read_begin() waits for that.
 *
 * Context: the caller holds a user of mm; the first subscription of an mm waits
 * as mmu_notifier_register() does, and _locked() has mm->lock to write.
 * Returns -EOVERFLOW for an empty range or one that wraps around, -ENOENT if
 * the mm is going, -ENOMEM.
 */
must_check int
mmu_interval_notifier_insert(struct mmu_interval_notifier *mni, struct mm *mm,
			     va_t start, uint64_t length,
			     const struct mmu_interval_notifier_ops *ops);
must_check int mmu_interval_notifier_insert_locked(
	struct mmu_interval_notifier *mni, struct mm *mm, va_t start,
	uint64_t length, const struct mmu_interval_notifier_ops *ops);

/*
 * Leave: when it returns no callback runs or ever will.  Waits for the windows
 * whose callback it got.  Context: sleeps; inside no callback, and with no lock
 * that one takes or waits for.
 */
void mmu_interval_notifier_remove(struct mmu_interval_notifier *mni);

/* Wait until no window is open over the interval; what to hand to read_retry().
 * Sleeps; without the client's lock. */
uint64_t mmu_interval_read_begin(struct mmu_interval_notifier *mni);

/* In the callback, under the client's lock. */
static inline void mmu_interval_set_seq(struct mmu_interval_notifier *mni,
					uint64_t seq)
{
	WRITE_ONCE(mni->seq, seq);
}

/* Has a change of the interval begun since read_begin()?  Under the client's
 * lock.  check_retry() without it: true is true, false may be too early. */
static inline bool
mmu_interval_read_retry(const struct mmu_interval_notifier *mni, uint64_t seq)
{
	return mni->seq != seq;
}

static inline bool
mmu_interval_check_retry(const struct mmu_interval_notifier *mni, uint64_t seq)
{
	return READ_ONCE(mni->seq) != seq;
}

/* ---- for mm/mmu_notifier.c ---------------------------------------------- */

/* The window opens and closes.  Context: subs->lock held; close() returns
 * whether somebody may wait for it. */
void mmu_interval_open(struct mmu_notifier_subscriptions *subs,
		       struct mmu_notifier_range *range);
bool mmu_interval_close(struct mmu_notifier_subscriptions *subs,
			struct mmu_notifier_range *range);

/* Tell the intervals that it meets.  -EAGAIN if one refuses. */
must_check int mmu_interval_invalidate(struct mmu_notifier_range *range);
