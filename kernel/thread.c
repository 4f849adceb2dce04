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
 * The lock is held across the switch and released by the thread that is switched to:
 * no CPU sees a thread that is half on a stack.  on_cpu says that its registers are
 * not saved yet; such a thread is never in the queue.
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
#include "kernel/explore.h"
#include "kernel/panic.h"
#include "kernel/sched_priv.h"

static struct spinlock sched_lock = SPINLOCK_INIT(RANK_SCHED, "run queue");
static TAILQ_HEAD(, thread) ready = TAILQ_HEAD_INITIALIZER(ready);
static TAILQ_HEAD(, thread) sleepers = TAILQ_HEAD_INITIALIZER(sleepers);

static struct thread idle[MAX_CPUS];
static struct mm *loaded[MAX_CPUS];      /* by each CPU for itself           */
static struct thread *leaving[MAX_CPUS]; /* (S) whose stack was left     */
static uint64_t idle_cpus;               /* (S) run their idle thread        */

/* Registered once at boot. */
static void (*mm_switch)(struct mm *next);
static void (*tick_hook)(void);
static bool idle_polls; /* idle CPUs spin */

const struct explorer *explorer;

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
	WRITE_ONCE(leaving[cpu_id()]->on_cpu, false);
}

void switch_next(bool preempted)
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
	WRITE_ONCE(next->on_cpu, true);
	cpu_set_current(next);
	leaving[cpu] = prev;
	context_switch(&prev->sp, next->sp);
	/* Another CPU perhaps: nothing read before the switch is true here. */
	switch_done();
}

uint64_t sched_enter(void)
{
	uint64_t flags = irq_save();

	cpu_preempt_add();
	spin_wait(&sched_lock);
	return flags;
}

void sched_leave(uint64_t flags)
{
	spin_free(&sched_lock);
	cpu_preempt_sub();
	irq_restore(flags);
}

void switch_begin(void)
{
	switch_done();
	spin_free(&sched_lock);
	cpu_preempt_sub();
}

void preempt_check(void)
{
	uint64_t flags;

	if (cpu_preempt_count() || cpu_irq_depth() || !irqs_enabled() ||
	    explored())
		return;
	flags = sched_enter();
	switch_next(true);
	sched_leave(flags);
}

/* End of an interrupt: interrupts are off and stay so until the IRET. */
static void preempt_in_irq(void)
{
	uint64_t flags;

	if (CONFIG_CHECK && current()->explored)
		return;
	flags = sched_enter();
	switch_next(true);
	sched_leave(flags);
}

void yield(void)
{
	uint64_t flags;

	might_sleep();
	cpu_pause(); /* the thread may wait for one on another CPU */
	if (explored()) {
		explorer->pause();
		return;
	}
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
	if (explored()) {
		explorer->block();
		return;
	}
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

void make_ready(struct thread *t)
{
	if (t->state != THREAD_BLOCKED)
		return;
	WRITE_ONCE(t->state, THREAD_READY);
	if (t->wake_at) {
		TAILQ_REMOVE(&sleepers, t, link);
		t->wake_at = 0;
	}
	if (CONFIG_CHECK && t->explored)
		return; /* the explorer sees the state */
	if (!t->on_cpu && !t->queued) {
		if (!CONFIG_CHECK || !explorer || !current()->explored ||
		    !explorer->adopt(t))
			enqueue(t);
	}
}

void thread_wake(struct thread *t)
{
	uint64_t flags = sched_enter();

	make_ready(t);
	sched_leave(flags);
}

/* ---- the explorer ------------------------------------------------------- */

void thread_explore(struct thread *t, bool on)
{
	uint64_t flags = sched_enter();

	t->explored = on;
	if (!on && t->state == THREAD_READY && !t->on_cpu && !t->queued)
		enqueue(t);
	sched_leave(flags);
}

void thread_pass_cpu(struct thread *to)
{
	uint64_t flags = irq_save();
	unsigned cpu = cpu_id(), count = cpu_preempt_count();
	struct thread *prev = current();

	/* What comes up on the other side expects the lock and a count of 1. */
	spin_wait(&sched_lock);
	assert(!to->on_cpu && !to->queued && to != prev);
	cpus[cpu].preempt_count = 1;
	load_mm(to->mm);
	to->on_cpu = true;
	cpu_set_current(to);
	leaving[cpu] = prev;
	context_switch(&prev->sp, to->sp);
	switch_done();
	spin_free(&sched_lock);
	cpus[cpu_id()].preempt_count = count;
	irq_restore(flags);
}

/* ---- time -------------------------------------------------------------- */

void sleep_ns(uint64_t ns)
{
	struct thread *t = current();
	uint64_t flags;

	might_sleep();
	assert(!explored());
	flags = sched_enter();
	t->wake_at = clock_ns() + ns;
	WRITE_ONCE(t->state, THREAD_BLOCKED);
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
	/* A look without the lock: what it misses, the next tick sees.  While orders
	 * are explored no sleeper wakes. */
	if (data_race(READ_ONCE(sleepers.tqh_first)) &&
	    !(CONFIG_CHECK && current()->explored)) {
		flags = sched_enter();
		TAILQ_FOREACH_SAFE (t, &sleepers, link, next)
			if (t->wake_at <= now)
				make_ready(t);
		sched_leave(flags);
	}
	if (data_race(READ_ONCE(ready.tqh_first)))
		WRITE_ONCE(this_cpu()->need_resched, 1);
	if (tick_hook)
		tick_hook();
}

static void resched(struct trap_frame *frame)
{
	(void)frame;
	lapic_eoi();
	WRITE_ONCE(this_cpu()->need_resched, 1);
}

/* ---- bindings, start ------------------------------------------------------ */

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

void thread_idle_polls(void)
{
	idle_polls = true;
}

/* Wait for an interrupt or, if idle CPUs spin, for one turn. */
static void idle_wait(void)
{
	/* An IPI after this test ends the HLT at once. */
	irq_disable();
	if (!idle_polls && !cpu_need_resched()) {
		cpu_wait();
		return;
	}
	irq_enable();
	cpu_pause();
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
		idle_wait();
	}
}
