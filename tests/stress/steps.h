/* SPDX-License-Identifier: MIT */
/*
 * tests/stress/flat_model.h - what the steps of tests/stress/steps.c share: one call, with an
 * allocation that fails or without
 */
#pragma once

#include "tests/fixture/mm/snapshot.h"
#include "tests/stress/flat_model.h"
#include "tests/stress/stress.h"

struct stepping {
	struct steps model;
	struct stress run;
	uint64_t tag;   /* of the step, where it stores one             */
	unsigned fail;  /* the number of the allocation that fails; 0   */
	bool delivered; /* it has failed                                */
};

extern struct stepping stepping;

#define STEP_WRONG(...) STRESS_WRONG(&stepping.run, 0, __VA_ARGS__)

/* No contract says what is left after an error: the model does (SNAP_*). */
#define SNAP_NOTHING ((enum snap_scope) - 1)

/* Run call, whose n-th allocation fails if the step says so; an error must leave
 * everything in scope as it was. */
#define STEP_TRY(scope, call)          \
	({                             \
		int64_t try_;          \
		step_begin(scope);     \
		try_ = (call);         \
		step_end(scope, try_); \
		(int)try_;             \
	})

void step_begin(enum snap_scope scope);
void step_end(enum snap_scope scope, int64_t ret);

/* The call must return want, or -ENOMEM if an allocation has failed.  Returns
 * whether it was done. */
bool step_ended(int ret, int want);

/* One operation; s is the space it is about, which exists. */
typedef void step_op(struct step_space *s, const struct op *op);

step_op step_map, step_unmap, step_protect, step_discard, step_remap, step_show;
step_op step_fork, step_exit, step_reap;
step_op step_write, step_read, step_fault, step_evict, step_age;
step_op step_pin, step_unpin, step_opt_in, step_opt_out, step_scan;
