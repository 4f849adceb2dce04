/* SPDX-License-Identifier: MIT */
/*
 * srcu.h - read-copy update whose readers may sleep
 *
 *	i = srcu_read_lock(&s);			unlink(x);
 *	x = READ_ONCE(head); ... sleep ...	synchronize_srcu(&s);
 *	srcu_read_unlock(&s, i);		free(x);
 *
 * Who cannot wait, a reader for one, leaves the last step to call_srcu().
 *
 * After McKenney, "Sleepable RCU" (2006), and Linux's kernel/rcu/srcutree.c,
 * without its tree.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/waitq.h"

/*
 * Entries and exits, counted apart by each CPU: a reader that moved leaves on
 * another CPU than it came, only the sums mean anything.
 */
struct srcu_cpu {
	_Atomic uint64_t entered[2], left[2];
} __attribute__((aligned(64)));

struct srcu_head;
typedef void srcu_fn(struct srcu_head *head);

/* Lies in the object that is to be freed. */
struct srcu_head {
	struct srcu_head *next;
	srcu_fn *fn;
};

/* Key: (A) atomic  (S) sync */
struct srcu {
	struct srcu_cpu cpu[MAX_CPUS]; /* (A)                                */
	_Atomic uint32_t side;    /* (A) newcomers count here; writers (S) */
	_Atomic uint32_t waiting; /* (A) somebody wants to be woken       */
	struct rwsem sync;        /* one grace period at a time           */
	struct waitq drained;
	struct srcu_head *_Atomic later; /* (A) the newest first          */
	struct waitq called, passed;     /* the worker; srcu_barrier()    */
};

void srcu_init(struct srcu *s, enum lock_rank rank, const char *name);

/* Any context, also nested; what it returns goes to srcu_read_unlock(). */
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
 * Wait until every reader has left that was inside when we were called; later
 * ones are not waited for.  May sleep; never inside a reader of s.
 */
void synchronize_srcu(struct srcu *s);

/* ---- for those who cannot wait ------------------------------------------ */

/*
 * Run fn(head) in the worker's thread when every reader has left that is inside
 * now.  Any context, a reader of s too; fn may sleep.
 */
void call_srcu(struct srcu *s, struct srcu_head *head, srcu_fn *fn);

/* Wait until what was handed to call_srcu() before has run; as synchronize. */
void srcu_barrier(struct srcu *s);

/*
 * Wait for a call, then serve all that there are.  srcu_worker() does that for
 * ever: the main function of a thread, one for each srcu that is called.
 */
void srcu_serve(struct srcu *s);
void srcu_worker(void *srcu);
