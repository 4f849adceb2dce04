/* SPDX-License-Identifier: MIT */
/*
 * select.h - which tests run, and how: the parameters of the command line
 */
#pragma once

#include <stdbool.h>
#include "tests/base/test.h"

#define SELECT_MAX 4096
#define SUITES_MAX 256
#define STRESS_MAX \
	1200 /* more do not fit into the tags of tests/stress/page_model.h */

/* A parameter of the command line: its beginning, its argument, its effect. */
struct word {
	const char *text, *arg, *says;
};

extern const struct word select_words[];
extern const unsigned select_n_words;

struct selection {
	const struct test *tests[SELECT_MAX]; /* suites together            */
	unsigned n;
	uint64_t seed;
	unsigned repeat, timeout;
	uint64_t low, high; /* free frames, for kswapd_start(); 0: no thread  */
	unsigned stress;    /* times the operations of suite stress         */
	unsigned pool;      /* blocks of the fixed pool                      */
	uint32_t fail_nth;  /* allocation of each test's thread; 0: none     */
	bool list, bench, shuffle, shell, explain, json;
	bool check_each; /* sweep the machine after each test, not each suite */
	bool hang, deaf; /* each test spins for ever; deaf: interrupts off  */
	unsigned explore;  /* preemptions, of suite explore                */
	const char *sched; /* text of sched= in the command line, or NULL   */
	const char *ops;   /* text of ops= in the command line, or NULL       */
	char bench_glob[64];
	char error[160]; /* not empty: the error, and the nearest valid name */
};

/*
 * Parse the command line.  An unknown parameter, a glob that matches nothing,
 * and globs that leave no test are errors.
 */
void select_tests(const char *cmdline, struct selection *s);
