/* SPDX-License-Identifier: MIT */
/*
 * subscribe.c - register and unregister notifiers
 *
 * A notifier that registers must not miss a change that is under way: it could copy
 * an entry from the mm's table just before that is cleared, and would not be
 * notified.  So register() puts it on the list, and then waits for all invalidations
 * that may have opened before.  An invalidation is open only while mm->lock is held,
 * which register() holds to write, or while the rmap lock of an anon_vma or object is
 * held, by a walk of the reverse map: register() takes and releases each of those.
 *
 * unregister() removes it from the list at once; after an SRCU grace period no
 * callback of it runs any more.  An unlinked notifier keeps its `next`, so that a
 * walk that has reached it can continue.
 *
 * Exit and unregister() both call release(); the one that sets `released` first does,
 * and the other waits for it, because the call is made inside an SRCU reader.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/frame/pool.h"
#include "mm/notifier/notifier_priv.h"

static struct pool subscriptions_pool;
bool mmu_notifier_all_calls;

void mmu_notifier_init(void)
{
	struct thread *worker;

	pool_init(&subscriptions_pool, "subscriptions",
		  sizeof(struct mmu_notifier_subscriptions));
	srcu_init(&notifier_srcu, RANK_GRACE, "notifiers");
	worker = thread_create("notifiers", srcu_worker, &notifier_srcu);
	assert(worker);
}

int mmu_notifier_subscriptions_get(struct mm *mm)
{
	struct mmu_notifier_subscriptions *subs;

	require(may_sleep());
	assert(rw_held_write(&mm->lock));
	assert(atomic_load(&mm->users) > 0);
	if (mm->subscriptions)
		return 0;
	subs = pool_alloc(&subscriptions_pool);
	if (!subs)
		return err(ENOMEM);
	spin_init(&subs->lock, RANK_NOTIFIER, "subscriptions");
	LIST_INIT(&subs->invalidations);
	itree_init(&subs->intervals);
	waitq_init(&subs->changed);
	mm->subscriptions = subs;
	/* A thread that reads the bit also reads the pointer (mm_notifies()). */
	atomic_fetch_or(&mm->cpus, MM_NOTIFY_ANY);
	return 0;
}

/* Return the bits of mm->cpus for these callbacks. */
static uint64_t notified_of(bool start, bool range, bool pte)
{
	if (unlikely(mmu_notifier_all_calls))
		start = range = pte = true;
	return (start ? MM_NOTIFY_START : 0) | (range ? MM_NOTIFY_RANGE : 0) |
	       (pte ? MM_NOTIFY_PTE : 0);
}

int mmu_notifier_count_invalidations(struct mm *mm)
{
	int ret = mmu_notifier_subscriptions_get(mm);

	require(may_sleep() && rw_held_write(&mm->lock));
	if (ret || atomic_load(&mm->subscriptions->complete))
		return ret;
	atomic_fetch_or(&mm->cpus,
			notified_of(true, false, false) | MM_INTERVALS);
	rmap_drain(mm);
	atomic_store_explicit(&mm->subscriptions->complete, true,
			      memory_order_release);
	return 0;
}

void mmu_notifier_subscriptions_destroy(struct mm *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->subscriptions;

	if (!subs)
		return;
	assert(!atomic_load(&subs->list) && LIST_EMPTY(&subs->invalidations));
	assert(itree_empty(&subs->intervals) && !(subs->seq & 1));
	pool_free(&subscriptions_pool, subs);
}

static void join(struct mmu_notifier_subscriptions *subs,
		 struct mmu_notifier *mn, struct mm *mm)
{
	bool start = mn->ops->invalidate_range_start ||
		     mn->ops->invalidate_range_end;

	require(rw_held_write(&mm->lock));
	assert(!mn->listed && mn->ops);
	mm_grab(mm);
	mn->mm = mm;
	mn->users = 1;
	atomic_init(&mn->released, false);
	atomic_fetch_or(&mm->cpus, notified_of(start, mn->ops->invalidate_range,
					       mn->ops->change_pte));
	spin_lock(&subs->lock);
	mn->since = subs->joined + 1;
	mn->listed = true;
	atomic_store_explicit(&mn->next, atomic_load(&subs->list),
			      memory_order_relaxed);
	/* Release pairs with the acquire of every walk. */
	atomic_store_explicit(&subs->list, mn, memory_order_release);
	/* After that: an invalidation that reads the number finds mn listed. */
	atomic_store_explicit(&subs->joined, mn->since, memory_order_release);
	spin_unlock(&subs->lock);
	PROBE(notifier_join, mm, mn);
}

/* Takes mn from the list, if it is on it.  Context: subs->lock held. */
static void unlink(struct mmu_notifier_subscriptions *subs,
		   struct mmu_notifier *mn)
{
	struct mmu_notifier *_Atomic *at = &subs->list;
	struct mmu_notifier *here;

	require(spin_held(&subs->lock));
	if (!mn->listed)
		return;
	mn->listed = false;
	while ((here = atomic_load(at)) != mn)
		at = &here->next;
	atomic_store_explicit(at, atomic_load(&mn->next), memory_order_release);
}

int mmu_notifier_register_locked(struct mmu_notifier *mn, struct mm *mm)
{
	int ret = mmu_notifier_subscriptions_get(mm);

	require(may_sleep() && rw_held_write(&mm->lock));
	if (ret)
		return ret;
	join(mm->subscriptions, mn, mm);
	rmap_drain(mm);
	return 0;
}

