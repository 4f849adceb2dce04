/* SPDX-License-Identifier: MIT */
/*
 * actors.h - one execution: threads that run one at a time, in a chosen order
 */
#pragma once

#include "kernel/thread.h"
#include "tests/explore/explore.h"

#define ACTORS_MAX (EXPLORE_ACTORS + 4) /* and threads that they wake       */

struct actor {
	struct thread *thread;
	const char *name;
	const char *at; /* the last point, NULL before the first           */
	unsigned n;     /* index in exploration.actors                     */
	bool done;      /* it has ended                                    */
	bool adopted;   /* a thread of the kernel that an actor woke       */
	bool fresh;     /* (adopted) it has not run yet                    */
	bool sleeps; /* it has given up the CPU until it is woken           */
	bool paused; /* it polls, and no actor has made a step since    */
};

/*
 * Decides which of n >= 2 alternatives runs next.  alternatives[0] is `from` if that
 * could go on, and then another one is a preemption; `from` is NULL at the
 * beginning.  Context: the actor that has the CPU, with any locks.
 */
typedef struct actor *actors_choose(struct actor *from, bool could_go_on,
				    struct actor *const alternatives[],
				    unsigned n);

/* Returns the actor of x->actors[0]; the others follow, then the adopted ones. */
const struct actor *actors_first(void);

/* Create the actors of x, which wait.  Ends the test if it cannot. */
void actors_begin(const struct exploration *x, actors_choose *choose);

/* Run all actors to their end, once.  A state in which none can go on is a deadlock:
 * it is printed, and panics. */
void actors_run(void);

/* End the threads. */
void actors_end(void);
