/* SPDX-License-Identifier: MIT */
/*
 * footprint.h - which steps of an execution depend on each other
 *
 * A step's footprint is the words that it reads and writes.  Two steps depend on
 * each other if one writes a word that the other touches.  Orders that differ only
 * in the order of steps that do not are equivalent: they end in the same state.
 *
 * With SAN=kcsan the compiler shows each access; what it cannot show (assembly that
 * moves bytes, the MMU's and a device's accesses) is declared where it happens
 * (san_touch(), san_unseen()).  A scenario that `declares` does it by itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begin an execution, of which this CPU's steps count. */
void footprint_begin(void);

/* The execution is over. */
void footprint_end(void);

/* A step begins; actor's step ends, if one has begun.  Context: interrupts may be on
 * or off, any locks. */
void footprint_step(void);
void footprint_step_end(unsigned actor);

/* The step touches size bytes at addr.  Nothing outside of a step. */
void footprint_touch(uint64_t addr, size_t size, bool write);

/* The step depends on all others. */
void footprint_unseen(void);

/* Until observe(false) nothing counts. */
void footprint_observe(bool begin);

/*
 * Return a number that is equal for equivalent executions so far, and differs for
 * others but by a chance of 2^-64.  0: not known, for too many words were touched.
 */
uint64_t footprint_order(void);
