/* SPDX-License-Identifier: MIT */
/*
 * interval_notifier.h - notify a client of one range; look entries up without a lock
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
 * The lock decides: if the callback gets it first, the lookup finds a new sequence
 * and retries; if the lookup does, the callback finds the entries and removes them.  A flag "valid" in place of the sequence would miss a change that began
 * and ended during the lookup (H13).
 *
 * Names and contracts are Linux's (mm/mmu_notifier.c, since 5.5); the implementation is
 * not, see interval_notifier.c.
 */
#pragma once

#include "mm/notifier/mmu_notifier.h"

struct mmu_interval_notifier;

struct mmu_interval_notifier_ops {
	/*
	 * Part of the interval is about to change, as for
	 * invalidate_range_start().  The client passes seq to
	 * mmu_interval_set_seq().  read_begin() returns again after the
	 * invalidation has ended.  May sleep and returns true; if
	 * range->blockable is false it must not sleep and may return false:
	 * then the change does not happen.
	 *
	 * At exit called once with MMU_NOTIFY_RELEASE for the whole interval.
	 */
	bool (*invalidate)(struct mmu_interval_notifier *mni,
			   const struct mmu_notifier_range *range,
			   uint64_t seq);
};

/*
 * Embedded in the client's object; all fields are private to the chain.
 * Key: (I) immutable  (L) subscriptions' lock; (A) also read without it
 *      (C) the client's lock, to write
 */
struct mmu_interval_notifier {
	const struct mmu_interval_notifier_ops *ops; /* (I)                  */
	struct mm *mm;          /* (I) holds a reference                     */
	struct itree_node node; /* (L) first and last byte                   */
	uint64_t seq;           /* (C) of the last change; always odd        */
	uint64_t since,
		until; /* (L) notified of invalidations since < n <= until */
	unsigned n_called;     /* (L) of those, open ones that overlap it */
	_Atomic unsigned busy; /* (L)(A) all open ones that overlap it      */
	_Atomic bool out;      /* (L)(A) removed                            */
};

/*
 * Subscribe to [start, start + length) of mm, in bytes, which need not be mapped.
 * Does not wait for a change of the range that is under way: the first
 * read_begin() does.  Only the first subscription of an mm waits, as
 * mmu_notifier_register() does.
 *
 * The caller holds a user of mm.
 * Context: may sleep.  insert() takes mm->lock to write; insert_locked() is called
 * with it held to write.
 * Returns 0; -EOVERFLOW for an empty range or one that wraps around, -ENOENT if
 * the mm has no user any more, -ENOMEM: then mni is not subscribed.
 */
must_check int
mmu_interval_notifier_insert(struct mmu_interval_notifier *mni, struct mm *mm,
			     va_t start, uint64_t length,
			     const struct mmu_interval_notifier_ops *ops);
must_check int mmu_interval_notifier_insert_locked(
	struct mmu_interval_notifier *mni, struct mm *mm, va_t start,
	uint64_t length, const struct mmu_interval_notifier_ops *ops);

/*
 * Unsubscribe: when it returns no callback runs or will run.  Waits for the end of
 * the invalidations for which its callback was called.
 * Context: may sleep; not inside a callback; with no lock that a callback takes or
 * waits for.
 */
void mmu_interval_notifier_remove(struct mmu_interval_notifier *mni);

/* Waits until no invalidation of the interval is open, and returns the sequence for
 * read_retry().  Context: may sleep; the client's lock not held. */
uint64_t mmu_interval_read_begin(struct mmu_interval_notifier *mni);

/* Records the sequence.  Context: in the callback, the client's lock held. */
static inline void mmu_interval_set_seq(struct mmu_interval_notifier *mni,
					uint64_t seq)
{
	WRITE_ONCE(mni->seq, seq);
}

/* Returns whether a change of the interval has begun since read_begin().  Context:
 * the client's lock held.  check_retry() needs no lock, but if it returns false the
 * change may begin at any moment. */
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

/* ---- for mm/notifier/mmu_notifier.c ---------------------------------------------- */

/* Open and close an invalidation.  close() returns whether a thread may be waiting
 * for it.  Context: subs->lock held. */
void mmu_interval_open(struct mmu_notifier_subscriptions *subs,
		       struct mmu_notifier_range *range);
bool mmu_interval_close(struct mmu_notifier_subscriptions *subs,
			struct mmu_notifier_range *range);

/* Calls the intervals that the invalidation overlaps.  Returns 0, or -EAGAIN if one
 * refuses.  Context: an SRCU reader. */
must_check int mmu_interval_invalidate(struct mmu_notifier_range *range);
