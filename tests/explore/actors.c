/* SPDX-License-Identifier: MIT */
/*
 * actors.c - pass the CPU from actor to actor
 *
 *   test's thread ──► actor ──► actor ──► ... ──► actor ──► test's thread
 *                          choose() at each point        all have ended
 */
#include "tests/explore/actors.h"
#include "arch/cpu.h"
#include "kernel/explore.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "tests/explore/footprint.h"
#include "tests/timeline/explain.h"

#define PAUSES_MAX 100000u

/* One exploration at a time; only the thread that has the CPU looks at this. */
static struct {
	const struct exploration *x;
	actors_choose *choose;
	struct thread *main;
	struct actor all[ACTORS_MAX];
	unsigned n;
	struct actor *running;
	unsigned pauses; /* since the last step                             */
	bool quit;
} set;

/* A thread on its way to sleep is BLOCKED before it gives up the CPU: it must get
 * there, for it may find that it need not sleep. */
static bool enabled(const struct actor *a)
{
	return !a->done && !a->paused &&
	       (!a->sleeps || READ_ONCE(a->thread->state) != THREAD_BLOCKED);
}

static noreturn void deadlock(void)
{
	for (unsigned i = 0; i < set.n; i++) {
		const struct actor *a = &set.all[i];

		printk("# %s %s after %s\n", a->name,
		       a->done     ? "has ended"
		       : a->paused ? "polls"
				   : "waits",
		       a->at ? a->at : "its start");
	}
	panic("explore: deadlock, no actor can go on");
}

/* Returns the actor to run next, NULL if none can.  go_on: the running one may. */
static struct actor *next(bool go_on)
{
	struct actor *alternatives[ACTORS_MAX];
	unsigned n = 0;

	if (go_on && enabled(set.running))
		alternatives[n++] = set.running;
	for (unsigned i = 0; i < set.n; i++)
		if (&set.all[i] != set.running && enabled(&set.all[i]))
			alternatives[n++] = &set.all[i];
	if (n < 2)
		return n ? alternatives[0] : NULL;
	return set.choose(set.running, go_on, alternatives, n);
}

static void unpause_all(void)
{
	for (unsigned i = 0; i < set.n; i++)
		set.all[i].paused = false;
}

static void end_step(void)
{
	footprint_step_end((unsigned)(set.running - set.all));
}

/* The step that follows a wait depends on the one that ended the wait. */
static void first_step(const struct thread *t)
{
	footprint_step();
	footprint_touch((uint64_t)&t->state, sizeof(t->state), false);
}

static void run(struct actor *a)
{
	set.running = a;
	if (a->thread == current())
		return;
	if (a->fresh)
		first_step(a->thread);
	a->fresh = false;
	thread_pass_cpu(a->thread);
}

/* Probes that report a step which another probe has announced: nothing that other
 * threads may notice happens between the two. */
static bool only_reports(const char *probe)
{
	static const char *const names[] = {
		"dma_start", "lsi_start", "lsi_stopped",   "dma_done",
		"cpu_read",  "cpu_says",  "iommu_command", "iommu_number",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(probe, names[i]))
			return true;
	return false;
}

static void at_point(const char *name, uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	/* With interrupts off it is in the middle of a step. */
	if (!irqs_enabled() || only_reports(name))
		return;
	end_step();
	set.running->at = name;
	set.pauses = 0;
	unpause_all();
	run(next(true));
	footprint_step();
}

/*
 * No actor but those that poll can run: each looks again.  Time passes by polling,
 * on the strict IOMMU above all, so a long wait is no deadlock.
 */
static struct actor *poll_again(void)
{
	unpause_all();
	if (set.pauses++ == PAUSES_MAX)
		deadlock();
	return next(true);
}

static void at_pause(void)
{
	struct actor *a;

	end_step();
	set.running->paused = true;
	a = next(false);
	run(a ? a : poll_again());
	footprint_step();
}

static bool all_have_ended(void)
{
	for (unsigned i = 0; i < set.n; i++)
		if (!set.all[i].done && !set.all[i].adopted)
			return false;
	return true;
}

