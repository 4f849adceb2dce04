/* SPDX-License-Identifier: MIT */
/*
 * bench.h - figures in executed instructions
 *
 * Under -icount shift=3 one TSC tick is an eighth of an instruction: the
 * difference of two readings, shifted, counts instructions exactly.  Each
 * BENCH() runs its work, and reports with bench_report(); the cost of reading
 * the clock is taken off.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "arch/compiler.h"

struct bench {
	const char *name, *what;
	void (*fn)(void);
};

#define BENCH(name_, what_)                                              \
	static void bench_##name_(void);                                 \
	static const struct bench b_##name_ = { #name_, what_,           \
						bench_##name_ };         \
	static const struct bench *const at_b_##name_ in_order           \
		__attribute__((section("vv_bench"), used)) = &b_##name_; \
	static void bench_##name_(void)

/* Begin to measure; instructions since then. */
uint64_t bench_start(void);
uint64_t bench_stop(uint64_t start);

/* One line: BENCH name value unit, the value with a decimal place. */
void bench_report(const char *name, uint64_t total, uint64_t count,
		  const char *unit);

/* Frames that were free when the boot had ended. */
void bench_boot_left(uint64_t free);
uint64_t bench_free_after_boot(void);

/* Run the groups that match, or if none does print the figures that match;
 * false if there is neither. */
bool bench_main(const char *glob);
