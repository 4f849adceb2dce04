/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.h - how secondary MMUs are notified that an mm's page table changes
 *
 *      start        clear PTE    flush CPUs   range    set PTE      end
 *   -----+-------------+------------+-----------+---------+----------+---> time
 *        | no new secondary entry   |           | no secondary TLB   |
 *        | of [start, end)          |           | has the old page   |
 *
 * A secondary MMU either keeps a table of its own, filled by its faults, or
 * walks the mm's table and only caches.  The first kind uses start and end: between
 * them it has no entry of the range and makes none.  The second kind uses
 * invalidate_range, which the only flush function of mm calls (mm/notifier/flush.h):
 * before the call the entry has changed, after it the frame may be freed or the new
 * entry set.  MMU_NOTIFIER.md has the table of transitions, with reasons.
 *
 * From start to end an invalidation is open.  Ranges are half-open, [start, end).
 *
 * Names and contracts are Linux's (include/linux/mmu_notifier.h), as of 6.6
 * where invalidate_range is called arch_invalidate_secondary_tlbs.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/srcu.h"
#include "mm/core/mm.h"

struct mmu_notifier;
struct mmu_notifier_subscriptions;

/* Why entries change.  A notifier may skip events that do not concern it. */
enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP,           /* the mapping is removed: unmap, remap */
	MMU_NOTIFY_CLEAR,           /* the page is replaced or removed      */
	MMU_NOTIFY_PROTECTION_VMA,  /* rights of the region                 */
	MMU_NOTIFY_PROTECTION_PAGE, /* rights of pages: fork                */
	MMU_NOTIFY_SOFT_DIRTY,      /* W goes: the next write is noted      */
	MMU_NOTIFY_RELEASE,         /* exit; only for interval notifiers    */
	MMU_NOTIFY_MIGRATE,         /* the owner itself migrates the page   */
	MMU_NOTIFY_EXCLUSIVE,       /* a device's entries replace the CPU's:
				     * the owner's; no owner: no more       */
};

/* One invalidation, from start to end.  Lives on the stack of the thread that changes
 * the page table. */
struct mmu_notifier_range {
	struct mm *mm; /* NULL: no notifier; the rest is not filled in       */
	va_t start, end;
	enum mmu_notifier_event event;
	bool blockable; /* false: callbacks may not sleep, and may refuse   */
	void *owner;    /* of the last two: a client that ignores its own   */

	/* Private to the chain.  subscriptions: NULL if no notifier was called. */
	struct mmu_notifier_subscriptions *subscriptions;
	uint64_t last;   /* notifiers with a later number were not called   */
	uint64_t number; /* of this invalidation; 0: the mm has no interval */
	uint64_t seq;    /* for interval notifiers; 0: it overlaps none     */
	LIST_ENTRY(mmu_notifier_range) link; /* open invalidations          */
};

/*
 * Callbacks of a client.  Each may be NULL; all run inside an SRCU reader.  A
 * callback must not take mm->lock or an rmap lock (of an anon_vma or object), must not
 * drop the last user of an mm, and must not wait for a thread that does.
 */
struct mmu_notifier_ops {
	/*
	 * Drop all entries and make none any more: the mm exits, or
	 * unregister() was called.  Called once for each subscription, before
	 * the first page of the mm is freed.  May sleep; may run at the same
	 * time as any other callback.
	 */
	void (*release)(struct mmu_notifier *mn, struct mm *mm);

	/*
	 * Return whether the secondary MMU has used the range since the last
	 * call, and clear its accessed bits.  clear_flush_young() also makes
	 * sure that the next use sets them again, clear_young() need not,
	 * test_young() changes nothing.  An MMU without accessed bits drops the
	 * entries and returns whether there were any.
	 * Context: pt_lock held: no sleep, no allocation.
	 */
	bool (*clear_flush_young)(struct mmu_notifier *mn, struct mm *mm,
				  va_t start, va_t end);
	bool (*clear_young)(struct mmu_notifier *mn, struct mm *mm, va_t start,
			    va_t end);
	bool (*test_young)(struct mmu_notifier *mn, struct mm *mm, va_t va);

