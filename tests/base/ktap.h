/* SPDX-License-Identifier: MIT */
/*
 * ktap.h - KTAP version 1 on the serial line, two levels: suites and tests
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

enum ktap_result {
	KTAP_PASS,
	KTAP_FAIL,
	KTAP_SKIP
};

/*
 * Start the run: the number of suites.  End it: totals; returns the failures.
 */
void ktap_begin(unsigned suites);
unsigned ktap_end(void);

/* Start one suite: the number of tests.  End it: its result. */
void ktap_suite(const char *name, unsigned tests);
void ktap_suite_end(void);

/* The next test of the suite starts; its limit in seconds. */
void ktap_running(const char *name, uint64_t limit);

/* Print "# text", before the result that it belongs to. */
void ktap_note(const char *fmt, ...) printf_like(1, 2);

/* Print "# text" as one piece, however long; text is at most KTAP_LINE bytes. */
#define KTAP_LINE 6000
void ktap_line(const char *text);

/* Print the result of the next test; why: the reason of a SKIP. */
void ktap_result(const char *name, enum ktap_result result, const char *why);

/*
 * Close every level: the machine dies in test `name` (NULL: between tests).
 * directive: ERROR or TIMEOUT.
 */
void ktap_abort(const char *name, const char *directive, const char *cause);

/* A sink for printk(): its lines become notes. */
void ktap_sink(const char *text, unsigned long len);
