/* SPDX-License-Identifier: MIT */
/*
 * explain.h - the probes of a test, as a timeline
 *
 *	explain_thread("T0");			who we are
 *	explain_name(EXPLAIN_ADDRESS, VA, "A");	what a reader calls it
 *	explain_begin();			what was before is no matter
 *	... the scenario ...
 *
 * If the test fails, or the command line says `explain`, the runner prints a
 * table of what the probes have seen (timeline.h): a lane for each thread that
 * has a name, or else for each CPU, one for each device, one for the IOMMU.
 *
 * Once an address space or a domain has a name, those without are not shown; a
 * frame without a name never is.  Names instead of numbers make the table the
 * same in every run.
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

/* From now on show value as name.  Both live until the test's end. */
void explain_name(enum explain_kind kind, uint64_t value, const char *name);

/* The same for the calling thread. */
void explain_thread(const char *name);

/* What comes now belongs to the scenario, what was before does not. */
void explain_begin(void);

/* The scenario is over: what comes now does not belong to it. */
void explain_end(void);

/* The IOMMU is a model, which does commands later than it takes them. */
void explain_model(bool yes);

/* ---- for the runner ----------------------------------------------------- */

/* A test begins: no names. */
void explain_reset(void);

/* The steps up to explain_end(), or to now. */
struct timeline;
const struct timeline *explain_table(void);

/* Print what was seen since explain_begin(), or else since the reset, up to
 * explain_end(), or else to now. */
void explain_show(const char *suite, const char *test);
