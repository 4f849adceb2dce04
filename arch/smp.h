/* SPDX-License-Identifier: MIT */
/*
 * smp.h - bring up the other CPUs, and have them do things
 */
#pragma once

#include "arch/types.h"

/*
 * Start every CPU of ids[] but the one that calls, one after the other.
 * stack(i) gives the top of a stack for CPU i (NULL: go on without it);
 * root is the page table it loads; entry runs on it, interrupts off, after
 * cpu_init().  A CPU that does not come up in a bounded time is left out.
 *
 * Returns how many did not come up.  Context: boot CPU, interrupts on.
 */
unsigned smp_start(const uint32_t *ids, unsigned n, void *(*stack)(unsigned i),
		   pa_t root, void (*entry)(void));

/* Bit i: CPU i is up. */
uint64_t smp_online_mask(void);

/*
 * Run fn(arg) on every CPU of mask, in interrupt context (on this one by a
 * plain call), and wait until all are done.  Any number of CPUs may do so at
 * once: who waits, serves.
 *
 * Context: preemption off, interrupts on, not in an interrupt.
 */
void smp_call(uint64_t mask, void (*fn)(void *arg), void *arg);

/*
 * Halt all other CPUs by NMI, wherever they are; their stop_frame then says
 * where.  Waits a bounded time.  For panic, any context.
 */
void smp_stop_others(void);

/* Install the handlers.  Boot CPU, once. */
void smp_init(void);
