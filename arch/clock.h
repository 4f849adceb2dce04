/* SPDX-License-Identifier: MIT */
/*
 * clock.h - time since boot, from the TSC, measured against a clock of known rate
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

/* Clocks other than the PIT, from firmware; 0 or NULL: there is none. */
struct clock_sources {
	uint16_t pm_timer; /* port of the ACPI PM timer                   */
	char *hpet;        /* registers of an HPET, mapped                */
};

/*
 * Measure the TSC and the local APIC's timer against 2.5 ms of the PIT, until two
 * measurements agree; of the ACPI PM timer if there is no PIT, or the rates by it
 * are absurd; else of the HPET.
 * Sets *by to the name of the clock that was used.
 *
 * Context: boot CPU, once, after lapic_init().
 * Returns NULL or an error message; then no rate is set.
 */
must_check const char *clock_calibrate(const struct clock_sources *sources,
				       const char **by);

/*
 * Check that these can be the rates, in Hz, of a TSC and of a local APIC's timer that
 * counts every 16th tick.  Returns NULL or an error message.
 */
const char *clock_judge(uint64_t tsc, uint64_t timer);

/* Returns nanoseconds since the first call of clock_calibrate(); the same on all
 * CPUs.  Context: any. */
uint64_t clock_ns(void);

/* Returns TSC ticks per second. */
uint64_t clock_tsc_hz(void);
