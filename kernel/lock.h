/* SPDX-License-Identifier: MIT */
/*
 * lock.h - locks with a rank; taking them out of order panics
 *
 * enum lock_rank is the lock order of the whole kernel, outermost first.  A
 * thread may take a lock only if its rank is above all that it holds; a
 * sleeping lock only while it holds no spinning one.  The checking build
 * (CONFIG_CHECK) keeps a list per thread and panics with both names.
 *
 * Spin locks leave the interrupt flag alone, so that a CPU that waits for one
 * still answers shootdowns; what interrupt handlers take too is taken by
 * spin_lock_irq() everywhere.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "arch/cpu.h"
#include "kernel/list.h"

enum lock_rank {
	RANK_TEST = 1, /* tests' own, outermost                           */
	RANK_HUGE_RUN, /* start and stop of the scanner of collapse (sleeping) */
	RANK_HUGE_SCAN, /* that scanner's cursor (sleeping)               */
	RANK_KSWAPD, /* start and stop of the thread that reclaims (sleeping) */
	RANK_GRACE,  /* waiting for an SRCU's readers (sleeping)        */
	RANK_MM_LIST,  /* mm_list_lock   all address spaces (sleeping)    */
	RANK_KSM_RUN,  /* start and stop of the scanner's thread (sleeping) */
	RANK_KSM,      /* the KSM scanner and its rmap_items (sleeping)   */
	RANK_MM,       /* mm->lock       regions (sleeping)               */
	RANK_LINKS,    /* anon_vmas of merged pages (sleeping)            */
	RANK_RMAP,     /* anon_vma root, object: the reverse map (sleeping) */
	RANK_LOGS,     /* draining of an IOMMU's logs (sleeping)          */
	RANK_IOMMU,    /* devices and their domains (sleeping)            */
	RANK_TRANSFER, /* an engine whose transfers take long (sleeping)  */
	RANK_PT,       /* mm->pt_lock    entries                          */
	RANK_SHADOW, /* shadow->lock   may an entry be copied now?  A guest's table */
	RANK_DOMAIN,   /* domain->lock   a table of its own               */
	RANK_PPR,      /* page requests that wait                         */
	RANK_NOTIFIER, /* notifiers of an mm, open invalidations          */
	RANK_OBJECTS,  /* the list of objects of shared memory            */
	RANK_SWAP,     /* swap slots and the swap cache                   */
	RANK_STABLE,   /* the stable tree; the list of mergeable mms      */
	RANK_BLOCK,    /* block_lock     blocks that are whole            */
	RANK_POOL,     /* pool->lock     one kind of objects              */
	RANK_KMAP,     /* kmap_lock      kernel tables, stack slots       */
	RANK_PMM,      /* the free lists                                  */
	RANK_DEVICE,   /* an engine that does not sleep                   */
	RANK_COMMAND,  /* an IOMMU's command ring                         */
	RANK_CHECKER,  /* checkers of tests                               */
	RANK_PCI,      /* config ports, vectors              (irq)        */
	RANK_MODEL,    /* a strict IOMMU in software         (irq)        */
	RANK_SERIAL,   /* bytes received                     (irq)        */
	RANK_WAIT,     /* wait queues                        (irq)        */
	RANK_SCHED,    /* the run queue                      (irq)        */
	RANK_CONSOLE,  /* serial line, last: anything may print (irq)     */
};

/* Ranks from here on are taken with interrupts off, so handlers may take them. */
#define RANK_IRQ RANK_PCI

/* ---- preemption -------------------------------------------------------- */

/* Reschedules, if that was requested while preemption was off. */
void preempt_check(void);

static inline void preempt_disable(void)
{
	cpu_preempt_add();
}

static inline void preempt_enable(void)
{
	cpu_preempt_sub();
	if (unlikely(cpu_need_resched()))
		preempt_check();
}

/* Panics where sleeping is not allowed: preemption or interrupts off, or in an
 * interrupt. */
void might_sleep(void);

/* Returns whether sleeping is allowed, for require().  True before the first thread
 * runs. */
bool may_sleep(void);

