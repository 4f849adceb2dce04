/* SPDX-License-Identifier: MIT */
/*
 * notifier_priv.h - who listens to an mm, and what is open
 *
 * Made with the first subscription and kept until the mm's memory goes, so that
 * "does anybody listen?" is one bit for ever and a window that was announced
 * can always be closed.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "mm/mmu_notifier.h"

/* Key: (L) lock */
struct mmu_notifier_subscriptions {
	struct spinlock lock;              /* RANK_NOTIFIER                  */
	struct mmu_notifier *_Atomic list; /* (L) newest first; SRCU to read */
	uint64_t joined;                   /* (L) how many ever did          */

	/* mm/interval_notifier.c */
	LIST_HEAD(, mmu_notifier_range) windows; /* (L) open                 */
	uint64_t opened;        /* (L) how many ever were                    */
	_Atomic bool complete;  /* every open window is in `windows`         */
	struct itree intervals; /* (L) every mmu_interval_notifier           */
	uint64_t seq;           /* (L) odd: a window meets an interval       */
	uint64_t meeting;       /* (L) how many do                           */
	struct waitq changed;   /* who waits for a window to close           */
};

/* Every walk of a chain, of every mm, is a reader. */
extern struct srcu notifier_srcu;

/* Context: a reader, or subs->lock held. */
#define for_each_listener(mn, subs)                                            \
	for ((mn) = atomic_load_explicit(&(subs)->list, memory_order_acquire); \
	     (mn);                                                             \
	     (mn) = atomic_load_explicit(&(mn)->next, memory_order_acquire))

/*
 * Make mm->subscriptions, if there are none: from its return every window is
 * known to the chain.  Context: mm->lock held to write.  Returns -ENOMEM.
 */
must_check int mmu_notifier_subscriptions_get(struct mm *mm);

/* A window that only intervals are told of. */
void mmu_notifier_release_intervals(struct mmu_notifier_range *range);
