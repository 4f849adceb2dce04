/* SPDX-License-Identifier: MIT */
/*
 * notifier_priv.h - the notifiers of an mm, and its open invalidations
 *
 * struct mmu_notifier_subscriptions is made with the first subscription and kept
 * until the mm's memory is freed: so one bit says whether an mm has notifiers, and an
 * invalidation that was started can always be ended.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "mm/notifier/mmu_notifier.h"

/* Key: (L) lock */
struct mmu_notifier_subscriptions {
	struct spinlock lock;              /* RANK_NOTIFIER                  */
	struct mmu_notifier *_Atomic list; /* (L) newest first; SRCU to read */
	_Atomic uint64_t joined;           /* (L) number of the newest; read
					    * without it by a start          */
	_Atomic unsigned open; /* invalidations, in the checking build only  */

	/* mm/notifier/interval_notifier.c, with MM_INTERVALS */
	LIST_HEAD(, mmu_notifier_range) invalidations; /* (L) open ones */
	uint64_t opened;        /* (L) invalidations since the first         */
	_Atomic bool complete;  /* every open invalidation is in the list   */
	struct itree intervals; /* (L) every mmu_interval_notifier           */
	uint64_t seq;           /* (L) odd: one overlaps an interval         */
	uint64_t meeting;       /* (L) invalidations that overlap one        */
	struct waitq changed;   /* waiters for the end of one                */
};

/* All walks of all chains are its readers. */
extern struct srcu notifier_srcu;

/* Iterates over the chain.  Context: an SRCU reader, or subs->lock held. */
#define for_each_notifier(mn, subs)                                            \
	for ((mn) = atomic_load_explicit(&(subs)->list, memory_order_acquire); \
	     (mn);                                                             \
	     (mn) = atomic_load_explicit(&(mn)->next, memory_order_acquire))

/*
 * Make mm->subscriptions, if there are none.  Context: mm->lock held to write; may
 * sleep.  Returns 0 or -ENOMEM.
 */
must_check int mmu_notifier_subscriptions_get(struct mm *mm);

/*
 * Number and list the invalidations of mm from now on, for interval notifiers.  On
 * return every open invalidation is in the list.  Context and result as above.
 */
must_check int mmu_notifier_count_invalidations(struct mm *mm);

/* Does an invalidation that only interval notifiers get, at exit. */
void mmu_notifier_release_intervals(struct mmu_notifier_range *range);

/*
 * Every invalidation of mm that was open has ended when this returns: those of a
 * walk of the reverse map, since all others hold mm->lock.  Defined in
 * mm/rmap/rmap.c, which knows the locks of a walk.
 * Context: mm->lock held to write; may sleep.
 */
void rmap_drain(struct mm *mm);
