/* SPDX-License-Identifier: MIT */
/*
 * select.h - which tests, and how: the words of the command line
 */
#pragma once

#include <stdbool.h>
#include "tests/test.h"

#define SELECT_MAX 4096
#define SUITES_MAX 256
#define STRESS_MAX 10000

struct selection {
	const struct test *tests[SELECT_MAX]; /* suites together            */
	unsigned n;
	uint64_t seed;
	unsigned repeat, timeout;
	unsigned stress;   /* times the operations of suite stress         */
	uint32_t fail_nth; /* allocation of each test's thread; 0: none     */
	bool list, bench, shuffle, shell, explain;
	const char *ops; /* text of ops= in the command line, or NULL       */
	char bench_glob[64];
	char error[160]; /* not empty: what is wrong, and the nearest match */
};

/*
 * Read the command line.  What cannot be meant is an error: an unknown word, a
 * glob that matches nothing, globs that leave no test.
 */
void select_tests(const char *cmdline, struct selection *s);
