/* SPDX-License-Identifier: MIT */
/*
 * select.h - which tests, and how: the words of the command line
 */
#pragma once

#include <stdbool.h>
#include "tests/test.h"

#define SELECT_MAX 512

struct selection {
	const struct test *tests[SELECT_MAX]; /* suites together            */
	unsigned n;
	uint64_t seed;
	unsigned repeat, timeout;
	bool list, bench, shuffle, shell;
	const char *ops; /* text of ops= in the command line, or NULL       */
	char bench_glob[64];
	char error[160]; /* not empty: what is wrong, and the nearest match */
};

/*
 * Read the command line.  Words that other layers serve (lie=, fail=) are left
 * alone; any other unknown word, and a test= that matches nothing, is an error.
 */
void select_tests(const char *cmdline, struct selection *s);
