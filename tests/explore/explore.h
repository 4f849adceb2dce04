/* SPDX-License-Identifier: MIT */
/*
 * explore.h - run a scenario in every order, up to a number of preemptions
 *
 *	static const struct exploration unmap = {
 *		.setup = setup, .verdict = verdict, .teardown = teardown,
 *		.actors = { { "T0", discard }, { "device", write } },
 *	};
 *	EXPECT_EXPLORED(&unmap);
 *
 * Actors are threads that run one at a time on one CPU (kernel/explore.h).  At each
 * point, which is a probe, a lock about to be taken or a wait, the explorer decides
 * which of them runs next, also while spin locks are held, as if each had a CPU of
 * its own.  An execution is: setup(), one order of the actors to their end,
 * verdict(), teardown().  The search repeats executions until it has tried every
 * order with at most `bound` preemptions, those with fewer first.  A preemption
 * takes the CPU from an actor that could go on; a switch away from an actor that
 * waits or has ended is free.
 * (Musuvathi, Qadeer: Iterative context bounding for systematic testing of
 * multithreaded programs, PLDI 2007.)
 *
 * No state is saved: an execution is repeated by its choices, so a scenario may
 * depend on nothing else.  Other alternatives in a repeated prefix are a failure.
 */
#pragma once

#include "tests/base/test.h"

#define EXPLORE_ACTORS 4
#define EXPLORE_LIMIT  3600 /* seconds of a test, at the largest bound */

struct exploration {
	/* In the test's thread, before and after each execution. */
	void (*setup)(const struct exploration *x);
	void (*teardown)(const struct exploration *x);
	/* After all actors have ended, in the test's thread: NULL, or the broken
	 * invariant as a sentence. */
	const char *(*verdict)(const struct exploration *x);
	struct {
		const char *name; /* in timelines and counterexamples       */
		void (*fn)(const struct exploration *x);
	} actors[EXPLORE_ACTORS]; /* in use: those with a function          */
	const void *arg;          /* of the scenario                        */
	bool interrupts;  /* threads that they wake are actors, too         */
	unsigned adopts;  /* so many of these; others run after the         */
			  /* execution.  0: any number                      */
	bool large;       /* without the word explore=: no preemption       */
	bool declares;    /* its actors call footprint_touch() themselves   */
	bool equivalents; /* run equivalent orders too                      */
};

struct explore_result {
	uint64_t executions;
	uint64_t pruned;      /* of them: led to a state that was seen      */
	unsigned choices;     /* of the longest execution                   */
	unsigned preemptions; /* of the counterexample                      */
	const char *broken;   /* what it broke; NULL: there is none         */
	bool complete;        /* every order up to the bound was right      */
};

/*
 * Reduction: with SAN=kcsan, or if x declares, an execution that has become
 * equivalent to an earlier one (footprint.h) goes on to its end, and orders that
 * begin like it are not tried.
 */

/*
 * Try all orders with at most bound preemptions.  Stops at the first that breaks
 * the verdict, which has as few preemptions as any, and prints it as a list of
 * switches, with the value of sched= that repeats it.
 * Context: the test's own thread; SKIPs the test in a release build, which has no
 * points.
 */
struct explore_result explore(const struct exploration *x, unsigned bound);

/*
 * Expect that no order breaks the verdict, or that one does.  The bound of the
 * first is the word explore=N of the command line, 1 without it; of the second 2
 * at least.  With the word sched= both run that one order.
 */
#define EXPECT_EXPLORED(x) explore_expect(x, false, __FILE__, __LINE__)
#define EXPECT_FOUND(x)    explore_expect(x, true, __FILE__, __LINE__)
void explore_expect(const struct exploration *x, bool found, const char *file,
		    int line);

/* The words of the command line: sched is what follows `sched=`, or NULL.  Returns
 * NULL or an error message. */
const char *explore_configure(unsigned bound, const char *sched);
