/* SPDX-License-Identifier: MIT */
/*
 * guest_checker.c - vCPUs, CPUs and kicks, as the probes tell of them
 *
 * A kick counts for entries when it has returned, and from when it began: one that is
 * under way still interrupts a CPU that enters.  What came first is told by the time
 * stamp counter, which all CPUs share.
 *
 * Locks: one (RANK_CHECKER).  The probes of an entry and an exit are hit while
 * interrupts wait; a CPU that holds the lock takes no kick's interrupt for long.
 */
#include "tests/checker/guest_checker.h"
#include "arch/vmcb.h"
#include "drivers/guest/vcpu.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/thread.h"

#define GUESTS 32u

/* Key: (L) the lock */
static struct {
	struct spinlock lock;
	struct on_cpu {
		const struct vcpu *vcpu; /* (L) that entered last          */
		uint64_t entered;        /* (L) when                       */
		bool inside;             /* (L) it has not left            */
	} cpus[MAX_CPUS];
	struct of_guest {
		const struct guest *guest;
		uint64_t kicked; /* (L) when its last that returned began */
	} guests[GUESTS];
	uint64_t began[THREADS_MAX]; /* (L) when a thread's kick did       */
	uint64_t entries;            /* (L)                                */
	bool tolerant;               /* (L)                                */
	char text[120];              /* (L) the first complaint            */
} c = { .lock = SPINLOCK_INIT(RANK_CHECKER, "guest_checker") };

static void complain(const char *what, unsigned cpu)
{
	if (!c.text[0])
		snprintk(c.text, sizeof(c.text), "guest: CPU %u: %s", cpu,
			 what);
}

/* Context: lock held. */
static struct of_guest *guest_of(const struct guest *g)
{
	unsigned i = 0;

	while (i < GUESTS - 1 && c.guests[i].guest && c.guests[i].guest != g)
		i++;
	c.guests[i].guest = g;
	return &c.guests[i];
}

static void enters(uint64_t vcpu, uint64_t flush, void *name)
{
	const struct vcpu *v = (const struct vcpu *)vcpu;
	unsigned cpu = cpu_id();
	struct on_cpu *me = &c.cpus[cpu];
	spin_lock(&c.lock);
	if (flush == TLB_CONTROL_NONE) {
		if (me->vcpu != v)
			complain("no flush after another vCPU or CPU", cpu);
		else if (guest_of(v->guest)->kicked > me->entered)
			complain("no flush after a kick", cpu);
	}
	for (unsigned i = 0; i < MAX_CPUS; i++)
		if (c.cpus[i].vcpu == v)
			c.cpus[i].vcpu = NULL; /* it is here now */
	*me = (struct on_cpu){ v, rdtsc(), true };
	c.entries++;
	spin_unlock(&c.lock);
}

static void leaves(uint64_t vcpu, uint64_t code, void *name)
{
	spin_lock(&c.lock);
	c.cpus[cpu_id()].inside = false;
	spin_unlock(&c.lock);
}

static void kicks(uint64_t guest, uint64_t unused, void *name)
{
	spin_lock(&c.lock);
	c.began[current() - threads] = rdtsc();
	spin_unlock(&c.lock);
}

static void kicked(uint64_t guest, uint64_t cpus, void *name)
{
	const struct guest *g = (const struct guest *)guest;
	uint64_t began;

	spin_lock(&c.lock);
	began = c.began[current() - threads];
	if (guest_of(g)->kicked < began)
		guest_of(g)->kicked = began;
	for (unsigned i = 0; i < MAX_CPUS && !c.tolerant; i++) {
		const struct on_cpu *on = &c.cpus[i];

		if (on->inside && on->entered < began && on->vcpu &&
		    on->vcpu->guest == g)
			complain("still in the guest after a kick", i);
	}
	spin_unlock(&c.lock);
}

void guest_checker_open(void)
{
	spin_lock(&c.lock);
	for (unsigned i = 0; i < MAX_CPUS; i++)
		c.cpus[i] = (struct on_cpu){ .vcpu = NULL };
	for (unsigned i = 0; i < GUESTS; i++)
		c.guests[i] = (struct of_guest){ .guest = NULL };
	c.entries = 0;
	c.tolerant = false;
	c.text[0] = '\0';
	spin_unlock(&c.lock);
	if (!CONFIG_CHECK)
		return; /* probes are on only while a test has a hook */
	probe_watch("vcpu_enter", enters);
	probe_watch("vcpu_exit", leaves);
	probe_watch("guest_kick", kicks);
	probe_watch("guest_kicked", kicked);
}

const char *guest_checker_complaint(void)
{
	const char *text;

	spin_lock(&c.lock);
	text = c.text[0] ? c.text : NULL;
	spin_unlock(&c.lock);
	return text;
}

const char *guest_checker_close(void)
{
	probe_watch("vcpu_enter", NULL);
	probe_watch("vcpu_exit", NULL);
	probe_watch("guest_kick", NULL);
	probe_watch("guest_kicked", NULL);
	return guest_checker_complaint();
}

void guest_checker_tolerate(bool yes)
{
	spin_lock(&c.lock);
	c.tolerant = yes;
	spin_unlock(&c.lock);
}

uint64_t guest_checker_entries(void)
{
	return c.entries;
}
