/* SPDX-License-Identifier: MIT */
/*
 * interval_notifier.c - a tree of ranges, and the invalidations they wait for
 *
 * Invalidations are numbered as they open, and every interval is notified of those
 * numbered (since, until].  So the tree may change at any moment:
 *
 *   invalidations --1-----------------          n_called: 1 calls back, and remove()
 *                         --2---------------    waits for it; busy: lookups wait for
 *   interval i    in .................. out     1 and 2
 *   interval k              in ................ busy: 1 and 2, n_called: none
 *
 * Between two steps a walk holds a pointer to an interval that it notifies, and such
 * an interval stays in the tree while `n_called` counts the invalidation: so each step may
 * take the lock anew, and a callback may sleep.  (Linux freezes the tree while any
 * invalidation is open and defers insert and remove to the end of the last one: if
 * invalidations overlap without end, a remove there waits without end.)
 *
 * subs->seq is odd while an open invalidation overlaps an interval, and grows with
 * each of them, so that every invalidation writes its own number into the intervals
 * that it invalidates.
 *
 * Locks: subs->lock, for everything but the client's seq.
 */
#include "mm/notifier/interval_notifier.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/notifier/notifier_priv.h"

static struct mmu_interval_notifier *interval_of(struct itree_node *node)
{
	return container_of(node, struct mmu_interval_notifier, node);
}

static bool is_called(const struct mmu_interval_notifier *mni,
		      const struct mmu_notifier_range *range)
{
	return mni->since < range->number && range->number <= mni->until;
}

/* ---- invalidations ------------------------------------------------------- */

/* Count the invalidation in every interval that it overlaps.  (Not inline: most mms
 * have no interval.) */
static noinline void meet_all(struct mmu_notifier_subscriptions *subs,
			      struct mmu_notifier_range *range)
{
	struct itree_node *node;
	bool meets = false;

	require(spin_held(&subs->lock));
	itree_for_each (node, &subs->intervals, range->start, range->end - 1) {
		struct mmu_interval_notifier *mni = interval_of(node);

		if (!is_called(mni, range))
			continue; /* it is being removed */
		mni->n_called++;
		atomic_fetch_add(&mni->busy, 1);
		meets = true;
	}
	if (!meets)
		return;
	subs->seq += subs->seq & 1 ? 2 : 1;
	subs->meeting++;
	range->seq = subs->seq;
}

void mmu_interval_open(struct mmu_notifier_subscriptions *subs,
		       struct mmu_notifier_range *range)
{
	require(spin_held(&subs->lock));
	range->number = ++subs->opened;
	range->seq = 0;
	LIST_INSERT_HEAD(&subs->invalidations, range, link);
	if (unlikely(!itree_empty(&subs->intervals)))
		meet_all(subs, range);
}

/* Removes an interval that no open invalidation counts.  Its memory may be freed as
 * soon as `out` is set. */
static void take_out(struct mmu_notifier_subscriptions *subs,
		     struct mmu_interval_notifier *mni)
{
	require(spin_held(&subs->lock) && !mni->n_called);
	itree_remove(&subs->intervals, &mni->node);
	PROBE(interval_out, mni->mm, mni);
	atomic_store(&mni->out, true);
}

/* Counts down: the invalidation over mni has ended. */
static void leave_alone(struct mmu_notifier_subscriptions *subs,
			struct mmu_interval_notifier *mni,
			const struct mmu_notifier_range *range)
{
	atomic_fetch_sub(&mni->busy, 1);
	if (!is_called(mni, range))
		return;
	if (--mni->n_called == 0 && mni->until != UINT64_MAX)
		take_out(subs, mni);
}

/* The same for every interval that counts it.  Returns whether one does. */
static noinline bool leave_all(struct mmu_notifier_subscriptions *subs,
			       const struct mmu_notifier_range *range)
{
	struct itree_node *node, *next;
	va_t last = range->end - 1;
	bool met = false;

	require(spin_held(&subs->lock));
	for (node = itree_first(&subs->intervals, range->start, last); node;
	     node = next) {
		struct mmu_interval_notifier *mni = interval_of(node);

		next = itree_next(node, range->start, last);
		if (range->number > mni->until)
			continue; /* removed before the invalidation opened */
		leave_alone(subs, mni, range);
		met = true;
	}
	return met;
}

bool mmu_interval_close(struct mmu_notifier_subscriptions *subs,
			struct mmu_notifier_range *range)
{
	require(spin_held(&subs->lock));
	LIST_REMOVE(range, link);
	if (range->seq && --subs->meeting == 0)
		subs->seq++;
	return !itree_empty(&subs->intervals) && leave_all(subs, range);
}

