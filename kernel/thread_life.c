/* SPDX-License-Identifier: MIT */
/*
 * thread_life.c - threads are created, end, and are joined
 */
#include "arch/context.h"
#include "arch/smp.h"
#include "kernel/panic.h"
#include "kernel/sched_priv.h"
#include "kernel/thread.h"

struct thread threads[THREADS_MAX];
static unsigned threads_used; /* the run queue's lock                       */

/* Registered once at boot. */
static void *(*stack_alloc)(void);
static void (*stack_free)(void *);
static size_t stack_size;

void thread_set_stack_allocator(void *(*alloc)(void), void (*free)(void *))
{
	stack_alloc = alloc;
	stack_free = free;
}

void thread_set_stack_size(size_t bytes)
{
	stack_size = bytes;
}

static struct thread *slot_take(void)
{
	uint64_t flags = sched_enter();
	struct thread *t = NULL;

	for (unsigned i = 0; i < THREADS_MAX && !t; i++)
		if (threads[i].state == THREAD_FREE)
			t = &threads[i];
	if (t) {
		static uint32_t next_id; /* (S) */

		*t = (struct thread){ .state = THREAD_BLOCKED,
				      .id = ++next_id };
		WRITE_ONCE(threads_used, threads_used + 1);
	}
	sched_leave(flags);
	return t;
}

static void slot_free(struct thread *t)
{
	uint64_t flags = sched_enter();

	t->state = THREAD_FREE;
	WRITE_ONCE(threads_used, threads_used - 1);
	sched_leave(flags);
}

unsigned thread_count(void)
{
	return READ_ONCE(threads_used);
}

static void thread_main(void *arg)
{
	struct thread *t = arg;

	switch_begin();
	irq_enable();
	t->fn(t->arg);
	thread_exit();
}

struct thread *thread_create_on(uint64_t cpus_mask, const char *name,
				void (*fn)(void *arg), void *arg)
{
	struct thread *t = slot_take();

	if (!t)
		return NULL;
	t->stack = stack_alloc();
	if (!t->stack) {
		slot_free(t);
		return NULL;
	}
	assert(cpus_mask & smp_online_mask());
	t->name = name;
	t->affinity = cpus_mask;
	t->fn = fn;
	t->arg = arg;
	t->sp = context_make((char *)t->stack + stack_size, thread_main, t);
	thread_wake(t);
	return t;
}

struct thread *thread_create(const char *name, void (*fn)(void *arg), void *arg)
{
	return thread_create_on(~UINT64_C(0), name, fn, arg);
}

void thread_exit(void)
{
	struct thread *t = current();

	assert(t->n_held == 0);
	thread_bind_mm(NULL);
	sched_enter();
	WRITE_ONCE(t->state, THREAD_DEAD);
	if (t->joiner)
		make_ready(t->joiner);
	switch_next(false);
	panic("a dead thread runs");
}

void thread_join(struct thread *t)
{
	uint64_t flags;

	might_sleep();
	flags = sched_enter();
	assert(!t->joiner);
	t->joiner = current();
	while (t->state != THREAD_DEAD) {
		WRITE_ONCE(current()->state, THREAD_BLOCKED);
		switch_next(false);
	}
	/* The lock came to us after its last switch: it is off its stack. */
	assert(!t->on_cpu);
	sched_leave(flags);
	stack_free(t->stack);
	slot_free(t);
}
