/* SPDX-License-Identifier: MIT */
/*
 * thread.h - preemptive kernel threads on all CPUs
 *
 * One run queue, first in, first out, with an affinity mask per thread; the
 * tick preempts.  A thread may be bound to an address space: the hook loads it
 * whenever the thread gets a CPU, and the kernel's own table when it leaves,
 * so that "who has this mm loaded" is exact at every moment.
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
	struct thread *joiner;    /* (S) who waits for the end                */
	uint32_t inject;          /* (T) allocations until one fails; 0: off  */
	bool injected;            /* (T)                                      */
	char *catch;              /* (T) a panic only ends this thread        */
	size_t catch_len;         /* (I)                                      */
	bool caught;              /* (T)                                      */
	unsigned n_held;          /* (T)                                      */
	struct held_lock held[LOCKS_HELD]; /* (T) checking build             */
};

/* All but the idle ones.  For looking only: what runs changes meanwhile. */
extern struct thread threads[THREADS_MAX];

static inline struct thread *current(void)
{
	return cpu_current();
}

/* Make the boot CPU's present context a thread, start the tick.  Once. */
void thread_init(void);

/* The calling CPU's present context becomes its idle thread; never returns. */
noreturn void thread_idle_forever(void);

/* Where stacks (of KSTACK_SIZE, lowest byte) come from and go. */
void thread_set_stack_allocator(void *(*alloc)(void), void (*free)(void *));
void thread_set_stack_size(size_t bytes);

/* Called, preemption off, when next becomes the mm of this CPU (or NULL). */
void thread_set_mm_switch(void (*fn)(struct mm *next));

/* Called in every tick of CPU 0, in interrupt context. */
void thread_set_tick(void (*fn)(void));

/*
 * A thread that runs fn(arg) on any CPU of the mask, at once.
 * Returns NULL when the table is full or no stack is left.
 */
struct thread *thread_create_on(uint64_t cpus, const char *name,
				void (*fn)(void *arg), void *arg);
struct thread *thread_create(const char *name, void (*fn)(void *arg),
			     void *arg);

/* Wait until it has ended; frees it.  Exactly once for every thread. */
void thread_join(struct thread *t);

/* End the calling thread: unbinds its mm before anybody learns of it. */
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