/* Returns the next interval after mni (NULL: the first) that the invalidation
 * notifies. */
static struct mmu_interval_notifier *
next_called(struct mmu_notifier_range *range, struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_subscriptions *subs = range->subscriptions;
	va_t last = range->end - 1;
	struct itree_node *node;

	spin_lock(&subs->lock);
	node = mni ? itree_next(&mni->node, range->start, last)
		   : itree_first(&subs->intervals, range->start, last);
	while (node && !is_called(interval_of(node), range))
		node = itree_next(node, range->start, last);
	spin_unlock(&subs->lock);
	return node ? interval_of(node) : NULL;
}

int mmu_interval_invalidate(struct mmu_notifier_range *range)
{
	struct mmu_interval_notifier *mni = NULL;

	if (!range->seq)
		return 0;
	while ((mni = next_called(range, mni))) {
		PROBE(interval_called, range->mm, mni);
		if (mni->ops->invalidate(mni, range, range->seq))
			continue;
		assert(!range->blockable);
		return err(EAGAIN);
	}
	return 0;
}

/* ---- insert and remove --------------------------------------------------- */

static void put_in(struct mmu_notifier_subscriptions *subs,
		   struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_range *range;
	unsigned busy = 0;

	spin_lock(&subs->lock);
	mni->since = subs->opened;
	/* Odd, and less than any that a later invalidation will write. */
	mni->seq = (subs->seq | 1) - 2;
	LIST_FOREACH (range, &subs->invalidations, link)
		busy += range->start <= mni->node.last &&
			range->end > mni->node.start;
	atomic_init(&mni->busy, busy);
	itree_insert(&subs->intervals, &mni->node);
	spin_unlock(&subs->lock);
	PROBE(interval_in, mni->mm, mni);
}

static int interval_init(struct mmu_interval_notifier *mni, struct mm *mm,
			 va_t start, uint64_t length,
			 const struct mmu_interval_notifier_ops *ops)
{
	if (!length || start + length - 1 < start)
		return err(EOVERFLOW);
	if (!atomic_load(&mm->users))
		return err(ENOENT);
	*mni = (struct mmu_interval_notifier){
		.ops = ops,
		.mm = mm,
		.node = { .start = start, .last = start + length - 1 },
		.until = UINT64_MAX,
	};
	return 0;
}

int mmu_interval_notifier_insert_locked(
	struct mmu_interval_notifier *mni, struct mm *mm, va_t start,
	uint64_t length, const struct mmu_interval_notifier_ops *ops)
{
	int ret = interval_init(mni, mm, start, length, ops);

	require(may_sleep() && rw_held_write(&mm->lock));
	if (!ret)
		ret = mmu_notifier_count_invalidations(mm);
	if (ret)
		return ret;
	mm_grab(mm);
	put_in(mm->subscriptions, mni);
	return 0;
}

int mmu_interval_notifier_insert(struct mmu_interval_notifier *mni,
				 struct mm *mm, va_t start, uint64_t length,
				 const struct mmu_interval_notifier_ops *ops)
{
	int ret = interval_init(mni, mm, start, length, ops);

	require(may_sleep());
	if (ret)
		return ret;
	/* If all open invalidations are known there is nothing to wait for. */
	if (!mm_has_notifiers(mm) ||
	    !atomic_load_explicit(&mm->subscriptions->complete,
				  memory_order_acquire)) {
		rw_write_lock(&mm->lock);
		ret = mmu_notifier_count_invalidations(mm);
		rw_write_unlock(&mm->lock);
	}
	if (ret)
		return ret;
	mm_grab(mm);
	put_in(mm->subscriptions, mni);
	return 0;
}

void mmu_interval_notifier_remove(struct mmu_interval_notifier *mni)
{
	struct mm *mm = mni->mm;
	struct mmu_notifier_subscriptions *subs = mm->subscriptions;

	might_sleep();
	spin_lock(&subs->lock);
	assert(mni->until == UINT64_MAX);
	mni->until = subs->opened;
	if (!mni->n_called)
		take_out(subs, mni);
	spin_unlock(&subs->lock);
	wait_event(&subs->changed, atomic_load(&mni->out));
	mm_drop(mm);
}

uint64_t mmu_interval_read_begin(struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_subscriptions *subs = mni->mm->subscriptions;
	uint64_t seq;
	bool busy;

	might_sleep();
	for (;;) {
		spin_lock(&subs->lock);
		seq = READ_ONCE(mni->seq);
		busy = atomic_load(&mni->busy);
		spin_unlock(&subs->lock);
		if (!busy)
			return seq;
		PROBE(interval_waits, mni->mm, mni);
		wait_event(&subs->changed, !atomic_load(&mni->busy));
	}
}
