/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.c - notify every secondary MMU before a frame is freed
 *
 * An invalidation is open from before the first start callback to after the last
 * end.  It records how many notifiers had registered when it opened: those get both
 * start and end, later ones neither.
 *
 * Invariant: while no invalidation is open, a secondary MMU can reach only frames
 * that the CPU can reach, with no more rights.
 *
 * Locks: a walk of the chain is an SRCU reader and needs no lock, so that start
 * and end may sleep.  mm/notifier/subscribe.c says which notifiers a walk may miss,
 * and why that loses nothing.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/notifier/interval_notifier.h"
#include "mm/notifier/notifier_priv.h"

struct srcu notifier_srcu;

/* ---- invalidations ------------------------------------------------------- */

/* Number an invalidation of an mm that has or had an interval. */
static noinline void interval_open(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = range->subscriptions;

	spin_lock(&subs->lock);
	mmu_interval_open(subs, range);
	spin_unlock(&subs->lock);
}

/* Open the invalidation.  Its number is 0 if nothing counts it. */
static inline void invalidation_open(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = range->mm->subscriptions;

	require(subs && locks_below(RANK_NOTIFIER));
	assert(range->start < range->end);
	range->subscriptions = subs;
	range->last = atomic_load_explicit(&subs->joined, memory_order_acquire);
	range->number = 0;
	if (CONFIG_CHECK)
		atomic_fetch_add(&subs->open, 1);
	if (unlikely(mm_notifies(range->mm, MM_INTERVALS)))
		interval_open(range);
}

/* Close one that is counted. */
static noinline void interval_close(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = range->subscriptions;
	bool wake;

	spin_lock(&subs->lock);
	wake = mmu_interval_close(subs, range);
	spin_unlock(&subs->lock);
	if (wake)
		wake_all(&subs->changed);
}

static inline void invalidation_close(struct mmu_notifier_range *range)
{
	require(range->subscriptions && locks_below(RANK_NOTIFIER));
	if (CONFIG_CHECK)
		atomic_fetch_sub(&range->subscriptions->open, 1);
	if (unlikely(range->number))
		interval_close(range);
	range->subscriptions = NULL;
}

/* Call the start of every notifier that was listed when the invalidation opened. */
void mmu_notifier_start_slow(struct mmu_notifier_range *range)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;
	int ret = 0;

	PROBE(range_start, range->mm, range->start);
	invalidation_open(range);
	if (unlikely(range->number))
		ret = mmu_interval_invalidate(range);
	for_each_notifier(mn, range->subscriptions)
	{
		if (mn->since > range->last || !mn->ops->invalidate_range_start)
			continue;
		ret |= mn->ops->invalidate_range_start(mn, range);
	}
	PROBE(range_started, range->mm, range->start);
	srcu_read_unlock(&notifier_srcu, reader);
	assert(ret == 0); /* a blockable start cannot fail */
}

void mmu_notifier_end_slow(struct mmu_notifier_range *range)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;

	if (CONFIG_CHECK && range->blockable)
		might_sleep();
	PROBE(range_end, range->mm, range->start);
	for_each_notifier(mn, range->subscriptions)
	{
		if (mn->since > range->last || !mn->ops->invalidate_range_end)
			continue;
		mn->ops->invalidate_range_end(mn, range);
	}
	PROBE(range_ended, range->mm, range->start);
	invalidation_close(range);
	srcu_read_unlock(&notifier_srcu, reader);
}

/* ---- invalidations that may be refused ----------------------------------- */

/*
 * Notifiers that returned -EAGAIN from a start, by number.  Once the array is full no
 * further notifier is called; `reached` is the number of the last one called.
 */
#define REFUSALS 8

struct refusals {
	unsigned n;
	uint64_t since[REFUSALS], reached;
};

static bool has_refused(const struct refusals *r, const struct mmu_notifier *mn)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->since[i] == mn->since)
			return true;
	return false;
}

static void ask_start(struct mmu_notifier_range *range, struct refusals *r)
{
	struct mmu_notifier *mn;

	for_each_notifier(mn, range->subscriptions)
	{
		if (mn->since > range->last || r->n == REFUSALS)
			continue;
		r->reached = mn->since;
		if (!mn->ops->invalidate_range_start)
			continue;
		if (mn->ops->invalidate_range_start(mn, range))
			r->since[r->n++] = mn->since;
	}
}

/* End the invalidation for those whose start has succeeded. */
static void undo_start(struct mmu_notifier_range *range,
		       const struct refusals *r)
{
	struct mmu_notifier *mn;

	for_each_notifier(mn, range->subscriptions)
	{
		if (mn->since > range->last || mn->since < r->reached ||
		    has_refused(r, mn))
			continue;
		if (mn->ops->invalidate_range_end)
			mn->ops->invalidate_range_end(mn, range);
	}
}