	/*
	 * entry, in the CPU's format, is about to be set at va, where nothing
	 * translates now.  Between start and end, under pt_lock: no sleep.
	 * Linux dropped it in 6.10: start has emptied the range.
	 */
	void (*change_pte)(struct mmu_notifier *mn, struct mm *mm, va_t va,
			   uint64_t entry);

	/*
	 * [start, end) is about to change; its pages are still mapped and
	 * referenced.  On return no secondary entry of it exists, and none is
	 * made before invalidate_range_end().  Invalidations nest and overlap,
	 * so the client counts them.
	 *
	 * Returns 0.  If range->blockable is false the callback must not sleep
	 * and may return -EAGAIN: then it has done nothing, the change does not
	 * happen, and invalidate_range_end() is not called for it.
	 */
	int (*invalidate_range_start)(struct mmu_notifier *mn,
				      const struct mmu_notifier_range *range);

	/*
	 * The change is complete.  Pages of the range may have been freed and
	 * used again: too late for any flush.  Called once for every start that
	 * returned 0.
	 */
	void (*invalidate_range_end)(struct mmu_notifier *mn,
				     const struct mmu_notifier_range *range);

	/*
	 * Entries of [start, end) have changed: when this returns, no access
	 * that begins later may use a translation, or a table on the way to it,
	 * that was read before the call.  Also called outside start and end.
	 * Context: pt_lock held: no sleep, no allocation, no lock that is held
	 * around a fault.
	 */
	void (*invalidate_range)(struct mmu_notifier *mn, struct mm *mm,
				 va_t start, va_t end);

	/* Makes a notifier for mmu_notifier_get(); NULL without memory.  May
	 * sleep. */
	struct mmu_notifier *(*alloc_notifier)(struct mm *mm);
	/* Frees it after the last put, when no callback runs.  May sleep. */
	void (*free_notifier)(struct mmu_notifier *mn);
};

/*
 * One notifier of one mm; lies in the client's own object.  The client sets ops
 * before it registers, and zeroes the rest.
 * Key: (I) immutable while subscribed  (L) subscriptions' lock  (A) atomic
 */
struct mmu_notifier {
	const struct mmu_notifier_ops *ops; /* (I)                           */
	struct mm *mm;                      /* (I) holds a reference         */
	struct mmu_notifier *_Atomic next;  /* (L) to write, SRCU to read    */
	uint64_t since;                     /* (I) its number in the chain   */
	uint32_t users;                     /* (L) of get and put            */
	bool listed;                        /* (L)                           */
	_Atomic bool released;              /* (A) release has been called   */
	struct srcu_head later;
};

/* ---- register and unregister --------------------------------------------- */

/*
 * For an observer that follows changes by the probes of the calls: true makes the chain
 * make all calls for each mm that gets a notifier or an interval from now on, whatever
 * callbacks those have.  Tests set it.
 */
extern bool mmu_notifier_all_calls;

/* Sets the chain up.  Must run once before the first mm_create(). */
void mmu_notifier_init(void);

/*
 * Subscribe mn to mm.  From the return on its callbacks run for every change of the
 * page table; no change that is under way is missed, and no end is called without
 * its start.
 *
 * Waits for every operation on mm, and every reverse-map walk of its pages, that is
 * under way.  The caller holds a user of mm.
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0 or -ENOMEM.
 */
must_check int mmu_notifier_register(struct mmu_notifier *mn, struct mm *mm);

/* The same.  Context: may sleep; mm->lock held to write. */
must_check int mmu_notifier_register_locked(struct mmu_notifier *mn,
					    struct mm *mm);

/*
 * Unsubscribe.  When it returns release() has been called once, here or by the mm's
 * exit, and no callback runs or will run: mn may be freed.
 *
 * Context: called once for each registration, also after the mm's exit.  May sleep;
 * not inside a callback.
 */
void mmu_notifier_unregister(struct mmu_notifier *mn);

/*
 * Unsubscribe without release() and without waiting.  Callbacks may still be
 * running: call mmu_notifier_call_srcu(), which calls fn when none runs any more,
 * to free mn.  Context: any, also inside callbacks.
 */
void mmu_notifier_unregister_no_release(struct mmu_notifier *mn);
void mmu_notifier_call_srcu(struct mmu_notifier *mn, srcu_fn *fn);

