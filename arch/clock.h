/* SPDX-License-Identifier: MIT */
/*
 * clock.h - time since boot, from the TSC, measured against the PIT
 */
#pragma once

#include "arch/types.h"

/*
 * Measure the TSC and the LAPIC timer against 5 ms of PIT channel 2.
 * Boot CPU, once, after lapic_init().  Returns false if the PIT did not move
 * in a bounded time; then nothing is set.
 */
bool clock_calibrate(void);

/* Nanoseconds since the first call of clock_calibrate(); all CPUs agree. */
uint64_t clock_ns(void);

/* TSC ticks per second. */
uint64_t clock_tsc_hz(void);
