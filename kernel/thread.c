/* SPDX-License-Identifier: MIT */
/*
 * thread.c - one run queue, one lock, one place that switches
 *
 *            thread_create           schedule()
 *   FREE ----------------> READY <----------------> running (READY, on_cpu)
 *    ^                       ^                         |            |
 *    | join                  | thread_wake    block    |            | exit
 *    +---- DEAD              +------------- BLOCKED <--+            v
 *                                                                 DEAD
 *
 * The lock is held across the switch and released by whoever comes up on the
 * other side: nobody sees a thread that is half on a stack.  on_cpu says that
 * its registers are not saved yet; such a thread is never in the queue.
 *
 * A thread that is preempted between thread_prepare_block() and thread_block()
 * is BLOCKED and in the queue: it must get to its thread_block() itself.
 */
#include "kernel/thread.h"
#include "arch/clock.h"
#include "arch/context.h"
#include "arch/lapic.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "kernel/panic.h"

static struct spinlock sched_lock = SPINLOCK_INIT(RANK_SCHED, "run queue");
static TAILQ_HEAD(, thread) ready = TAILQ_HEAD_INITIALIZER(ready);
static TAILQ_HEAD(, thread) sleepers = TAILQ_HEAD_INITIALIZER(sleepers);

struct thread threads[THREADS_MAX];
static struct thread idle[MAX_CPUS];
static struct mm *loaded[MAX_CPUS];      /* by each CPU for itself           */
static struct thread *leaving[MAX_CPUS]; /* (S) whose stack was left     */
static uint64_t idle_cpus;               /* (S) run their idle thread        */
static unsigned threads_used;            /* (S)                              */

/* Registered once at boot. */
static void *(*stack_alloc)(void);
static void (*stack_free)(void *);
static size_t stack_size;
static void (*mm_switch)(struct mm *next);
static void (*tick_hook)(void);

void thread_set_stack_allocator(void *(*alloc)(void), void (*free)(void *))
{
	stack_alloc = alloc;
	stack_free = free;
}

void thread_set_stack_size(size_t bytes)
{
	stack_size = bytes;
}

void thread_set_mm_switch(void (*fn)(struct mm *next))
{
	mm_switch = fn;
}

void thread_set_tick(void (*fn)(void))
{
	WRITE_ONCE(tick_hook, fn);
}

/* ---- the queue; context: sched_lock held ------------------------------- */

/* An idle CPU that may run t gets to know.  At most one wake-up per CPU. */
static void kick(const struct thread *t)
{
	uint64_t able = idle_cpus & t->affinity;
	unsigned cpu;

	if (!able)
		return;
	cpu = (unsigned)__builtin_ctzll(able);
	idle_cpus &= ~BIT(cpu);
	/* Racing with its own clearing is fine: the IPI sets it again. */
	WRITE_ONCE(cpus[cpu].need_resched, 1);
	if (cpu != cpu_id())
		lapic_ipi(cpu, IRQ_RESCHED);
}

static void enqueue(struct thread *t)
{
	t->queued = true;
	TAILQ_INSERT_TAIL(&ready, t, link);
	kick(t);
}

static struct thread *dequeue(unsigned cpu)
{
	struct thread *t;

	TAILQ_FOREACH (t, &ready, link)
		if (t->affinity & BIT(cpu))
			break;
	if (!t)
		return &idle[cpu];
	TAILQ_REMOVE(&ready, t, link);
	t->queued = false;
	return t;
}

/* The address space follows the thread; context: preemption off. */
static void load_mm(struct mm *mm)
{
	unsigned cpu = cpu_id();

	if (loaded[cpu] == mm)
		return;
	loaded[cpu] = mm;
	mm_switch(mm);
}

/* ---- switching --------------------------------------------------------- */

/* First thing on the new stack: the registers of the old one are saved. */
static void switch_done(void)
{
	leaving[cpu_id()]->on_cpu = false;
}

/*
 * Give the CPU to the next thread.  Context: interrupts off, sched_lock held
 * (both still so when it returns, on another CPU perhaps).
 */
static void switch_next(bool preempted)
{
	unsigned cpu = cpu_id();
	struct thread *prev = current(), *next;

	WRITE_ONCE(cpus[cpu].need_resched, 0);
	if (prev != &idle[cpu] && (prev->state == THREAD_READY || preempted))
		enqueue(prev);
	next = dequeue(cpu);
	if (next == &idle[cpu])
		idle_cpus |= BIT(cpu);
	else
		idle_cpus &= ~BIT(cpu);
	if (next == prev)
		return;
	load_mm(next->mm);
	next->on_cpu = true;
	cpu_set_current(next);
	leaving[cpu] = prev;
	context_switch(&prev->sp, next->sp);
	/* Another CPU perhaps: nothing read before the switch is true here. */
	switch_done();
}

/*
 * The record of held locks belongs to threads, and this lock changes hands in
 * the middle: it is taken and dropped without a record.
 */
static uint64_t sched_enter(void)
{
	uint64_t flags = irq_save();

	cpu_preempt_add();
	spin_wait(&sched_lock);
	return flags;
}