/*
 * Set *out to the notifier of (ops, mm): the existing one, with one more user, or a
 * new one from ops->alloc_notifier().  Context: as mmu_notifier_register().
 * Returns 0; -ENOMEM, or -EOVERFLOW with UINT32_MAX users: then *out is unchanged.
 */
must_check int mmu_notifier_get(const struct mmu_notifier_ops *ops,
				struct mm *mm, struct mmu_notifier **out);

/*
 * Drop one user.  After the last one no new callback begins, and
 * ops->free_notifier() is called when no callback runs any more.  release() is not
 * called; only the mm's exit does that.  Context: any, also inside callbacks.
 */
void mmu_notifier_put(struct mmu_notifier *mn);

/* Waits until all notifiers that were put have been freed.  Context: may sleep; not
 * inside a callback. */
void mmu_notifier_synchronize(void);

/* ---- for code that changes entries --------------------------------------- */

/*
 *	struct mmu_notifier_range range;
 *
 *	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, start, end);
 *	mmu_notifier_invalidate_range_start(&range);
 *	... lock, change, flush, unlock ...
 *	mmu_notifier_invalidate_range_end(&range);
 *
 * The caller holds mm->lock, or the rmap lock (of the anon_vma or object) of the
 * pages, from before start to after end; exit needs none.  Both may sleep.
 */
void mmu_notifier_start_slow(struct mmu_notifier_range *range);
void mmu_notifier_end_slow(struct mmu_notifier_range *range);

/* Fills in an invalidation.  Without a notifier that has a start or an end this is one
 * load and one branch, and so is start. */
static inline void mmu_notifier_range_init(struct mmu_notifier_range *range,
					   enum mmu_notifier_event event,
					   struct mm *mm, va_t start, va_t end)
{
	range->mm = NULL;
	range->subscriptions = NULL;
	if (likely(!mm_notifies(mm, MM_NOTIFY_START)))
		return;
	range->mm = mm;
	range->start = start;
	range->end = end;
	range->event = event;
	range->blockable = true;
	range->owner = NULL;
}

/* Return whether a client that is, or belongs to, owner may ignore the invalidation: its
 * driver has begun it, and changes the client's table itself (B30). */
static inline bool
mmu_notifier_range_own(const struct mmu_notifier_range *range,
		       const void *owner)
{
	return (range->event == MMU_NOTIFY_MIGRATE ||
		range->event == MMU_NOTIFY_EXCLUSIVE) &&
	       range->owner == owner;
}

static inline void
mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	if (CONFIG_CHECK)
		might_sleep();
	if (unlikely(range->mm))
		mmu_notifier_start_slow(range);
}

/*
 * The same without sleeping.  Returns 0, or -EAGAIN if a notifier would have to sleep:
 * then every start that had succeeded has already received its end, and the caller
 * changes no entry of the range and does not call end.
 */
must_check int
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_range *range);

static inline void
mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	if (unlikely(range->subscriptions))
		mmu_notifier_end_slow(range);
}

/*
 * The calls below are for mm's own files, where mm_notifies() says so.  Context:
 * pt_lock held.  invalidate_range() is called by mm/notifier/flush.h only.
 */
void mmu_notifier_invalidate_range(struct mm *mm, va_t start, va_t end);
void mmu_notifier_change_pte(struct mm *mm, va_t va, uint64_t entry);

/* Return whether any notifier reports a use; the first two call all of them. */
bool mmu_notifier_clear_flush_young(struct mm *mm, va_t start, va_t end);
bool mmu_notifier_clear_young(struct mm *mm, va_t start, va_t end);
bool mmu_notifier_test_young(struct mm *mm, va_t va);

/* Calls release() of every notifier and removes all of them, when the last user of mm
 * is gone and before the first entry is cleared.  Context: may sleep. */
void mmu_notifier_release(struct mm *mm);

/* Frees the subscriptions of an mm whose memory is about to be freed. */
void mmu_notifier_subscriptions_destroy(struct mm *mm);

/*
 * Checker: no invalidation of any mm is open.  Context: nothing else runs.
 * Returns NULL or an error message.
 */
const char *mmu_notifier_check(void);
