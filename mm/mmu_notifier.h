/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.h - who else translates this mm's addresses, and what he is told
 *
 *      start        clear PTE    flush CPUs   range    set PTE      end
 *   -----+-------------+------------+-----------+---------+----------+---> time
 *        | no new secondary entry   |           | no secondary TLB   |
 *        | of [start, end)          |           | knows the old page |
 *
 * A secondary MMU either keeps a table of its own, filled by its faults, or
 * walks ours and only caches.  The first kind listens to start and end: between
 * them it has no entry of the range and makes none.  The second kind listens to
 * invalidate_range, which mm's one flush primitive calls (mm/gather.h): before
 * it the entry has changed, behind it the frame may be freed or the new entry
 * set.  MMU_NOTIFIER.md has the table of transitions, and why.
 *
 * Names and contracts are Linux's (include/linux/mmu_notifier.h), as of 6.6
 * where invalidate_range is called arch_invalidate_secondary_tlbs.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/srcu.h"
#include "mm/mm.h"

struct mmu_notifier;
struct mmu_notifier_subscriptions;

/* Why entries change: listeners may skip what cannot concern them. */
enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP,           /* the mapping goes: unmap, remap       */
	MMU_NOTIFY_CLEAR,           /* the page goes, the mapping stays     */
	MMU_NOTIFY_PROTECTION_VMA,  /* rights of the region                 */
	MMU_NOTIFY_PROTECTION_PAGE, /* rights of pages: fork                */
	MMU_NOTIFY_SOFT_DIRTY,      /* not used here                        */
	MMU_NOTIFY_RELEASE,         /* the mm goes; to interval notifiers   */
	MMU_NOTIFY_MIGRATE,         /* owner moves the page itself          */
};

/* One announced change: from start to end, on the stack of who makes it. */
struct mmu_notifier_range {
	struct mm *mm; /* NULL: nobody listens, the rest is not filled in    */
	va_t start, end;
	enum mmu_notifier_event event;
	bool blockable; /* false: callbacks may not sleep, but may refuse   */
	void *owner;    /* of MIGRATE: may ignore his own event             */

	/* Of the chain: NULL when nobody was told. */
	struct mmu_notifier_subscriptions *told;
	uint64_t upto;   /* those who joined later were not told            */
	uint64_t number; /* of all windows of the mm                        */
	uint64_t seq;    /* for interval notifiers; 0: it meets none        */
	LIST_ENTRY(mmu_notifier_range) link; /* open ones                   */
};

/*
 * Any callback may be NULL, and all run inside an SRCU reader.  None may take
 * mm->lock or the lock of a family or object, put the last user of an mm, or
 * wait for who does.
 */
struct mmu_notifier_ops {
	/*
	 * The mm is going, or unregister() asks: drop all entries, make none
	 * again.  Once for each subscription, before the first page of the mm
	 * is freed.  May sleep, and may run together with any other callback.
	 */
	void (*release)(struct mmu_notifier *mn, struct mm *mm);

	/*
	 * Was the range used by the secondary MMU since it was last asked?
	 * Forget that; clear_flush_young() also makes sure that the next use is
	 * seen, clear_young() need not, test_young() changes nothing.  Without
	 * accessed bits: drop the entries and say whether there were any.
	 * Under pt_lock: no sleep, no memory.
	 */
	bool (*clear_flush_young)(struct mmu_notifier *mn, struct mm *mm,
				  va_t start, va_t end);
	bool (*clear_young)(struct mmu_notifier *mn, struct mm *mm, va_t start,
			    va_t end);
	bool (*test_young)(struct mmu_notifier *mn, struct mm *mm, va_t va);

	/*
	 * entry, in the CPU's format, is about to be set at va, where nothing
	 * translates now (but where ksm_knobs.late_flush is set: there a page
	 * of the same content does).  Between start and end, under pt_lock: no
	 * sleep.  Linux dropped it in 6.10: start has emptied the range.
	 */
	void (*change_pte)(struct mmu_notifier *mn, struct mm *mm, va_t va,
			   uint64_t entry);

	/*
	 * [start, end) is about to change; its pages are still mapped and
	 * referenced.  On return no secondary entry of it exists, and none is
	 * made before invalidate_range_end().  Ranges nest and overlap: count.
	 *
	 * Returns 0; where range->blockable is false the callback may not sleep
	 * and may return -EAGAIN: then it has done nothing, the change is
	 * called off, and it gets no invalidate_range_end().
	 */
	int (*invalidate_range_start)(struct mmu_notifier *mn,
				      const struct mmu_notifier_range *range);

	/*
	 * The change is over.  Pages of the range may already belong to others:
	 * too late for any flush.  For every start that returned 0, once.
	 */
	void (*invalidate_range_end)(struct mmu_notifier *mn,
				     const struct mmu_notifier_range *range);

	/*
	 * Entries of [start, end) have changed: when this returns, no access
	 * that begins later may use a translation, or a table on the way to it,
	 * that was read before the call.  Under pt_lock: no sleep, no memory,
	 * no lock that is held around a fault.  May come outside start and end.
	 */
	void (*invalidate_range)(struct mmu_notifier *mn, struct mm *mm,
				 va_t start, va_t end);

	/* For mmu_notifier_get(): NULL without memory; may sleep. */
	struct mmu_notifier *(*alloc_notifier)(struct mm *mm);
	/* After the last put, when no callback runs any more; may sleep. */
	void (*free_notifier)(struct mmu_notifier *mn);
};

/* Flag: call invalidate_range() where the series of 2014 did, from its chosen
 * sites and once more from end; see MMU_NOTIFIER.md. */
#define MMU_NOTIFIER_2014 BIT(0)

