/* SPDX-License-Identifier: MIT */
/*
 * subscribe.c - join and leave the chain
 *
 * A listener that joins must not miss a change that is under way: it could take
 * an entry from our table just before it is cleared, and nobody would tell it.
 * So joining is: onto the list, then wait until whatever may have opened its
 * window before is over.  Windows are opened with mm->lock held, which the one
 * who joins has alone, or with the lock of a family or object held, by a walk
 * of the reverse map: of these he takes each once and lets it go again.
 *
 * Leaving is: off the list, at once, and an SRCU grace period later nobody is
 * inside a callback any more.  Entries of the list keep their `next` when they
 * are unlinked, so that a walk that stands on one goes on.
 *
 * release() is called by whoever sets `released` first, exit or unregister();
 * the other one waits for it, because it is an SRCU reader too.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/mm_priv.h"
#include "mm/notifier_priv.h"

static struct pool subscriptions_pool;

void mmu_notifier_init(void)
{
	struct thread *worker;

	pool_init(&subscriptions_pool, "subscriptions",
		  sizeof(struct mmu_notifier_subscriptions));
	srcu_init(&notifier_srcu, RANK_GRACE, "notifiers");
	worker = thread_create("notifiers", srcu_worker, &notifier_srcu);
	assert(worker);
}

/* Every window that was open has been closed when this returns. */
static void windows_drain(struct mm *mm)
{
	struct region *r;

	assert(rw_held_write(&mm->lock));
	for_each_region (r, mm, USER_START, USER_END) {
		rmap_lock_write(r);
		rmap_unlock_write(r);
	}
}

int mmu_notifier_subscriptions_get(struct mm *mm)
{
	struct mmu_notifier_subscriptions *subs;

	assert(rw_held_write(&mm->lock));
	assert(atomic_load(&mm->users) > 0);
	if (mm->subscriptions)
		return 0;
	subs = pool_alloc(&subscriptions_pool);
	if (!subs)
		return err(ENOMEM);
	spin_init(&subs->lock, RANK_NOTIFIER, "subscriptions");
	LIST_INIT(&subs->windows);
	itree_init(&subs->intervals);
	waitq_init(&subs->changed);
	mm->subscriptions = subs;
	/* Whoever sees the bit sees the pointer (mm_has_notifiers()). */
	atomic_fetch_or(&mm->cpus, MM_NOTIFIED);
	windows_drain(mm);
	atomic_store_explicit(&subs->complete, true, memory_order_release);
	return 0;
}

void mmu_notifier_subscriptions_destroy(struct mm *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->subscriptions;

	if (!subs)
		return;
	assert(!atomic_load(&subs->list) && LIST_EMPTY(&subs->windows));
	assert(itree_empty(&subs->intervals) && !(subs->seq & 1));
	pool_free(&subscriptions_pool, subs);
}

static void join(struct mmu_notifier_subscriptions *subs,
		 struct mmu_notifier *mn, struct mm *mm)
{
	assert(!mn->listed && mn->ops);
	mm_grab(mm);
	mn->mm = mm;
	mn->users = 1;
	atomic_init(&mn->released, false);
	spin_lock(&subs->lock);
	mn->since = ++subs->joined;
	mn->listed = true;
	atomic_store_explicit(&mn->next, atomic_load(&subs->list),
			      memory_order_relaxed);
	/* Release pairs with the acquire of every walk. */
	atomic_store_explicit(&subs->list, mn, memory_order_release);
	spin_unlock(&subs->lock);
	PROBE(notifier_join, mm, mn);
}

/* Off the list, if it is on it.  Context: subs->lock held. */
static void unlink(struct mmu_notifier_subscriptions *subs,
		   struct mmu_notifier *mn)
{
	struct mmu_notifier *_Atomic *at = &subs->list;
	struct mmu_notifier *here;

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

	if (ret)
		return ret;
	join(mm->subscriptions, mn, mm);
	windows_drain(mm);
	return 0;
}

int mmu_notifier_register(struct mmu_notifier *mn, struct mm *mm)
{
	int ret;

	rw_write_lock(&mm->lock);
	ret = mmu_notifier_register_locked(mn, mm);
	rw_write_unlock(&mm->lock);
	return ret;
}

/* Context: an SRCU reader. */
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

/* The listed one with these ops, with one more user; NULL if there is none. */
static struct mmu_notifier *find_get(struct mmu_notifier_subscriptions *subs,
				     const struct mmu_notifier_ops *ops,
				     int *ret)
{
	struct mmu_notifier *mn;

	spin_lock(&subs->lock);
	for_each_listener (mn, subs)
		if (mn->ops == ops)
			break;
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

	if (ret)
		return ret;
	*out = find_get(mm->subscriptions, ops, &ret);
	if (*out)
		return ret;
	*out = ops->alloc_notifier(mm);
	if (!*out)
		return err(ENOMEM);
	(*out)->ops = ops;
	return mmu_notifier_register_locked(*out, mm);
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
	srcu_barrier(&notifier_srcu);
}

/* ---- exit --------------------------------------------------------------- */

static void unlink_all(struct mmu_notifier_subscriptions *subs)
{
	struct mmu_notifier *mn;

	spin_lock(&subs->lock);
	for_each_listener (mn, subs)
		mn->listed = false;
	atomic_store_explicit(&subs->list, NULL, memory_order_release);
	spin_unlock(&subs->lock);
}

void mmu_notifier_release(struct mm *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->subscriptions;
	struct mmu_notifier_range range;
	struct mmu_notifier *mn;
	unsigned reader;

	if (!subs)
		return;
	mmu_notifier_range_init(&range, MMU_NOTIFY_RELEASE, mm, 0, UINT64_MAX);
	mmu_notifier_release_intervals(&range);
	reader = srcu_read_lock(&notifier_srcu);
	for_each_listener (mn, subs)
		release_once(mn, mm);
	srcu_read_unlock(&notifier_srcu, reader);
	unlink_all(subs);
	/* unregister() may be inside release(): nothing is freed before that. */
	synchronize_srcu(&notifier_srcu);
}
