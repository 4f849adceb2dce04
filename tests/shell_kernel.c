/* SPDX-License-Identifier: MIT */
/*
 * shell_kernel.c - threads, locks, CPUs and probes of a kernel that runs
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
#include "tests/shell.h"

#define PROBES     20
#define PROBES_MAX 64 /* of probe_dump() */

static const char *state_name(const struct thread *t)
{
	switch (READ_ONCE(t->state)) {
	case THREAD_READY:
		return READ_ONCE(t->on_cpu) ? "running" : "ready";
	case THREAD_BLOCKED:
		return READ_ONCE(t->wake_at) ? "asleep" : "blocked";
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
		const struct thread *t = &threads[i];
		const char *state = state_name(t);
		const struct mm *mm = READ_ONCE(t->mm);

		if (state)
			printk("thread %u %s %s locks %u cpus %lx mm %u\n",
			       t->id, t->name, state, READ_ONCE(t->n_held),
			       t->affinity & GENMASK(cpu_count() - 1, 0),
			       mm ? mm->id : 0);
	}
	return 0;
}
SHELL_COMMAND(threads, "", "threads: state, locks held, where they may run",
	      show_threads);

static void show_held(const struct thread *t)
{
	unsigned n = READ_ONCE(t->n_held);

	for (unsigned i = 0; i < n && i < LOCKS_HELD; i++)
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
	for (unsigned i = 0; i < THREADS_MAX; i++)
		if (READ_ONCE(threads[i].state) != THREAD_FREE)
			show_held(&threads[i]);
	return 0;
}
SHELL_COMMAND(locks, "", "locks that threads hold or wait for", show_locks);

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
	printk("tsc %lu Hz, up %lu ms, %lu shootdowns\n", clock_tsc_hz(),
	       clock_ns() / 1000000, tlb_shootdown_count());
	return 0;
}
SHELL_COMMAND(cpus, "", "CPUs, what they run, time", show_cpus);

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
	      show_probes);
