/* SPDX-License-Identifier: MIT */
/*
 * sched_priv.h - the run queue, for thread.c and thread_life.c
 *
 * The run queue's lock is held across a switch and released by the thread that
 * comes up on the other side.  It is taken and dropped without a record, for the
 * record of held locks belongs to threads.
 */
#pragma once

#include "kernel/thread.h"

/* Take the run queue's lock, interrupts and preemption off; returns what
 * sched_leave() needs. */
uint64_t sched_enter(void);
void sched_leave(uint64_t flags);

/* Give the CPU to the next thread.  Context: the run queue's lock held; still held
 * when it returns, on another CPU perhaps. */
void switch_next(bool preempted);

/* Begin on a new stack: finish the switch, and release the run queue's lock. */
void switch_begin(void);

/* Put t, if it is blocked, into the run queue.  Context: the run queue's lock held. */
void make_ready(struct thread *t);
