/* SPDX-License-Identifier: MIT */
/*
 * ktap.h - KTAP version 1 on the serial line, two levels: suites and tests
 */
#pragma once

#include "arch/compiler.h"

enum ktap_result {
	KTAP_PASS,
	KTAP_FAIL,
	KTAP_SKIP
};

/* The run: plan of suites; totals at the end.  Returns how many failed. */
void ktap_begin(unsigned suites);
unsigned ktap_end(void);

/* One suite: its plan; its result. */
void ktap_suite(const char *name, unsigned tests);
void ktap_suite_end(void);

/* "# text": before the result that it belongs to. */
void ktap_note(const char *fmt, ...) printf_like(1, 2);

/* The next test of the suite; why: the reason of a SKIP. */
void ktap_result(const char *name, enum ktap_result result, const char *why);

/*
 * The machine dies in test `name` (NULL: between tests): close every level.
 * directive: ERROR or TIMEOUT.
 */
void ktap_abort(const char *name, const char *directive, const char *cause);

/* A sink for printk(): its lines become notes. */
void ktap_sink(const char *text, unsigned long len);
