/* SPDX-License-Identifier: MIT */
/*
 * stress_ksm.h - a scanner that merges behind the backs of a stress test's actors
 *
 * It is no actor of the plan: what is drawn stays the same with it and without,
 * and contents must be what the model says, merged or not.
 */
#pragma once

#include "mm/mm.h"
#include "tests/stress.h"

/* Start it on these CPUs, with knobs drawn from the seed. */
void stress_ksm_begin(uint64_t seed, uint64_t cpus);

/* Stop it: from its return on all is quiet.  Returns how many pages it merged. */
unsigned stress_ksm_end(void);

/* The knobs are set back, when nothing is merged any more. */
void stress_ksm_reset(void);

/* Some of an owner's ranges opt in, with pages to merge, some out: by the
 * operation's dice. */
void stress_ksm_map(struct mm *mm, const struct op *op);
void stress_ksm_change(struct mm *mm, const struct op *op);