static int start_nonblock(struct mmu_notifier_range *range)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct refusals r;
	int ret = 0;

	r.n = 0;
	r.reached = 0;
	PROBE(range_start, range->mm, range->start);
	invalidation_open(range);
	if (range->number)
		ret = mmu_interval_invalidate(range);
	if (!ret)
		ask_start(range, &r);
	if (r.n)
		undo_start(range, &r);
	if (ret || r.n) {
		invalidation_close(range);
		PROBE(range_refused, range->mm, range->start);
	} else {
		PROBE(range_started, range->mm, range->start);
	}
	srcu_read_unlock(&notifier_srcu, reader);
	return r.n ? err(EAGAIN) : ret;
}

int mmu_notifier_invalidate_range_start_nonblock(
	struct mmu_notifier_range *range)
{
	if (!range->mm)
		return 0;
	range->blockable = false;
	return start_nonblock(range);
}

/* ---- under pt_lock ------------------------------------------------------ */

void mmu_notifier_invalidate_range(struct mm *mm, va_t start, va_t end)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;

	assert(spin_held(&mm->pt_lock) && start < end);
	PROBE(range, mm, start);
	for_each_notifier(mn, mm->subscriptions) if (mn->ops->invalidate_range)
		mn->ops->invalidate_range(mn, mm, start, end);
	PROBE(range_flushed, mm, start);
	srcu_read_unlock(&notifier_srcu, reader);
}

void mmu_notifier_change_pte(struct mm *mm, va_t va, uint64_t entry)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;

	assert(spin_held(&mm->pt_lock));
	PROBE(change_pte, mm, va);
	for_each_notifier(mn, mm->subscriptions) if (mn->ops->change_pte)
		mn->ops->change_pte(mn, mm, va, entry);
	srcu_read_unlock(&notifier_srcu, reader);
}

bool mmu_notifier_clear_flush_young(struct mm *mm, va_t start, va_t end)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;
	bool young = false;

	assert(spin_held(&mm->pt_lock));
	PROBE(clear_flush_young, mm, start);
	for_each_notifier(mn, mm->subscriptions) if (mn->ops->clear_flush_young)
		young |= mn->ops->clear_flush_young(mn, mm, start, end);
	srcu_read_unlock(&notifier_srcu, reader);
	return young;
}

bool mmu_notifier_clear_young(struct mm *mm, va_t start, va_t end)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;
	bool young = false;

	assert(spin_held(&mm->pt_lock));
	PROBE(clear_young, mm, start);
	for_each_notifier(mn, mm->subscriptions) if (mn->ops->clear_young)
		young |= mn->ops->clear_young(mn, mm, start, end);
	srcu_read_unlock(&notifier_srcu, reader);
	return young;
}

bool mmu_notifier_test_young(struct mm *mm, va_t va)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;
	bool young = false;

	assert(spin_held(&mm->pt_lock));
	for_each_notifier(mn,
			  mm->subscriptions) if (!young && mn->ops->test_young)
		young = mn->ops->test_young(mn, mm, va);
	srcu_read_unlock(&notifier_srcu, reader);
	return young;
}

/* ---- exit, and the checker ----------------------------------------------- */

void mmu_notifier_release_intervals(struct mmu_notifier_range *range)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	int ret;

	invalidation_open(range);
	ret = mmu_interval_invalidate(range);
	assert(ret == 0);
	invalidation_close(range);
	srcu_read_unlock(&notifier_srcu, reader);
}

static const char *wrong;

static void check_interval(struct itree_node *node)
{
	struct mmu_interval_notifier *mni =
		container_of(node, struct mmu_interval_notifier, node);

	if (mni->n_called || atomic_load(&mni->busy))
		wrong = "an interval counts an invalidation that is not open";
	else if (!(mni->seq & 1))
		wrong = "an interval has an even sequence";
}

static void check_mm(struct mm *mm, void *arg)
{
	struct mmu_notifier_subscriptions *subs = mm->subscriptions;
	struct itree_node *node;

	if (!subs)
		return;
	spin_lock(&subs->lock);
	if (atomic_load(&subs->open) || !LIST_EMPTY(&subs->invalidations))
		wrong = "an invalidation is open";
	else if (subs->meeting || (subs->seq & 1))
		wrong = "the sequence is odd, but no invalidation is open";
	itree_for_each (node, &subs->intervals, 0, UINT64_MAX)
		check_interval(node);
	spin_unlock(&subs->lock);
}

const char *mmu_notifier_check(void)
{
	wrong = NULL;
	mm_for_each(check_mm, NULL);
	return wrong;
}
