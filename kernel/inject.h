/* SPDX-License-Identifier: MIT */
/*
 * inject.h - make the n-th allocation of a thread fail
 *
 * Every allocator asks inject_should_fail() first.  A test arms its own thread
 * with n = 1, 2, 3, ... and repeats an operation until it succeeds untouched:
 * then every allocation in it has failed once.
 */
#pragma once

#include "kernel/thread.h"

/* Arms the calling thread: its n-th allocation from now on fails, once; 0: none. */
void inject_arm(uint32_t n);

/* Disarms.  Returns whether an allocation has failed since inject_arm(). */
bool inject_disarm(void);

/* Out-of-line part of inject_should_fail(), in an armed thread. */
bool inject_count(void);

/* Counts one allocation of the calling thread.  Returns whether it must fail. */
static inline bool inject_should_fail(void)
{
	struct thread *t = current();

	return unlikely(t && t->inject) && inject_count();
}
