/* SPDX-License-Identifier: MIT */
/*
 * migrator.h - a device that takes pages of every address space while a stress test's
 * actors run
 *
 * Its thread goes from space to space: it has a few pages go to the device's memory, has
 * some of all pages there evicted, or has a page alone and
 * writes back the word that it has read, which must undo no store.  It is not an actor of
 * the plan: contents must be what the model says, wherever they are.
 */
#pragma once

#include "arch/types.h"

/* What it did. */
struct migrator_count {
	unsigned taken;   /* pages that went to the device                */
	unsigned refused; /* pages that stayed, as the device failed      */
	unsigned alone;   /* pages that the device had alone, and wrote   */
};

/* Start it on these CPUs, choosing among the first n pages of each space. */
void migrator_begin(uint64_t seed, uint64_t cpus, unsigned n);

/* Stop it; its thread has ended on return. */
struct migrator_count migrator_end(void);

/* Free the device.  No address space is left. */
void migrator_reset(void);
