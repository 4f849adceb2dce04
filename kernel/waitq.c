/* SPDX-License-Identifier: MIT */
/*
 * waitq.c - queues of sleepers
 */
#include "kernel/waitq.h"

void waitq_init(struct waitq *q)
{
	spin_init(&q->lock, RANK_WAIT, "waitq");
	TAILQ_INIT(&q->waiters);
}

void waitq_prepare(struct waitq *q, struct waiter *w)
{
	uint64_t flags = spin_lock_irq(&q->lock);

	if (!w->queued) {
		w->thread = current();
		w->queued = true;
		TAILQ_INSERT_TAIL(&q->waiters, w, link);
	}
	thread_prepare_block();
	spin_unlock_irq(&q->lock, flags);
}

void waitq_finish(struct waitq *q, struct waiter *w)
{
	uint64_t flags = spin_lock_irq(&q->lock);

	thread_cancel_block();
	if (w->queued)
		TAILQ_REMOVE(&q->waiters, w, link);
	w->queued = false;
	spin_unlock_irq(&q->lock, flags);
}

static bool wake_first(struct waitq *q)
{
	struct waiter *w = TAILQ_FIRST(&q->waiters);

	if (!w)
		return false;
	TAILQ_REMOVE(&q->waiters, w, link);
	w->queued = false;
	thread_wake(w->thread);
	return true;
}

void wake_one(struct waitq *q)
{
	uint64_t flags = spin_lock_irq(&q->lock);

	wake_first(q);
	spin_unlock_irq(&q->lock, flags);
}

void wake_all(struct waitq *q)
{
	uint64_t flags = spin_lock_irq(&q->lock);

	while (wake_first(q))
		;
	spin_unlock_irq(&q->lock, flags);
}