/*
 * One listener of one mm; lies in the client's own object.  The client sets ops
 * and flags before it registers, and zeroes the rest.
 * Key: (I) immutable while subscribed  (L) subscriptions' lock  (A) atomic
 */
struct mmu_notifier {
	const struct mmu_notifier_ops *ops; /* (I)                           */
	unsigned flags;                     /* (I) MMU_NOTIFIER_*            */
	struct mm *mm;                      /* (I) holds a reference         */
	struct mmu_notifier *_Atomic next;  /* (L) to write, SRCU to read    */
	uint64_t since;                     /* (I) its number in the chain   */
	uint32_t users;                     /* (L) of get and put            */
	bool listed;                        /* (L)                           */
	_Atomic bool released;              /* (A) release has been called   */
	struct srcu_head later;
};

/* ---- joining and leaving ------------------------------------------------ */

/* Must run once before the first mm_create(). */
void mmu_notifier_init(void);

/*
 * From its return on mn is told of every change of mm: no change that is under
 * way is missed, and none ends for mn that did not start for it.
 *
 * Context: the caller holds a user of mm; may sleep: waits for every operation
 * on mm, and every reverse-map walk of its pages, that is under way.
 * register_locked(): mm->lock is held to write.
 * Returns -ENOMEM.
 */
must_check int mmu_notifier_register(struct mmu_notifier *mn, struct mm *mm);
must_check int mmu_notifier_register_locked(struct mmu_notifier *mn,
					    struct mm *mm);

/*
 * Leave.  When it returns release() has been called once, here or by the mm's
 * exit, and no callback runs or ever will: mn may be freed.
 *
 * Context: once for each registration, also after the mm's exit.  May sleep;
 * inside no callback.
 */
void mmu_notifier_unregister(struct mmu_notifier *mn);

/*
 * Leave without release(), at once, in any context, also inside callbacks.
 * Some may still be running: hand mn to mmu_notifier_call_srcu() to free it.
 */
void mmu_notifier_unregister_no_release(struct mmu_notifier *mn);
void mmu_notifier_call_srcu(struct mmu_notifier *mn, srcu_fn *fn);

/*
 * The notifier of (ops, mm): the one that is there, with one more user, or a
 * new one by ops->alloc_notifier().  Context as register().
 * Returns -ENOMEM, -EOVERFLOW.
 */
must_check int mmu_notifier_get(const struct mmu_notifier_ops *ops,
				struct mm *mm, struct mmu_notifier **out);

/*
 * One user less; after the last one no new callback begins, and
 * ops->free_notifier() runs when the last has ended.  It is not told by
 * release(): that comes only of the mm's exit.  Any context, also inside
 * callbacks.
 */
void mmu_notifier_put(struct mmu_notifier *mn);

/* Wait until everything that was put has been freed.  Inside no callback. */
void mmu_notifier_synchronize(void);

/* ---- for who changes entries -------------------------------------------- */

/*
 *	struct mmu_notifier_range range;
 *
 *	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, start, end);
 *	mmu_notifier_invalidate_range_start(&range);
 *	... lock, change, flush, unlock ...
 *	mmu_notifier_invalidate_range_end(&range);
 *
 * Context: mm->lock, or the lock of a family or object of the pages, is held
 * from before start to after end (mm's exit needs none); start and end sleep.
 */
void mmu_notifier_start_slow(struct mmu_notifier_range *range);
void mmu_notifier_end_slow(struct mmu_notifier_range *range, bool only_end);

/* Where nobody listens this is one load and one branch, and so is start. */
static inline void mmu_notifier_range_init(struct mmu_notifier_range *range,
					   enum mmu_notifier_event event,
					   struct mm *mm, va_t start, va_t end)
{
	range->mm = NULL;
	range->told = NULL;
	if (likely(!mm_has_notifiers(mm)))
		return;
	range->mm = mm;
	range->start = start;
	range->end = end;
	range->event = event;
	range->blockable = true;
	range->owner = NULL;
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
 * The same without sleeping.  Returns -EAGAIN if a listener would have to: then
 * nobody is in the range any more, and the caller changes no entry of it and
 * does not call end.
 */
must_check int
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_range *range);

static inline void
mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	if (unlikely(range->told))
		mmu_notifier_end_slow(range, false);
}

/* The same where every changed entry was told by tlb_flush_range_notify(). */
static inline void
mmu_notifier_invalidate_range_only_end(struct mmu_notifier_range *range)
{
	if (unlikely(range->told))
		mmu_notifier_end_slow(range, true);
}

/*
 * The calls below are for mm's own files, where mm_has_notifiers().  Context:
 * pt_lock held.  invalidate_range() is called by mm/gather.h, by nobody else;
 * site: here the series of 2014 called it too.
 */
void mmu_notifier_invalidate_range(struct mm *mm, va_t start, va_t end,
				   bool site);
void mmu_notifier_change_pte(struct mm *mm, va_t va, uint64_t entry);

/* Was it used?  By any listener; the first two ask all of them. */
bool mmu_notifier_clear_flush_young(struct mm *mm, va_t start, va_t end);
bool mmu_notifier_clear_young(struct mm *mm, va_t start, va_t end);
bool mmu_notifier_test_young(struct mm *mm, va_t va);

/* The last user of mm is gone: release() for all, who then are out.  May
 * sleep; before the first entry is cleared. */
void mmu_notifier_release(struct mm *mm);

/* mm's memory goes: nobody listens any more. */
void mmu_notifier_subscriptions_destroy(struct mm *mm);

/*
 * Oracle, at a quiet point: every window is closed, in every mm.
 * Returns NULL, or what is wrong in words.
 */
const char *mmu_notifier_check(void);
