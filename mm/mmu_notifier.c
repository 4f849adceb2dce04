/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.c - tell every secondary MMU before a frame goes away
 *
 * A window is open from before the first start callback to after the last end.
 * It remembers how many had joined when it opened: those hear both its start
 * and its end, whoever joins later hears neither.
 *
 * Invariant: when no window is open, what a secondary MMU can reach, the CPU
 * can reach: the same frame, with no more rights.
 *
 * Locks: a walk of the chain is an SRCU reader and needs no lock, so that start
 * and end may sleep.  Who may be missing from a walk, and why that is no loss,
 * is mm/subscribe.c's business.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/interval_notifier.h"
#include "mm/notifier_priv.h"

struct srcu notifier_srcu;

/* ---- windows ------------------------------------------------------------ */

static void window_open(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = range->mm->subscriptions;

	assert(range->start < range->end);
	spin_lock(&subs->lock);
	range->upto = subs->joined;
	mmu_interval_open(subs, range);
	spin_unlock(&subs->lock);
	range->told = subs;
}

static void window_close(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = range->told;
	bool wake;

	range->told = NULL;
	spin_lock(&subs->lock);
	wake = mmu_interval_close(subs, range);
	spin_unlock(&subs->lock);
	if (wake)
		wake_all(&subs->changed);
}

/*
 * Who said no to a start, by number.  Behind the last that fits nobody is asked
 * any more; `reached` is the last who was.
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

static void call_start(struct mmu_notifier_range *range, struct refusals *r)
{
	struct mmu_notifier *mn;

	for_each_listener (mn, range->told) {
		int ret;

		if (mn->since > range->upto || r->n == REFUSALS)
			continue;
		r->reached = mn->since;
		if (!mn->ops->invalidate_range_start)
			continue;
		ret = mn->ops->invalidate_range_start(mn, range);
		if (ret)
			r->since[r->n++] = mn->since;
	}
}

static void call_end(struct mmu_notifier_range *range, bool only_end,
		     const struct refusals *r)
{
	struct mmu_notifier *mn;

	for_each_listener (mn, range->told) {
		const struct mmu_notifier_ops *ops = mn->ops;

		if (mn->since > range->upto ||
		    (r && (mn->since < r->reached || has_refused(r, mn))))
			continue;
		if (!only_end && (mn->flags & MMU_NOTIFIER_2014) &&
		    ops->invalidate_range)
			ops->invalidate_range(mn, range->mm, range->start,
					      range->end);
		if (ops->invalidate_range_end)
			ops->invalidate_range_end(mn, range);
	}
}

static int range_start(struct mmu_notifier_range *range)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct refusals r = { .n = 0 };
	int ret;

	PROBE(range_start, range->mm, range->start);
	window_open(range);
	ret = mmu_interval_invalidate(range);
	if (!ret)
		call_start(range, &r);
	if (r.n)
		call_end(range, true, &r);
	if (ret || r.n) {
		window_close(range);
		PROBE(range_refused, range->mm, range->start);
	}
	PROBE(range_started, range->mm, range->start);
	srcu_read_unlock(&notifier_srcu, reader);
	return r.n ? err(EAGAIN) : ret;
}

void mmu_notifier_start_slow(struct mmu_notifier_range *range)
{
	int ret = range_start(range);

	assert(ret == 0); /* nobody refuses who may sleep */
}

int mmu_notifier_invalidate_range_start_nonblock(
	struct mmu_notifier_range *range)
{
	if (!range->mm)
		return 0;
	range->blockable = false;
	return range_start(range);
}

void mmu_notifier_end_slow(struct mmu_notifier_range *range, bool only_end)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);

	if (range->blockable)
		might_sleep();
	PROBE(range_end, range->mm, range->start);
	call_end(range, only_end, NULL);
	PROBE(range_ended, range->mm, range->start);
	window_close(range);
	srcu_read_unlock(&notifier_srcu, reader);
}

/* ---- under pt_lock ------------------------------------------------------ */

void mmu_notifier_invalidate_range(struct mm *mm, va_t start, va_t end,
				   bool site)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	struct mmu_notifier *mn;

	assert(spin_held(&mm->pt_lock) && start < end);
	PROBE(range, mm, start);
	for_each_listener (mn, mm->subscriptions)
		if (mn->ops->invalidate_range &&
		    (site || !(mn->flags & MMU_NOTIFIER_2014)))
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
	for_each_listener (mn, mm->subscriptions)
		if (mn->ops->change_pte)
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
	for_each_listener (mn, mm->subscriptions)
		if (mn->ops->clear_flush_young)
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
	for_each_listener (mn, mm->subscriptions)
		if (mn->ops->clear_young)
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
	for_each_listener (mn, mm->subscriptions)
		if (!young && mn->ops->test_young)
			young = mn->ops->test_young(mn, mm, va);
	srcu_read_unlock(&notifier_srcu, reader);
	return young;
}

/* ---- exit, and the oracle ----------------------------------------------- */

void mmu_notifier_release_intervals(struct mmu_notifier_range *range)
{
	unsigned reader = srcu_read_lock(&notifier_srcu);
	int ret;

	window_open(range);
	ret = mmu_interval_invalidate(range);
	assert(ret == 0);
	window_close(range);
	srcu_read_unlock(&notifier_srcu, reader);
}

static const char *wrong;

static void check_interval(struct itree_node *node)
{
	struct mmu_interval_notifier *mni =
		container_of(node, struct mmu_interval_notifier, node);

	if (mni->told || atomic_load(&mni->busy))
		wrong = "an interval waits for no window";
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
	if (!LIST_EMPTY(&subs->windows))
		wrong = "a notifier window is open";
	else if (subs->meeting || (subs->seq & 1))
		wrong = "the sequence says that an interval is changing";
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
