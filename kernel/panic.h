/* SPDX-License-Identifier: MIT */
/*
 * panic.h - our own mistakes: say what, where and who held what, then stop
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "arch/compiler.h"

struct trap_frame;

/*
 * Print the cause, stop the other CPUs, print registers, backtraces and held
 * locks of all, the last probes, and end the run.  Any context.
 */
noreturn void panic(const char *fmt, ...) printf_like(1, 2);

/* Stays on in every configuration. */
#define assert(cond)                                                       \
	do {                                                               \
		if (unlikely(!(cond)))                                     \
			panic("%s:%d: %s: assertion failed: %s", __FILE__, \
			      __LINE__, __func__, #cond);                  \
	} while (0)

/* Install the handler of traps that nobody serves.  Boot CPU, once. */
void panic_init(void);

/* How the run ends after a panic, and what wants to be told before it. */
void panic_set_exit(void (*fn)(void));
void panic_set_report(void (*fn)(const char *cause));

/*
 * Run fn(arg) in a thread of its own in which a panic ends only the thread: its
 * spin locks are released, its sleeping locks forgotten.  Returns true if it
 * panicked, with the cause in buf.  For tests that show an assertion to fire.
 */
bool panic_catch(void (*fn)(void *arg), void *arg, char *buf, size_t len);
