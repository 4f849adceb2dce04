/* SPDX-License-Identifier: MIT */
/*
 * thread.h - preemptive kernel threads on all CPUs
 *
 * One run queue, first in, first out, with an affinity mask per thread; the
 * tick preempts.  A thread may be bound to an address space: the hook loads it
 * whenever the thread gets a CPU, and the kernel's own table when it leaves,
 * so that the set of CPUs that have an mm loaded is exact at every moment.
 */
#pragma once

#include "kernel/lock.h"

struct mm;

#define THREADS_MAX 128
#define TICK_HZ     250

enum thread_state {
	THREAD_FREE,
	THREAD_READY, /* running, or in the run queue                       */
	THREAD_BLOCKED,
	THREAD_DEAD,
};

/* Key: (S) the run queue's lock  (T) the thread itself  (I) immutable */
struct thread {
	void *sp;                 /* (S) while it does not run                */
	void *stack;              /* (I) lowest byte                          */
	const char *name;         /* (I)                                      */
	uint32_t id;              /* (I)                                      */
	enum thread_state state;  /* (S), and (T) to READY -> BLOCKED         */
	bool on_cpu, queued;      /* (S)                                      */
	uint64_t affinity;        /* (S) bit i: may run on CPU i              */
	uint64_t wake_at;         /* (S) nanoseconds; 0: does not sleep       */
	TAILQ_ENTRY(thread) link; /* (S) run queue or sleepers               */
	void (*fn)(void *arg);    /* (I)                                      */
	void *arg;                /* (I)                                      */
	struct mm *mm;            /* (T) bound address space                  */
	struct thread *joiner;    /* (S) the thread in thread_join()          */
	uint32_t inject;          /* (T) allocations until one fails; 0: off  */
	bool injected;            /* (T)                                      */
	char *catch;              /* (T) a panic only ends this thread        */
	size_t catch_len;         /* (I)                                      */
	bool caught;              /* (T)                                      */
	bool explored;   /* (S) kernel/explore.h decides when it runs */
	unsigned n_held; /* (T)                                      */
	struct held_lock held[LOCKS_HELD]; /* (T) checking build             */
};

/* Returns all threads but the idle ones.  For display: they change meanwhile. */
extern struct thread threads[THREADS_MAX];

static inline struct thread *current(void)
{
	return cpu_current();
}

/*
 * Install the handlers of the tick and of rescheduling, on the boot CPU, once.
 * The tick starts on each CPU in thread_idle_forever().
 */
void thread_init(void);

/*
 * Let idle CPUs spin instead of halting.  Context: before thread_idle_forever() of
 * any CPU.  Source: Linux's idle=poll.  QEMU's clock under -icount may lose
 * instructions while the last CPU halts (tests/README.md, "Twice the same").
 */
void thread_idle_polls(void);

/* Start the tick; the calling CPU's context becomes its idle thread. */
noreturn void thread_idle_forever(void);

/* Set the functions that allocate and free stacks (of KSTACK_SIZE; lowest byte). */
void thread_set_stack_allocator(void *(*alloc)(void), void (*free)(void *));
void thread_set_stack_size(size_t bytes);

/* Sets the hook that loads an address space: called with preemption off when next, or
 * NULL, becomes the mm of this CPU. */
void thread_set_mm_switch(void (*fn)(struct mm *next));

/* Sets the hook called in every tick of every CPU, in interrupt context. */
void thread_set_tick(void (*fn)(void));

/*
 * Make a thread that runs fn(arg) on any CPU of the mask, from now on.
 * Returns NULL if the table is full or there is no stack.  Context: may sleep.
 */
struct thread *thread_create_on(uint64_t cpus, const char *name,
				void (*fn)(void *arg), void *arg);
struct thread *thread_create(const char *name, void (*fn)(void *arg),
			     void *arg);

/* Waits until the thread has ended and frees it.  Exactly once for every thread.
 * Context: may sleep. */
void thread_join(struct thread *t);

/* Ends the calling thread; unbinds its mm before thread_join() returns. */
noreturn void thread_exit(void);

/* Let others run; sleep at least ns.  Contexts that may sleep. */
void yield(void);
void sleep_ns(uint64_t ns);

/* Bind the calling thread to mm and load it now. */
void thread_bind_mm(struct mm *mm);

/* Threads that exist, idle ones not counted. */
unsigned thread_count(void);

/* ---- for locks and wait queues ----------------------------------------- */

/*
 * The loop: under the lock that the waker takes, thread_prepare_block(); drop
 * the lock; thread_block().  A thread_wake() in between is not lost.
 */
void thread_prepare_block(void);
void thread_cancel_block(void);
void thread_block(void);
void thread_block_until(uint64_t ns); /* of clock_ns(); 0: no limit */
void thread_wake(struct thread *t);
