/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the record of held locks, and the slow paths of the sleeping lock
 *
 * Hand-off: the thread that releases a lock with waiters gives it to the first in
 * the queue (or to all readers at its head) before it wakes them, so that no other
 * thread can take it between the wake-up and the moment they run.
 */
#include "kernel/lock.h"
#include "arch/cpu.h"
#include "kernel/explore.h"
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

bool may_sleep(void)
{
	return !cpu_current() ||
	       (!cpu_preempt_count() && !cpu_irq_depth() && irqs_enabled());
}

/* Panic because of the context in which a lock is taken. */
static noinline noreturn void wrong_context(const char *name,
					    enum lock_rank rank, bool spinning)
{
	if (!spinning)
		might_sleep();
	panic("lock context: %s (rank %d) %s", name, (int)rank,
	      rank >= RANK_IRQ ? "with interrupts on" : "in an interrupt");
}

/* Inline, as each lock that is taken comes here, and an emulator is slow at calls. */
static inline bool right_context(enum lock_rank rank, bool spinning)
{
	if (!spinning)
		return may_sleep();
	if (rank >= RANK_IRQ)
		return !irqs_enabled();
	return !cpu_irq_depth();
}

static void held_add(struct thread *t, const void *lock, const char *name,
		     enum lock_rank rank, bool spinning)
{
	assert(t->n_held < LOCKS_HELD);
	t->held[t->n_held++] = (struct held_lock){ lock, name, rank, spinning };
}

/*
 * Before the thread waits for a lock: another may take it first.  Locks that order
 * what mm and the IOMMU do are points, those of allocators and test machinery are
 * not.  A spin lock is free when this returns, and nothing runs in between.
 */
static void explore_lock(const void *lock, const char *name, bool spinning,
			 enum lock_rank rank)
{
	const struct spinlock *spin = lock;

	if (rank <= RANK_DOMAIN)
		explorer->point(name, (uint64_t)lock, 0);
	while (spinning && atomic_load(&spin->taken))
		explorer->pause();
}

/* Panic because a lock is taken under h. */
static noinline noreturn void wrong_order(const void *lock, const char *name,
					  enum lock_rank rank,
					  const struct held_lock *h)
{
	panic("lock order: %s (rank %d, %p) taken under %s (rank %d, %p)", name,
	      (int)rank, (void *)lock, h->name, (int)h->rank, (void *)h->lock);
}

void lock_record(const void *lock, const char *name, enum lock_rank rank,
		 bool spinning, bool nested)
{
	struct thread *t = recorder();

	if (cpu_current() && !right_context(rank, spinning))
		wrong_context(name, rank, spinning);
	if (!t)
		return;
	for (unsigned i = 0; i < t->n_held; i++) {
		struct held_lock *h = &t->held[i];

		if (unlikely(h->rank >= rank) &&
		    !(nested && h->rank == rank && h->lock != lock))
			wrong_order(lock, name, rank, h);
	}
	if (rank < RANK_IRQ && explored())
		explore_lock(lock, name, spinning, rank);
	held_add(t, lock, name, rank, spinning);
}

void lock_record_try(const void *lock, const char *name, enum lock_rank rank,
		     bool spinning)
{
	struct thread *t = recorder();

	if (cpu_current() && spinning && !right_context(rank, spinning))
		wrong_context(name, rank, spinning);
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
	/* The newest first: it is the one that is asked for most often. */
	for (unsigned i = t->n_held; i-- > 0;)
		if (t->held[i].lock == lock)
			return true;
	return false;
}

bool locks_below(enum lock_rank rank)
{
	struct thread *t = recorder();

	for (unsigned i = 0; t && i < t->n_held; i++)
		if (t->held[i].rank >= rank)
			return false;
	return true;
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
 * Give the lock to the first waiters.  Context: l->wait held, RW_WAITERS set, so that
 * no other thread can take the lock meanwhile; it can only be released, and the thread
 * that releases it waits for l->wait and then comes here.
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
 * Spin for a while before sleeping: most holders release the lock within a few hundred
 * instructions, and a sleep costs two switches and an IPI.  Not if threads are queued.
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

	if (cpu_count() > 1 && !explored() && rw_spin(l, write))
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
