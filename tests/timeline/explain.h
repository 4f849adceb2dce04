/* SPDX-License-Identifier: MIT */
/*
 * explain.h - the probes of a test, as a timeline
 *
 *	explain_thread("T0");			name the calling thread
 *	explain_name(EXPLAIN_ADDRESS, VA, "A");	name a page
 *	explain_begin();			drop all earlier steps
 *	... the scenario ...
 *
 * If the test fails, or the command line has the word `explain`, the runner
 * prints a table of the probes that were hit (timeline.h): a lane for each named
 * thread, one for each CPU with other threads, one for each device, one for the
 * IOMMU.
 *
 * If any address space has a name, those without one are not shown; the same for
 * domains.  A frame without a name is not shown, but in the JSON of `explain=json`.  Names instead of numbers make
 * the table the same in every run.
 */
#pragma once

#include <stdbool.h>
#include "arch/types.h"

enum explain_kind {
	EXPLAIN_MM,      /* a struct mm                                     */
	EXPLAIN_ADDRESS, /* a page of addresses, of CPUs and devices        */
	EXPLAIN_FRAME,   /* a page of memory, by its physical address       */
	EXPLAIN_DEVICE,  /* a devid                                         */
	EXPLAIN_DOMAIN,  /* a domain's id                                   */
	EXPLAIN_THREAD,  /* a thread's id                                   */
	EXPLAIN_KINDS
};

/* In place of the word that a guest read: its access faulted. */
#define EXPLAIN_FAULT UINT64_MAX

/* Show value as name from now on.  Both live until the test's end. */
void explain_name(enum explain_kind kind, uint64_t value, const char *name);

/* Name an mm, and show its page table in snapshots (state.h). */
struct mm;
void explain_mm(const struct mm *mm, const char *name);

/* Name the calling thread. */
void explain_thread(const char *name);

/* Begin the scenario: drop all earlier steps. */
void explain_begin(void);

/* Mark the last step so far as the one that broke an invariant.  Only the first
 * call after explain_begin() counts.  Any context. */
void explain_broken(void);

/* End the scenario: leave out all later steps. */
void explain_end(void);

/* Return how many names there are.  Drop all names but the first n, and begin.
 * Context: no other thread uses names. */
unsigned explain_names(void);
void explain_again(unsigned n);

/* State whether the IOMMU is a model, which completes commands late. */
void explain_model(bool yes);

/* ---- for the runner ----------------------------------------------------- */

/* The word explain=json: print each timeline as JSON lines, with the state after each
 * step (README.md in this folder).  Off at first.  Returns what it was. */
bool explain_json(bool on);

/* Begin a test: remove all names. */
void explain_reset(void);

/* Return the steps up to explain_end(), or up to now. */
struct timeline;
const struct timeline *explain_table(void);

/* Print the steps from explain_begin(), or else the reset, up to explain_end(),
 * or else up to now: as a table if asked for, and as JSON if that is on.
 * verdict: "ok", "not ok" or "skip". */
struct test;
void explain_show(const struct test *t, const char *verdict, bool as_table);