/* The running actor waits, or has ended. */
static void leave(void)
{
	struct actor *a = next(false);

	if (!a)
		a = poll_again();
	if (a)
		run(a);
	else if (all_have_ended())
		thread_pass_cpu(set.main);
	else
		deadlock();
}

static void at_block(void)
{
	end_step();
	set.running->sleeps = true;
	while (READ_ONCE(current()->state) == THREAD_BLOCKED)
		leave();
	/* A thread that was adopted may be another actor now: it has slept since
	 * an earlier execution. */
	set.running->sleeps = false;
	first_step(current());
}

static unsigned adopted(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < set.n; i++)
		n += set.all[i].adopted;
	return n;
}

static bool at_adopt(struct thread *t)
{
	if (cpu_irq_depth() && !set.x->interrupts)
		return false;
	if (set.n == ACTORS_MAX)
		panic("explore: more than %u threads take part", ACTORS_MAX);
	t->explored = true; /* the run queue's lock is held */
	set.all[set.n] = (struct actor){
		.thread = t,
		.name = t->name,
		.adopted = true,
		.fresh = true,
		.done = set.x->adopts && adopted() >= set.x->adopts,
	};
	set.n++;
	return true;
}

static const struct explorer hooks = {
	.point = at_point,
	.pause = at_pause,
	.block = at_block,
	.adopt = at_adopt,
	.touch = footprint_touch,
	.unseen = footprint_unseen,
	.observe = footprint_observe,
};

static void actor_main(void *arg)
{
	struct actor *a = arg;

	/* The first wait is the scheduler's, all others are the explorer's. */
	thread_prepare_block();
	thread_block();
	while (!set.quit) {
		footprint_step();
		set.x->actors[a->n].fn(set.x);
		thread_bind_mm(NULL);
		end_step();
		a->done = true;
		leave();
	}
}

const struct actor *actors_first(void)
{
	return set.all;
}

/* May the scheduler run it?  A thread that was preempted on its way to sleep is
 * BLOCKED and in the queue. */
static bool runs(const struct thread *t)
{
	return READ_ONCE(t->state) == THREAD_READY || READ_ONCE(t->on_cpu) ||
	       READ_ONCE(t->queued);
}

void actors_begin(const struct exploration *x, actors_choose *choose)
{
	set.x = x;
	set.choose = choose;
	set.main = current();
	set.n = 0;
	set.quit = false;
	for (unsigned i = 0; i < EXPLORE_ACTORS && x->actors[i].fn; i++) {
		struct actor *a = &set.all[set.n++];

		*a = (struct actor){ .name = x->actors[i].name, .n = i };
		a->thread = thread_create(a->name, actor_main, a);
		REQUIRE(a->thread);
		while (READ_ONCE(a->thread->state) != THREAD_BLOCKED ||
		       runs(a->thread))
			yield();
		thread_explore(a->thread, true);
	}
}

/* Wait until the threads that setup() has made or woken sleep: the scheduler runs
 * none while actors do. */
static void settle(void)
{
	for (unsigned i = 0; i < THREADS_MAX; i++)
		while (&threads[i] != current() && !threads[i].explored &&
		       runs(&threads[i]))
			yield();
}

void actors_run(void)
{
	unsigned own = set.n;

	settle();
	set.pauses = 0;
	for (unsigned i = 0; i < own; i++) {
		struct actor *a = &set.all[i];

		a->done = a->paused = a->sleeps = false;
		a->at = NULL;
		a->thread->state = THREAD_READY;
		explain_name(EXPLAIN_THREAD, a->thread->id, a->name);
	}
	set.running = NULL;
	footprint_begin();
	WRITE_ONCE(explorer, &hooks);
	set.running = next(false);
	thread_pass_cpu(set.running->thread);
	WRITE_ONCE(explorer, NULL);
	footprint_end();
	for (unsigned i = own; i < set.n; i++)
		thread_explore(set.all[i].thread, false);
	set.n = own;
}

void actors_end(void)
{
	set.quit = true;
	for (unsigned i = 0; i < set.n; i++) {
		struct thread *t = set.all[i].thread;

		t->state = THREAD_READY;
		thread_explore(t, false);
		thread_join(t);
	}
}
