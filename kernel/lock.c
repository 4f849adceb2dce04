/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the record of held locks, and the slow paths of the sleeping lock
 *
 * Hand-off: whoever releases a lock with waiters gives it to the first in the
 * queue (or to all readers at its head) before waking them, so that nobody can
 * overtake between the wake-up and the running.
 */
#include "kernel/lock.h"
#include "arch/cpu.h"
#include "kernel/panic.h"
#include "kernel/thread.h"

#define RW_SPINS 200

struct rw_waiter {
	TAILQ_ENTRY(rw_waiter) link;
	struct thread *thread;
	bool write, granted; /* under lock->wait */
};

/*
 * Handlers have no list of their own.  What they may take is spinning and of
 * RANK_IRQ or above, and such locks are never held with interrupts on: so a
 * handler cannot meet one that its own CPU holds.
 */
static struct thread *recorder(void)
{
	return cpu_irq_depth() ? NULL : cpu_current();
}

static void check_context(const char *name, enum lock_rank rank, bool spinning)
{
	if (!spinning)
		might_sleep();
	else if (rank >= RANK_IRQ && irqs_enabled())
		panic("lock context: %s (rank %d) with interrupts on", name,
		      (int)rank);
	else if (rank < RANK_IRQ && cpu_irq_depth())
		panic("lock context: %s (rank %d) in an interrupt", name,
		      (int)rank);
}

static void held_add(struct thread *t, const void *lock, const char *name,
		     enum lock_rank rank, bool spinning)
{
	assert(t->n_held < LOCKS_HELD);
	t->held[t->n_held++] = (struct held_lock){ lock, name, rank, spinning };
}

void lock_record(const void *lock, const char *name, enum lock_rank rank,
		 bool spinning, bool nested)
{
	struct thread *t = recorder();

	if (cpu_current())
		check_context(name, rank, spinning);
	if (!t)
		return;
	for (unsigned i = 0; i < t->n_held; i++) {
		struct held_lock *h = &t->held[i];

		if (h->rank < rank ||
		    (nested && h->rank == rank && h->lock != lock))
			continue;
		panic("lock order: %s (rank %d, %p) taken under %s (rank %d, "
		      "%p)",
		      name, (int)rank, (void *)lock, h->name, (int)h->rank,
		      (void *)h->lock);
	}
	held_add(t, lock, name, rank, spinning);
}

void lock_record_try(const void *lock, const char *name, enum lock_rank rank,
		     bool spinning)
{
	struct thread *t = recorder();

	if (cpu_current() && spinning)
		check_context(name, rank, spinning);
	if (t)
		held_add(t, lock, name, rank, spinning);
}

void lock_forget(const void *lock, const char *name)
{
	struct thread *t = recorder();
	unsigned i;

	if (!t)
		return;
	for (i = t->n_held; i-- > 0;)
		if (t->held[i].lock == lock)
			break;
	if (i >= t->n_held)
		panic("unlock: %s is not held by this thread", name);
	for (; i + 1 < t->n_held; i++)
		t->held[i] = t->held[i + 1];
	t->n_held--;
}

bool lock_recorded(const void *lock)
{
	struct thread *t = recorder();

	if (!t)
		return true;
	for (unsigned i = 0; i < t->n_held; i++)
		if (t->held[i].lock == lock)
			return true;
	return false;
}

void might_sleep(void)
{
	if (cpu_preempt_count() || cpu_irq_depth() || !irqs_enabled())
		panic("sleeping where it is not allowed "
		      "(preempt %u, irq %u, interrupts %s)",
		      cpu_preempt_count(), cpu_irq_depth(),
		      irqs_enabled() ? "on" : "off");
}

void rw_init(struct rwsem *l, enum lock_rank rank, const char *name)
{
	atomic_init(&l->state, 0);
	spin_init(&l->wait, RANK_WAIT, name);
	TAILQ_INIT(&l->queue);
	l->rank = rank;
	l->name = name;
}

/*
 * Give the lock to those whose turn it is.  Context: l->wait held, RW_WAITERS
 * set, so that no newcomer can take the lock behind our back; it can only be
 * released, and who releases it comes here after us.
 */
static void rw_grant(struct rwsem *l)
{
	struct rw_waiter *w;

	while ((w = TAILQ_FIRST(&l->queue))) {
		uint64_t s = atomic_load(&l->state) & ~RW_WAITERS;

		if (w->write ? s != 0 : (s & RW_WRITER) != 0)
			return;
		atomic_fetch_add(&l->state, w->write ? RW_WRITER : 1);
		TAILQ_REMOVE(&l->queue, w, link);
		w->granted = true;
		thread_wake(w->thread);
	}
	atomic_fetch_and(&l->state, ~RW_WAITERS);
}

/*
 * Most holders are gone within a few hundred instructions, and a sleep costs
 * two switches and an IPI: look again for a while.  Not past others who queue.
 */
static bool rw_spin(struct rwsem *l, bool write)
{
	for (unsigned i = 0; i < RW_SPINS; i++) {
		uint64_t s = atomic_load(&l->state);

		if (s & RW_WAITERS)
			return false;
		if (!(write ? s : s & RW_WRITER) &&
		    atomic_compare_exchange_strong(&l->state, &s,
						   write ? RW_WRITER : s + 1))
			return true;
		cpu_pause();
	}
	return false;
}

void rw_lock_slow(struct rwsem *l, bool write)
{
	struct rw_waiter w = { .thread = current(), .write = write };
	uint64_t flags;

	if (cpu_count() > 1 && rw_spin(l, write))
		return;
	flags = spin_lock_irq(&l->wait);
	atomic_fetch_or(&l->state, RW_WAITERS);
	TAILQ_INSERT_TAIL(&l->queue, &w, link);
	rw_grant(l);
	while (!w.granted) {
		thread_prepare_block();
		spin_unlock_irq(&l->wait, flags);
		thread_block();
		flags = spin_lock_irq(&l->wait);
	}
	spin_unlock_irq(&l->wait, flags);
}

void rw_unlock_slow(struct rwsem *l)
{
	uint64_t flags = spin_lock_irq(&l->wait);

	if (!TAILQ_EMPTY(&l->queue))
		rw_grant(l);
	spin_unlock_irq(&l->wait, flags);
}
