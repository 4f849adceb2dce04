/* SPDX-License-Identifier: MIT */
/*
 * explain_priv.h - between the files of explain.h: names, and the text of an argument
 */
#pragma once

#include "tests/timeline/explain.h"

enum explain_arg {
	NONE,
	TEXT,
	NUMBER,
	MM, /* "name: ", or nothing if only one mm has a name           */
	ADDRESS,
	FRAME,
	DEVICE,
	DATA,    /* what a device read; 0: it was blocked                  */
	WORD,    /* what a guest read; EXPLAIN_FAULT: it faulted           */
	CPUS,    /* how many are interrupted                               */
	COMMAND, /* both arguments are one; all but COMPLETION_WAIT        */
	DONE,    /* the same, with COMPLETION_WAIT                         */
};

/* Return whether there is an nth value of a kind that has a name, and which. */
bool explain_nth(enum explain_kind kind, unsigned n, uint64_t *value);

/* Return the name of a value, or NULL; how many of the kind have one. */
const char *explain_name_of(enum explain_kind kind, uint64_t value);
unsigned explain_named(enum explain_kind kind);

/* Write a device's name, or its number, to buf of TIMELINE_WORDS bytes, or return what
 * it is. */
const char *explain_device(uint64_t devid, char *buf);

/* Return the text of an argument, in buf as above or not; NULL: the step is not shown.
 * other: the probe's other argument. */
const char *explain_argument(enum explain_arg kind, uint64_t value,
			     uint64_t other, char *buf);

/* Print the timeline of t as JSON lines (explain_json.c); hits: of each step.  end: the
 * state after the last.  verdict: "ok", "not ok" or "skip". */
struct probe_hit;
struct state;
struct test;
struct timeline;
void explain_print_json(const struct test *t, const struct timeline *table,
			const struct probe_hit *hits, const struct state *end,
			const char *verdict);
