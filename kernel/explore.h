/* SPDX-License-Identifier: MIT */
/*
 * explore.h - hooks by which a test decides which thread runs next
 *
 * While an explorer is installed, the threads that are marked `explored` run one
 * at a time on one CPU.  The scheduler does not preempt them and does not wake
 * them: at each point below the explorer may pass the CPU to another of them, also
 * where preemption is off or a spin lock is held, as if each had a CPU of its own.
 * tests/explore/ has the search over all orders.
 *
 * Only the checking build calls the hooks; a release has none of this.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/cpu.h"
#include "kernel/thread.h"

struct explorer {
	/* A step that other threads may notice comes next, or has just been made:
	 * a probe, or a lock that is about to be taken. */
	void (*point)(const char *name, uint64_t a, uint64_t b);
	/* The caller cannot go on before another thread has made a step. */
	void (*pause)(void);
	/* The caller is THREAD_BLOCKED.  Returns when it has been woken and is
	 * chosen. */
	void (*block)(void);
	/* The caller, or an interrupt of it, has woken t, a thread of the kernel.
	 * Returns whether it is explored from now on, until it blocks after the end
	 * of the execution; else it runs when that is over. */
	bool (*adopt)(struct thread *t);
	/* SAN=kcsan: the step touches size bytes at addr, or does what cannot be
	 * told by addresses: the MMU's, a device's accesses.  Any context, on any
	 * CPU. */
	void (*touch)(uint64_t addr, size_t size, bool write);
	void (*unseen)(void);
	/* What the caller does from now on only observes: it is no part of the
	 * step.  Until observe(false). */
	void (*observe)(bool begin);
};

/*
 * Time does not pass for explored threads: a wait with a limit has none, and
 * sleep_ns() panics.
 */

/* NULL: the scheduler decides.  Changed while no explored thread is on a CPU. */
extern const struct explorer *explorer;

/* Returns whether the explorer decides about the calling thread.  False in an
 * interrupt: it is a part of the step of the thread that it interrupts. */
static inline bool explored(void)
{
	return CONFIG_CHECK && unlikely(READ_ONCE(explorer) != NULL) &&
	       !cpu_irq_depth() && cpu_current() && current()->explored;
}

/* Mark t, or give it back to the scheduler.  Context: t is not on a CPU. */
void thread_explore(struct thread *t, bool on);

/*
 * Pass the CPU from the calling thread to `to`, which is not on a CPU and not in
 * the run queue.  Each thread keeps its preemption count and interrupt flag.
 * Returns when another thread has passed the CPU back.
 * Context: any but an interrupt; the run queue's lock is not held.
 */
void thread_pass_cpu(struct thread *to);
