/* SPDX-License-Identifier: MIT */
/*
 * interval_notifier.c - a tree of ranges, and who waits for which window
 *
 * Windows are numbered as they open, and every interval knows from which number
 * to which it is told (since, until].  So the tree may change at any moment:
 *
 *   windows     --1-----------------          told: 1 calls back, and is waited
 *                       --2---------------    for; busy: 1 and 2 keep readers
 *   interval i  in .................. out     out
 *   interval k            in ................ busy: 1 and 2 meet it, told: none
 *
 * A walk stands, between two steps, on an interval that it tells, and such an
 * interval stays in the tree while `told` counts it: so each step may take the
 * lock anew, and a callback may sleep.  (Linux freezes the tree while any window
 * is open and defers what wants in or out to the end of the last: where windows
 * overlap without end, a remove there waits without end.)
 *
 * subs->seq is odd while a window is open that meets an interval, and grows with
 * each of them, so that every window writes a number of its own into the
 * intervals that it invalidates.
 *
 * Locks: subs->lock, for everything but the client's seq.
 */
#include "mm/interval_notifier.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/notifier_priv.h"

static struct mmu_interval_notifier *interval_of(struct itree_node *node)
{
	return container_of(node, struct mmu_interval_notifier, node);
}

static bool is_told(const struct mmu_interval_notifier *mni,
		    const struct mmu_notifier_range *range)
{
	return mni->since < range->number && range->number <= mni->until;
}

/* ---- windows ------------------------------------------------------------ */

void mmu_interval_open(struct mmu_notifier_subscriptions *subs,
		       struct mmu_notifier_range *range)
{
	struct itree_node *node;
	bool meets = false;

	range->number = ++subs->opened;
	range->seq = 0;
	LIST_INSERT_HEAD(&subs->windows, range, link);
	itree_for_each (node, &subs->intervals, range->start, range->end - 1) {
		struct mmu_interval_notifier *mni = interval_of(node);

		if (!is_told(mni, range))
			continue; /* it is leaving */
		mni->told++;
		atomic_fetch_add(&mni->busy, 1);
		meets = true;
	}
	if (!meets)
		return;
	subs->seq += subs->seq & 1 ? 2 : 1;
	subs->meeting++;
	range->seq = subs->seq;
}

/* The interval, which nobody is told of any more, goes.  It may be freed as
 * soon as `out` is set. */
static void take_out(struct mmu_notifier_subscriptions *subs,
		     struct mmu_interval_notifier *mni)
{
	itree_remove(&subs->intervals, &mni->node);
	PROBE(interval_out, mni->mm, mni);
	atomic_store(&mni->out, true);
}

/* The window over mni is closed. */
static void leave_alone(struct mmu_notifier_subscriptions *subs,
			struct mmu_interval_notifier *mni,
			const struct mmu_notifier_range *range)
{
	atomic_fetch_sub(&mni->busy, 1);
	if (!is_told(mni, range))
		return;
	if (--mni->told == 0 && mni->until != UINT64_MAX)
		take_out(subs, mni);
}

bool mmu_interval_close(struct mmu_notifier_subscriptions *subs,
			struct mmu_notifier_range *range)
{
	struct itree_node *node, *next;
	va_t last = range->end - 1;
	bool met = false;

	LIST_REMOVE(range, link);
	if (range->seq && --subs->meeting == 0)
		subs->seq++;
	for (node = itree_first(&subs->intervals, range->start, last); node;
	     node = next) {
		struct mmu_interval_notifier *mni = interval_of(node);

		next = itree_next(node, range->start, last);
		if (range->number > mni->until)
			continue; /* it left before the window opened */
		leave_alone(subs, mni, range);
		met = true;
	}
	return met;
}

/* The next interval behind mni (NULL: the first) that the window tells. */
static struct mmu_interval_notifier *
next_told(struct mmu_notifier_range *range, struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_subscriptions *subs = range->told;
	va_t last = range->end - 1;
	struct itree_node *node;

	spin_lock(&subs->lock);
	node = mni ? itree_next(&mni->node, range->start, last)
		   : itree_first(&subs->intervals, range->start, last);
	while (node && !is_told(interval_of(node), range))
		node = itree_next(node, range->start, last);
	spin_unlock(&subs->lock);
	return node ? interval_of(node) : NULL;
}

int mmu_interval_invalidate(struct mmu_notifier_range *range)
{
	struct mmu_interval_notifier *mni = NULL;

	if (!range->seq)
		return 0;
	while ((mni = next_told(range, mni))) {
		PROBE(interval_told, range->mm, mni);
		if (mni->ops->invalidate(mni, range, range->seq))
			continue;
		assert(!range->blockable);
		return err(EAGAIN);
	}
	return 0;
}

/* ---- come and go -------------------------------------------------------- */

static void put_in(struct mmu_notifier_subscriptions *subs,
		   struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_range *range;
	unsigned busy = 0;

	spin_lock(&subs->lock);
	mni->since = subs->opened;
	/* Odd, and older than any that a later window will write. */
	mni->seq = (subs->seq | 1) - 2;
	LIST_FOREACH (range, &subs->windows, link)
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

	if (!ret)
		ret = mmu_notifier_subscriptions_get(mm);
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

	if (ret)
		return ret;
	/* Where all windows are known there is nothing to wait for. */
	if (!mm_has_notifiers(mm) ||
	    !atomic_load_explicit(&mm->subscriptions->complete,
				  memory_order_acquire)) {
		rw_write_lock(&mm->lock);
		ret = mmu_notifier_subscriptions_get(mm);
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
	if (!mni->told)
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