static void sched_leave(uint64_t flags)
{
	spin_free(&sched_lock);
	cpu_preempt_sub();
	irq_restore(flags);
}

void preempt_check(void)
{
	uint64_t flags;

	if (cpu_preempt_count() || cpu_irq_depth() || !irqs_enabled())
		return;
	flags = sched_enter();
	switch_next(true);
	sched_leave(flags);
}

/* End of an interrupt: interrupts are off and stay so until the IRET. */
static void preempt_in_irq(void)
{
	uint64_t flags = sched_enter();

	switch_next(true);
	sched_leave(flags);
}

void yield(void)
{
	uint64_t flags;

	might_sleep();
	cpu_pause(); /* it waits for somebody: perhaps on another CPU */
	flags = sched_enter();
	switch_next(true);
	sched_leave(flags);
}

void thread_prepare_block(void)
{
	WRITE_ONCE(current()->state, THREAD_BLOCKED);
}

void thread_cancel_block(void)
{
	WRITE_ONCE(current()->state, THREAD_READY);
}

void thread_block_until(uint64_t ns)
{
	struct thread *t = current();
	uint64_t flags;

	might_sleep();
	flags = sched_enter();
	if (t->state == THREAD_BLOCKED) {
		if (ns) {
			t->wake_at = ns;
			TAILQ_INSERT_TAIL(&sleepers, t, link);
		}
		switch_next(false);
	}
	sched_leave(flags);
}

void thread_block(void)
{
	thread_block_until(0);
}

/* Context: sched_lock held. */
static void make_ready(struct thread *t)
{
	if (t->state != THREAD_BLOCKED)
		return;
	t->state = THREAD_READY;
	if (t->wake_at) {
		TAILQ_REMOVE(&sleepers, t, link);
		t->wake_at = 0;
	}
	if (!t->on_cpu && !t->queued)
		enqueue(t);
}

void thread_wake(struct thread *t)
{
	uint64_t flags = sched_enter();

	make_ready(t);
	sched_leave(flags);
}

/* ---- time -------------------------------------------------------------- */

void sleep_ns(uint64_t ns)
{
	struct thread *t = current();
	uint64_t flags;

	might_sleep();
	flags = sched_enter();
	t->wake_at = clock_ns() + ns;
	t->state = THREAD_BLOCKED;
	TAILQ_INSERT_TAIL(&sleepers, t, link);
	switch_next(false);
	sched_leave(flags);
}

static void tick(struct trap_frame *frame)
{
	uint64_t flags, now = clock_ns();
	struct thread *t, *next;

	(void)frame;
	lapic_eoi();
	/* A look without the lock: what it misses, the next tick sees. */
	if (READ_ONCE(sleepers.tqh_first)) {
		flags = sched_enter();
		TAILQ_FOREACH_SAFE (t, &sleepers, link, next)
			if (t->wake_at <= now)
				make_ready(t);
		sched_leave(flags);
	}
	if (READ_ONCE(ready.tqh_first))
		WRITE_ONCE(this_cpu()->need_resched, 1);
	if (cpu_id() == 0 && tick_hook)
		tick_hook();
}

static void resched(struct trap_frame *frame)
{
	(void)frame;
	lapic_eoi();
	WRITE_ONCE(this_cpu()->need_resched, 1);
}

/* ---- life -------------------------------------------------------------- */

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
		threads_used++;
	}
	sched_leave(flags);
	return t;
}

static void slot_free(struct thread *t)
{
	uint64_t flags = sched_enter();

	t->state = THREAD_FREE;
	threads_used--;
	sched_leave(flags);
}

unsigned thread_count(void)
{
	return READ_ONCE(threads_used);
}

static void thread_main(void *arg)
{
	struct thread *t = arg;

	/* We come out of switch_next() of another thread, with its lock. */
	switch_done();
	spin_free(&sched_lock);
	cpu_preempt_sub();
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
	t->state = THREAD_DEAD;
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
		current()->state = THREAD_BLOCKED;
		switch_next(false);
	}
	/* The lock came to us after its last switch: it is off its stack. */
	assert(!t->on_cpu);
	sched_leave(flags);
	stack_free(t->stack);
	slot_free(t);
}

void thread_bind_mm(struct mm *mm)
{
	preempt_disable();
	current()->mm = mm;
	load_mm(mm);
	preempt_enable();
}

void thread_init(void)
{
	trap_set_handler(IRQ_TIMER, tick);
	trap_set_handler(IRQ_RESCHED, resched);
	trap_set_preempt(preempt_in_irq);
}

void thread_idle_forever(void)
{
	unsigned cpu = cpu_id();
	struct thread *self = &idle[cpu];

	*self = (struct thread){ .name = "idle",
				 .state = THREAD_READY,
				 .on_cpu = true,
				 .affinity = BIT(cpu) };
	cpu_set_current(self);
	lapic_timer_start(TICK_HZ);
	for (;;) {
		uint64_t flags = sched_enter();

		switch_next(true);
		sched_leave(flags);
		/* An IPI after this test ends the HLT at once. */
		irq_disable();
		if (cpu_need_resched())
			irq_enable();
		else
			cpu_wait();
	}
}
