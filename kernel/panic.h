/* SPDX-License-Identifier: MIT */
/*
 * panic.h - assertions; a panic prints cause, place and held locks, and stops
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

/* Panics unless cond holds, in every configuration. */
#define assert(cond)                                                       \
	do {                                                               \
		if (unlikely(!(cond)))                                     \
			panic("%s:%d: %s: assertion failed: %s", __FILE__, \
			      __LINE__, __func__, #cond);                  \
	} while (0)

/*
 * Check a contract: what a function's comment says must hold when it is called.
 * The checking build panics; a release does not even evaluate cond.
 */
#define require(cond)                 \
	do {                          \
		if (CONFIG_CHECK)     \
			assert(cond); \
	} while (0)

/*
 * Install the handlers of traps that have no other handler, and of CPUs that do not
 * answer.  Context: boot CPU, once.
 */
void panic_init(void);

/* Set the functions that end the run after a panic, and that report its cause before. */
void panic_set_exit(void (*fn)(void));
void panic_set_report(void (*fn)(const char *cause));

/*
 * fn() is called in an NMI that no CPU sent, also with interrupts off.  If it
 * returns a cause, the NMI is a request to panic: a machine that hangs says where
 * each of its CPUs stands.  NULL: the NMI is stray.
 */
void panic_set_request(const char *(*fn)(void));

/*
 * Run fn(arg) in a thread of its own in which a panic ends only the thread: its spin
 * locks are released, its sleeping locks stay taken.  Returns whether it panicked,
 * with the cause in buf.  For tests that an assertion fails.  Context: may sleep.
 */
bool panic_catch(void (*fn)(void *arg), void *arg, char *buf, size_t len);
