/* SPDX-License-Identifier: MIT */
/*
 * smp.h - start the other CPUs, and run functions on them
 */
#pragma once

#include "arch/trap.h"
#include "arch/types.h"

/* How CPUs are started, and the result. */
struct smp_plan {
	/* Allocate and free the stack of CPU i; NULL: out of memory. */
	void *(*stack)(unsigned i);
	void (*unstack)(unsigned i, void *top);
	pa_t root;           /* the page table that they load              */
	void (*entry)(void); /* runs on each, interrupts off               */
	unsigned failed;     /* did not come up, or had no stack           */
	unsigned untried;    /* after too long a wait for others           */
	unsigned surplus;    /* more than MAX_CPUS                         */
};

/*
 * Start the n CPUs with these local APIC ids, one after the other.  A CPU that
 * does not come up in 500 ms is left out; when 2 s have been spent on such ones,
 * those that are left are not tried.
 *
 * Context: boot CPU, a thread, the tick runs, once.
 */
void smp_start(const uint32_t *ids, unsigned n, struct smp_plan *plan);

/* Returns the set of running CPUs: bit i is CPU i. */
uint64_t smp_online_mask(void);

/*
 * Set the function for a CPU that has not answered a call for a minute; fn(cpu) does
 * not return.  Context: boot CPU, before the first call.
 */
void smp_set_lost(void (*fn)(unsigned cpu));

/*
 * Run fn(arg) on every CPU of mask, in interrupt context (on this one by a
 * plain call), and wait until all have returned.  Any number of CPUs may call at the
 * same time: a waiting CPU serves the calls of the others.
 *
 * Context: preemption off, interrupts on, not in an interrupt.
 */
void smp_call(uint64_t mask, void (*fn)(void *arg), void *arg);

/*
 * Halt all other CPUs by NMI; their stop_frame then has their registers.  Waits a
 * bounded time.  Before the first call an NMI halts no CPU: it is counted as stray
 * (arch/trap.h).  Context: any; for a panic.
 */
void smp_stop_others(void);

/*
 * Set fn(frame), which runs in each NMI that smp_stop_others() did not send, on the
 * stack of NMIs.  It returns whether it knows the sender; else the NMI is stray.
 */
void smp_set_nmi(bool (*fn)(struct trap_frame *frame));

/* Installs the handlers.  Context: boot CPU, once. */
void smp_init(void);
