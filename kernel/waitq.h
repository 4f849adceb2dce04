/* SPDX-License-Identifier: MIT */
/*
 * waitq.h - sleep until a condition holds
 *
 *	wait_event(&q, READ_ONCE(done));	one side
 *	WRITE_ONCE(done, true); wake_all(&q);	the other
 */
#pragma once

#include "arch/clock.h"
#include "kernel/thread.h"

struct waiter {
	TAILQ_ENTRY(waiter) link;
	struct thread *thread;
	bool queued;
};

struct waitq {
	struct spinlock lock; /* RANK_WAIT */
	TAILQ_HEAD(, waiter) waiters;
};

void waitq_init(struct waitq *q);

/* Queue up, if w is not queued, and prepare to block; undo. */
void waitq_prepare(struct waitq *q, struct waiter *w);
void waitq_finish(struct waitq *q, struct waiter *w);

/* Wake the first waiter, all waiters.  Context: any. */
void wake_one(struct waitq *q);
void wake_all(struct waitq *q);

/*
 * The same until clock_ns() reaches end, by the next tick; its value is whether
 * the condition held at last.  For what may never come: a device.
 */
#define wait_event_until(q, cond, end)                   \
	({                                               \
		uint64_t end_ = (end);                   \
		struct waiter w_ = { .queued = false };  \
		bool held_;                              \
		might_sleep();                           \
		for (;;) {                               \
			waitq_prepare(q, &w_);           \
			held_ = (cond);                  \
			if (held_ || clock_ns() >= end_) \
				break;                   \
			thread_block_until(end_);        \
			waitq_finish(q, &w_);            \
		}                                        \
		waitq_finish(q, &w_);                    \
		held_;                                   \
	})

/* The condition is evaluated after queueing: a wake-up cannot be missed.  After a
 * wake-up it is evaluated first, since it mostly holds then. */
#define wait_event(q, cond)                             \
	do {                                            \
		struct waiter w_ = { .queued = false }; \
		might_sleep();                          \
		for (;;) {                              \
			waitq_prepare(q, &w_);          \
			if (cond)                       \
				break;                  \
			thread_block();                 \
			if (cond)                       \
				break;                  \
		}                                       \
		waitq_finish(q, &w_);                   \
	} while (0)