int mmu_notifier_register(struct mmu_notifier *mn, struct mm *mm)
{
	int ret;

	require(may_sleep());
	rw_write_lock(&mm->lock);
	ret = mmu_notifier_register_locked(mn, mm);
	rw_write_unlock(&mm->lock);
	return ret;
}

/* Calls release() unless it has been called.  Context: an SRCU reader. */
static void release_once(struct mmu_notifier *mn, struct mm *mm)
{
	if (atomic_exchange(&mn->released, true) || !mn->ops->release)
		return;
	PROBE(release, mm, mn);
	mn->ops->release(mn, mm);
}

void mmu_notifier_unregister(struct mmu_notifier *mn)
{
	struct mm *mm = mn->mm;
	unsigned reader = srcu_read_lock(&notifier_srcu);

	require(may_sleep() && mm);
	release_once(mn, mm);
	srcu_read_unlock(&notifier_srcu, reader);
	PROBE(notifier_leave, mm, mn);
	spin_lock(&mm->subscriptions->lock);
	unlink(mm->subscriptions, mn);
	spin_unlock(&mm->subscriptions->lock);
	synchronize_srcu(&notifier_srcu);
	mn->mm = NULL;
	mm_drop(mm);
}

void mmu_notifier_unregister_no_release(struct mmu_notifier *mn)
{
	struct mm *mm = mn->mm;

	require(mm && mm->subscriptions);
	spin_lock(&mm->subscriptions->lock);
	unlink(mm->subscriptions, mn);
	spin_unlock(&mm->subscriptions->lock);
	mm_drop(mm);
}

void mmu_notifier_call_srcu(struct mmu_notifier *mn, srcu_fn *fn)
{
	call_srcu(&notifier_srcu, &mn->later, fn);
}

/* ---- shared notifiers --------------------------------------------------- */

/* Returns the listed notifier with these ops, with one more user; NULL if there is
 * none. */
static struct mmu_notifier *find_get(struct mmu_notifier_subscriptions *subs,
				     const struct mmu_notifier_ops *ops,
				     int *ret)
{
	struct mmu_notifier *mn;

	spin_lock(&subs->lock);
	for_each_notifier(mn, subs) if (mn->ops == ops) break;
	if (mn && mn->users == UINT32_MAX)
		*ret = err(EOVERFLOW);
	else if (mn)
		mn->users++;
	spin_unlock(&subs->lock);
	return mn;
}

static int get_locked(const struct mmu_notifier_ops *ops, struct mm *mm,
		      struct mmu_notifier **out)
{
	int ret = mmu_notifier_subscriptions_get(mm);
	struct mmu_notifier *mn;

	require(rw_held_write(&mm->lock) && ops->alloc_notifier);
	if (ret)
		return ret;
	mn = find_get(mm->subscriptions, ops, &ret);
	if (!mn) {
		mn = ops->alloc_notifier(mm);
		if (!mn)
			return err(ENOMEM);
		mn->ops = ops;
		ret = mmu_notifier_register_locked(mn, mm);
	}
	if (!ret)
		*out = mn;
	return ret;
}

int mmu_notifier_get(const struct mmu_notifier_ops *ops, struct mm *mm,
		     struct mmu_notifier **out)
{
	int ret;

	rw_write_lock(&mm->lock);
	ret = get_locked(ops, mm, out);
	rw_write_unlock(&mm->lock);
	return ret;
}

static void put_later(struct srcu_head *head)
{
	struct mmu_notifier *mn =
		container_of(head, struct mmu_notifier, later);
	struct mm *mm = mn->mm;

	PROBE(notifier_free, mm, mn);
	mn->ops->free_notifier(mn);
	mm_drop(mm);
}

void mmu_notifier_put(struct mmu_notifier *mn)
{
	struct mmu_notifier_subscriptions *subs = mn->mm->subscriptions;
	bool last;

	spin_lock(&subs->lock);
	assert(mn->users > 0);
	last = --mn->users == 0;
	if (last)
		unlink(subs, mn);
	spin_unlock(&subs->lock);
	if (last)
		call_srcu(&notifier_srcu, &mn->later, put_later);
}

void mmu_notifier_synchronize(void)
{
	require(may_sleep());
	srcu_barrier(&notifier_srcu);
}

/* ---- exit --------------------------------------------------------------- */

static void unlink_all(struct mmu_notifier_subscriptions *subs)
{
	struct mmu_notifier *mn;

	spin_lock(&subs->lock);
	for_each_notifier(mn, subs) mn->listed = false;
	atomic_store_explicit(&subs->list, NULL, memory_order_release);
	spin_unlock(&subs->lock);
}

void mmu_notifier_release(struct mm *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->subscriptions;
	struct mmu_notifier_range range;
	struct mmu_notifier *mn;
	unsigned reader;

	require(may_sleep() && !atomic_load(&mm->users));
	if (!subs)
		return;
	mmu_notifier_range_init(&range, MMU_NOTIFY_RELEASE, mm, 0, UINT64_MAX);
	if (mm_notifies(mm, MM_INTERVALS))
		mmu_notifier_release_intervals(&range);
	reader = srcu_read_lock(&notifier_srcu);
	for_each_notifier(mn, subs) release_once(mn, mm);
	srcu_read_unlock(&notifier_srcu, reader);
	unlink_all(subs);
	/* unregister() may be inside release(): wait before anything is freed. */
	synchronize_srcu(&notifier_srcu);
}