/* ---- the record of the checking build ---------------------------------- */

#define LOCKS_HELD (CONFIG_CHECK ? 16 : 1) /* not recorded in a release */

struct held_lock {
	const void *lock;
	const char *name;
	enum lock_rank rank;
	bool spinning;
};

/* Records a lock before waiting for it.  nested: one more of a rank that is held is
 * allowed. */
void lock_record(const void *lock, const char *name, enum lock_rank rank,
		 bool spinning, bool nested);
/* Records a lock that was taken without waiting, in any order. */
void lock_record_try(const void *lock, const char *name, enum lock_rank rank,
		     bool spinning);
void lock_forget(const void *lock, const char *name);
bool lock_recorded(const void *lock);

/*
 * Returns whether the thread holds no lock of this rank or a later one, so that it
 * may take one of this rank.  For require(): true in a release, which keeps no
 * record, and in an interrupt.
 */
bool locks_below(enum lock_rank rank);

/* ---- spin lock --------------------------------------------------------- */

/*
 * Not fair: the first CPU that runs gets the lock.  A ticket lock would wait for the
 * next CPU in line; under an emulator with more CPUs than the host that one is often
 * not running, and every hand-over costs a time slice of the host.
 */
struct spinlock {
	_Atomic uint32_t taken;
	enum lock_rank rank;
	const char *name;
};

#define SPINLOCK_INIT(rank_, name_) \
	((struct spinlock){ .rank = (rank_), .name = (name_) })

static inline void spin_init(struct spinlock *l, enum lock_rank rank,
			     const char *name)
{
	*l = SPINLOCK_INIT(rank, name);
}

/*
 * Take the lock if it is free.  Acquire pairs with the release in spin_free().  Compilers
 * make one bit-test-and-set of it, which leaves the answer in a flag: an exchange
 * would take two instructions more.
 */
static inline bool spin_try(struct spinlock *l)
{
	return !(atomic_fetch_or_explicit(&l->taken, 1, memory_order_acquire) &
		 1);
}

static inline void spin_wait(struct spinlock *l)
{
	while (unlikely(!spin_try(l)))
		while (atomic_load_explicit(&l->taken, memory_order_relaxed))
			cpu_pause();
}

static inline void spin_free(struct spinlock *l)
{
	atomic_store_explicit(&l->taken, 0, memory_order_release);
}

static inline void spin_take(struct spinlock *l, bool nested)
{
	if (CONFIG_CHECK)
		lock_record(l, l->name, l->rank, true, nested);
	spin_wait(l);
}

static inline void spin_drop(struct spinlock *l)
{
	if (CONFIG_CHECK)
		lock_forget(l, l->name);
	spin_free(l);
}

static inline void spin_lock(struct spinlock *l)
{
	preempt_disable();
	spin_take(l, false);
}

/* Takes a second lock of a rank that is held: in a fork, the child's. */
static inline void spin_lock_nested(struct spinlock *l)
{
	preempt_disable();
	spin_take(l, true);
}

/* Takes the lock if it is free.  A trylock does not wait and so cannot deadlock: its
 * rank is not checked. */
static inline bool spin_trylock(struct spinlock *l)
{
	preempt_disable();
	if (!spin_try(l)) {
		preempt_enable();
		return false;
	}
	if (CONFIG_CHECK)
		lock_record_try(l, l->name, l->rank, true);
	return true;
}

static inline void spin_unlock(struct spinlock *l)
{
	spin_drop(l);
	preempt_enable();
}

/* Takes a lock that interrupt handlers take too, with interrupts off.  Returns the
 * flags for spin_unlock_irq(). */
static inline uint64_t spin_lock_irq(struct spinlock *l)
{
	uint64_t flags = irq_save();

	preempt_disable();
	spin_take(l, false);
	return flags;
}

static inline void spin_unlock_irq(struct spinlock *l, uint64_t flags)
{
	spin_drop(l);
	irq_restore(flags);
	preempt_enable();
}

