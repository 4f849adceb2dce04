/* SPDX-License-Identifier: MIT */
/*
 * srcu.h - read-copy update whose readers may sleep
 *
 *	i = srcu_read_lock(&s);			unlink(x);
 *	x = READ_ONCE(head); ... sleep ...	synchronize_srcu(&s);
 *	srcu_read_unlock(&s, i);		free(x);
 *
 * A thread that cannot wait, for instance a reader, passes the last step to
 * call_srcu().
 *
 * After McKenney, "Sleepable RCU" (2006), and Linux's kernel/rcu/srcutree.c,
 * without its tree.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/waitq.h"

/*
 * Entries and exits, counted separately on each CPU: a reader that migrates exits on
 * another CPU than it entered, so only the sums have a meaning.
 */
struct srcu_cpu {
	_Atomic uint64_t entered[2], left[2];
} __attribute__((aligned(64)));

struct srcu_head;
typedef void srcu_fn(struct srcu_head *head);

/* Embedded in the object that is to be freed. */
struct srcu_head {
	struct srcu_head *next;
	srcu_fn *fn;
};

/* Key: (A) atomic  (S) sync */
struct srcu {
	struct srcu_cpu cpu[MAX_CPUS]; /* (A)                                */
	_Atomic uint32_t side;    /* (A) new readers count here; (S) to write */
	_Atomic uint32_t waiting; /* (A) a thread waits for readers       */
	struct rwsem sync;        /* one grace period at a time           */
	struct waitq drained;
	struct srcu_head *_Atomic later; /* (A) the newest first          */
	struct waitq called, passed;     /* the worker; srcu_barrier()    */
};

void srcu_init(struct srcu *s, enum lock_rank rank, const char *name);

/* Enters a reader.  Returns the argument of srcu_read_unlock().  Context: any, also
 * nested. */
static inline unsigned srcu_read_lock(struct srcu *s)
{
	unsigned side = atomic_load(&s->side) & 1;

	/* Sequentially consistent: nothing is read before we are counted. */
	atomic_fetch_add(&s->cpu[cpu_id()].entered[side], 1);
	return side;
}

static inline void srcu_read_unlock(struct srcu *s, unsigned side)
{
	atomic_fetch_add(&s->cpu[cpu_id()].left[side], 1);
	if (unlikely(atomic_load(&s->waiting)))
		wake_all(&s->drained);
}

/*
 * Wait until every reader that was inside at the call has exited; later readers are
 * not waited for.  Context: may sleep; not inside a reader of s.
 */
void synchronize_srcu(struct srcu *s);

/* ---- without waiting ----------------------------------------------------- */

/*
 * Run fn(head) in the worker's thread when every reader that is inside now has
 * exited.  fn may sleep.  Context: any, also inside a reader of s.
 */
void call_srcu(struct srcu *s, struct srcu_head *head, srcu_fn *fn);

/* Waits until all functions of earlier call_srcu() have run.  Context: as
 * synchronize_srcu(). */
void srcu_barrier(struct srcu *s);

/*
 * Wait for calls, then run them all.  srcu_worker() repeats that forever: the main
 * function of a thread, one for each srcu with calls.
 */
void srcu_serve(struct srcu *s);
void srcu_worker(void *srcu);
