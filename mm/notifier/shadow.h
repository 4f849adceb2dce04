/* SPDX-License-Identifier: MIT */
/*
 * shadow.h - a secondary MMU with a table of its own
 *
 *	struct shadow s;
 *
 *	shadow_init(&s, &ops);
 *	mmu_notifier_register(&s.mn, mm);
 *	shadow_fault(&s, va, PROT_R);		the table translates va
 *	... every change of mm empties the table where it has to ...
 *	mmu_notifier_unregister(&s.mn);
 *
 * The table holds copies of the mm's entries: a part of them, with the same
 * frames and no more rights.  A fault copies an entry, an invalidation removes
 * copies.  A client supplies map, unmap and lookup of its table; this module
 * supplies the protocol between the two, so that no copy outlives its original:
 *
 *   the thread that faults                    the thread that changes the mm
 *
 *   begin: wait until none is open over the   start: count++         |lock
 *     page, read the sequence    |lock               unmap the range
 *   mm_fault(): the CPU maps it               ... the entry changes ...
 *   look: read the CPU's entry   |pt_lock     end:   sequence++
 *   retry: one is open, or the   |lock               count--
 *     sequence moved? once more  |
 *   otherwise map                |
 *
 * Linux: KVM (mmu_invalidate_in_progress, mmu_invalidate_seq,
 * mmu_invalidate_retry() in include/linux/kvm_host.h); the form of begin and
 * retry is that of mmu_interval_read_begin() and _retry().  A client of one
 * range that wants no fault path takes mm/notifier/interval_notifier.h instead.
 * mm/notifier/HOWTO.md is a whole client.
 */
#pragma once

#include "kernel/waitq.h"
#include "mm/notifier/mmu_notifier.h"

struct shadow;

/*
 * The client's table.  It has one of two locks:
 *
 *   s->lock, and zap(): the count of an invalidation and the emptying of the table are
 *   one critical section.  For a table that is flushed without sleep (KVM).
 *
 *   the client's own, and unmap().  map() may overlap with unmap() of other pages
 *   and, in aging, of the same page; unmap() with itself.  It ranks after
 *   RANK_SHADOW.
 */
struct shadow_ops {
	/*
	 * Let va translate to pa with the rights prot, whatever was there: nothing,
	 * or pa with other rights.  pa is not held: it stays until unmap().
	 * level is 0; or 1, where the CPU has an entry of 2 MiB, and no part of it is
	 * being invalidated: map() may let all of it translate.  Then an
	 * invalidation of any part removes that part or the whole, from caches
	 * of any size (H21, C47).
	 * Returns 0; an error, which shadow_fault() returns; -EAGAIN, and the
	 * fault begins anew.
	 * Context: s->lock held: no sleep.
	 */
	int (*map)(struct shadow *s, va_t va, pa_t pa, enum prot prot,
		   unsigned level);

	/*
	 * As unmap(), for a table that s->lock protects.  Not called for an
	 * invalidation outside of [s->low, s->high).  Context: s->lock held.
	 */
	void (*zap)(struct shadow *s, va_t start, va_t end);

	/*
	 * NULL if there is zap().  Remove what translates [start, end), which may be nothing.  When it
	 * returns 0 no access that begins later reaches these pages.  Where
	 * may_sleep is false it may return -EAGAIN instead, and has removed
	 * nothing: the change is called off, or the page stays young.
	 * Context: s->lock not held; in aging pt_lock, and may_sleep is false.
	 */
	int (*unmap)(struct shadow *s, va_t start, va_t end, bool may_sleep);

	/* Does the table translate va?  NULL if there is young().
	 * Context: pt_lock held: no sleep. */
	bool (*lookup)(struct shadow *s, va_t va);

	/*
	 * Was [start, end) used since the last call with clear?  NULL: the table
	 * has no accessed bits.  Then what it translates counts as used, and to
	 * see the next use aging unmaps it.  Context: pt_lock held: no sleep.
	 */
	bool (*young)(struct shadow *s, va_t start, va_t end, bool clear);

	/*
	 * The mm goes, or the client unregisters: from the return on nothing
	 * is reached through the table.  No map() comes after it.  NULL:
	 * zap() or unmap() everything.  Once; may sleep.
	 */
	void (*release)(struct shadow *s);
};

/*
 * Lies in the client's object.  faults and retries may be read at any time.
 * Key: (I) immutable while registered  (L) lock
 *      (A) atomic, rises under the lock
 */
struct shadow {
	struct mmu_notifier mn;       /* the client's to register            */
	const struct shadow_ops *ops; /* (I)                                 */
	struct spinlock lock;         /* RANK_SHADOW                         */
	_Atomic unsigned active;      /* (A) invalidations open now          */
	_Atomic uint64_t seq;         /* invalidations that have ended       */
	va_t from, to;                /* (L) span of the open; to: exclusive */
	va_t low, high;               /* (L) zap() may find entries of these */
	bool dead;                    /* (L) released                        */
	struct waitq idle;            /* active has become 0                 */
	_Atomic unsigned waiting;     /* (A) threads that may wait in it     */
	uint64_t faults, retries;     /* (L) attempts; those that were late  */
};

/*
 * Begin with an empty table.  The client then registers s->mn.  [low, high) is all
 * of the user half; a client whose table has entries of a part only may narrow it,
 * under the lock (without zap() it is empty and stays so).
 */
void shadow_init(struct shadow *s, const struct shadow_ops *ops);

/*
 * Make an access possible: fault the page in as a CPU's access would, and map
 * it with the rights that the CPU's entry has; the table may get W for a read.
 * access is PROT_R, PROT_W or PROT_X.  When it returns 0 the table translated
 * va with that right; an invalidation or aging may have taken it since.
 * Returns 0, -EFAULT if no region allows the access or the mm is gone, -ENOMEM,
 * or what map() returned.
 * Context: registered; may sleep: also while an invalidation of va is open.
 */
must_check int shadow_fault(struct shadow *s, va_t va, enum prot access);

/*
 * The parts of shadow_fault(), for a client that copies many entries at once:
 *
 *	do {
 *		seq = shadow_begin(s, start, end);
 *		... fault the pages in, read their entries under pt_lock ...
 *		spin_lock(&s->lock);
 *		retry = shadow_retry(s, start, end, seq);
 *		if (!retry)
 *			... map ...
 *		spin_unlock(&s->lock);
 *	} while (retry);
 *
 * begin() waits until no invalidation of the range is open; may sleep.
 * retry(): has one begun since?  Context: s->lock held from retry() until the
 * entries are made; or a lock of the client's that unmap() takes too, also a
 * sleeping one, with s->lock for the call alone.  The caller holds a user of
 * the mm from before begin() to after the map.
 */
must_check uint64_t shadow_begin(struct shadow *s, va_t start, va_t end);
must_check bool shadow_retry(struct shadow *s, va_t start, va_t end,
			     uint64_t seq);