/* Returns whether the lock is taken (checking build: by this thread). */
static inline bool spin_held(struct spinlock *l)
{
	if (CONFIG_CHECK)
		return lock_recorded(l);
	return atomic_load_explicit(&l->taken, memory_order_relaxed);
}

/* ---- sleeping reader-writer lock --------------------------------------- */

/*
 * Any number of readers or one writer.  A thread that cannot take the lock at once is
 * queued, in order of arrival: neither readers nor writers starve.
 */
#define RW_WRITER  (UINT64_C(1) << 32)
#define RW_WAITERS (UINT64_C(1) << 33) /* later threads queue too        */

struct rw_waiter;

struct rwsem {
	_Atomic uint64_t state; /* readers, RW_WRITER, RW_WAITERS           */
	struct spinlock wait;   /* RANK_WAIT: the queue                     */
	TAILQ_HEAD(, rw_waiter) queue;
	enum lock_rank rank;
	const char *name;
};

void rw_init(struct rwsem *l, enum lock_rank rank, const char *name);

/* Slow paths: queue and sleep; hand the lock to the first waiters. */
void rw_lock_slow(struct rwsem *l, bool write);
void rw_unlock_slow(struct rwsem *l);

static inline void rw_read_lock(struct rwsem *l)
{
	uint64_t s = atomic_load_explicit(&l->state, memory_order_relaxed);

	if (CONFIG_CHECK)
		lock_record(l, l->name, l->rank, false, false);
	if (unlikely(s & (RW_WRITER | RW_WAITERS)) ||
	    unlikely(!atomic_compare_exchange_strong_explicit(
		    &l->state, &s, s + 1, memory_order_acquire,
		    memory_order_relaxed)))
		rw_lock_slow(l, false);
}

/* Takes the lock if no writer holds or waits for it.  Never sleeps. */
static inline bool rw_read_trylock(struct rwsem *l)
{
	uint64_t s = atomic_load_explicit(&l->state, memory_order_relaxed);

	do {
		if (s & (RW_WRITER | RW_WAITERS))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&l->state, &s, s + 1,
							memory_order_acquire,
							memory_order_relaxed));
	if (CONFIG_CHECK)
		lock_record_try(l, l->name, l->rank, false);
	return true;
}

static inline bool rw_write_trylock(struct rwsem *l)
{
	uint64_t s = 0;

	if (!atomic_compare_exchange_strong_explicit(&l->state, &s, RW_WRITER,
						     memory_order_acquire,
						     memory_order_relaxed))
		return false;
	if (CONFIG_CHECK)
		lock_record_try(l, l->name, l->rank, false);
	return true;
}

static inline void rw_read_unlock(struct rwsem *l)
{
	uint64_t s;

	if (CONFIG_CHECK)
		lock_forget(l, l->name);
	s = atomic_fetch_sub_explicit(&l->state, 1, memory_order_release);
	if (unlikely(s & RW_WAITERS))
		rw_unlock_slow(l);
}

static inline void rw_write_lock(struct rwsem *l)
{
	uint64_t s = 0;

	if (CONFIG_CHECK)
		lock_record(l, l->name, l->rank, false, false);
	if (unlikely(!atomic_compare_exchange_strong_explicit(
		    &l->state, &s, RW_WRITER, memory_order_acquire,
		    memory_order_relaxed)))
		rw_lock_slow(l, true);
}

static inline void rw_write_unlock(struct rwsem *l)
{
	uint64_t s;

	if (CONFIG_CHECK)
		lock_forget(l, l->name);
	s = atomic_fetch_and_explicit(&l->state, ~RW_WRITER,
				      memory_order_release);
	if (unlikely(s & RW_WAITERS))
		rw_unlock_slow(l);
}

/* Return whether the lock is held, to write (checking build: by this thread). */
static inline bool rw_held(struct rwsem *l)
{
	if (CONFIG_CHECK)
		return lock_recorded(l);
	return atomic_load_explicit(&l->state, memory_order_relaxed) != 0;
}

static inline bool rw_held_write(struct rwsem *l)
{
	return rw_held(l) &&
	       (atomic_load_explicit(&l->state, memory_order_relaxed) &
		RW_WRITER);
}
