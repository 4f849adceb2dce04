/* SPDX-License-Identifier: MIT */
/*
 * kernel.c - threads, locks, CPUs and probes of a kernel that runs
 *
 * Others run meanwhile, and nothing is stopped for a look: each line is true at
 * its own moment.  Threads and the names of locks are never freed, so that a
 * stale pointer shows something old but nothing that is not there.
 */
#include "arch/clock.h"
#include "arch/tlb.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/shell.h"
#include "kernel/thread.h"
#include "tests/shell/shell.h"

#define PROBES     20
#define PROBES_MAX 64 /* of probe_dump() */

/*
 * Threads run while they are shown, and start and end: a copy of one is of several
 * moments, as the display is.
 */
static struct thread copy_of(unsigned i)
{
	return data_race(threads[i]);
}

static const char *state_name(const struct thread *t)
{
	switch (t->state) {
	case THREAD_READY:
		return t->on_cpu ? "running" : "ready";
	case THREAD_BLOCKED:
		return t->wake_at ? "asleep" : "blocked";
	case THREAD_DEAD:
		return "dead";
	default:
		return NULL;
	}
}

static int show_threads(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		const struct thread t = copy_of(i);
		const char *state = state_name(&t);

		if (state)
			printk("thread %u %s %s locks %u cpus %lx mm %u\n",
			       t.id, t.name, state, t.n_held,
			       t.affinity & GENMASK(cpu_count() - 1, 0),
			       t.mm ? t.mm->id : 0);
	}
	return 0;
}
SHELL_COMMAND(threads, "", "threads: state, locks held, where they may run",
	      "threads", show_threads);

static void show_held(const struct thread *t)
{
	for (unsigned i = 0; i < t->n_held && i < LOCKS_HELD; i++)
		printk("thread %u %s holds %s (rank %d) at %p\n", t->id,
		       t->name, t->held[i].name, (int)t->held[i].rank,
		       (void *)t->held[i].lock);
}

static int show_locks(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	if (!CONFIG_CHECK)
		printk("this build keeps no record of locks\n");
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		const struct thread t = copy_of(i);

		if (t.state != THREAD_FREE)
			show_held(&t);
	}
	return 0;
}
SHELL_COMMAND(locks, "", "locks that threads hold or wait for", "locks",
	      show_locks);

static int show_cpus(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct thread *t = READ_ONCE(cpus[i].current);

		printk("cpu%u apic %u runs %s%s\n", i, cpus[i].lapic_id,
		       t ? t->name : "nothing",
		       i == cpu_id() ? " (this one)" : "");
	}
	for (unsigned v = 0; v < TRAP_VECTORS; v++)
		if (trap_stray_count(v))
			printk("stray interrupts: vector %#x, %lu times\n", v,
			       trap_stray_count(v));
	printk("tsc %lu Hz, up %lu ms, %lu shootdowns\n", clock_tsc_hz(),
	       clock_ns() / 1000000, tlb_shootdown_count());
	return 0;
}
SHELL_COMMAND(cpus, "", "CPUs, what they run, time", "cpus", show_cpus);

static int show_probes(unsigned argc, char **argv)
{
	uint64_t n = PROBES;

	if (argc > 2 || (argc == 2 && !shell_number(argv[1], &n)) ||
	    n > PROBES_MAX)
		return -EINVAL;
	if (!probe_on)
		printk("this build has its probes switched off\n");
	probe_dump(n);
	return 0;
}
SHELL_COMMAND(probes, "[N]", "the last N (20, at most 64) probes of all CPUs",
	      "probes 3", show_probes);
