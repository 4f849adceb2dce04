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

struct mmu_interval_notifier;

/* Key: (L) lock  (W) lock, and only while no window is open; to read: lock, or
 *          a window of one's own */
struct mmu_notifier_subscriptions {
	struct spinlock lock;              /* RANK_NOTIFIER                  */
	struct mmu_notifier *_Atomic list; /* (L) newest first; SRCU to read */
	uint64_t joined;                   /* (L) how many ever did          */
	uint64_t active;                   /* (L) open windows               */

	/* mm/interval_notifier.c */
	struct itree intervals; /* (W)                                       */
	uint64_t seq;           /* (L) odd: a window meets an interval       */
	LIST_HEAD(, mmu_interval_notifier) deferred; /* (L) to go in or out  */
	struct waitq changed; /* a window closed, an interval went in or out */
};

/* Every walk of a chain, of every mm, is a reader. */
extern struct srcu notifier_srcu;

/* Context: a reader, or subs->lock held. */
#define for_each_listener(mn, subs)                                            \
	for ((mn) = atomic_load_explicit(&(subs)->list, memory_order_acquire); \
	     (mn);                                                             \
	     (mn) = atomic_load_explicit(&(mn)->next, memory_order_acquire))

/* Context: mm->lock held to write.  NULL without memory. */
struct mmu_notifier_subscriptions *
mmu_notifier_subscriptions_get(struct mm *mm);
