/* SPDX-License-Identifier: MIT */
/*
 * ksm.h - a scanner that merges pages while a stress test's actors run
 *
 * It is not an actor of the plan: the plan is the same with and without it, and
 * contents must be what the model says, merged or not.
 */
#pragma once

#include "mm/core/mm.h"
#include "tests/stress/stress.h"

/* Starts it on these CPUs, with knobs drawn from the seed. */
void stress_ksm_begin(uint64_t seed, uint64_t cpus);

/* Stops it; its thread has ended on return.  Returns how many pages it merged. */
unsigned stress_ksm_end(void);

/* Restores the knobs.  No page may be merged any more. */
void stress_ksm_reset(void);

/* start: the address of op's pages.  Opts some of an owner's ranges in, with pages to merge, and some out, as the
 * operation's random numbers say. */
void stress_ksm_map(struct mm *mm, va_t start, const struct op *op);
void stress_ksm_change(struct mm *mm, va_t start, const struct op *op);
