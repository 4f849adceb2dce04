/* SPDX-License-Identifier: MIT */
/*
 * clock.c - measure the rates of TSC and LAPIC timer by a clock of known rate
 *
 * TSC and LAPIC timer are read before and after 2.5 ms of arch/reference.c.  A
 * host that stops this CPU in the middle makes the rates too high, by a third
 * where it is busy: so two measurements must agree within one per cent.  A rate
 * that no machine has is rejected; then the next reference is tried.
 */
#include "arch/clock.h"
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/reference.h"

#define TRIES     12
#define PER_S(n)  ((n) * (UINT64_C(1000000000) / REFERENCE_NS))
#define MHZ       UINT64_C(1000000)
#define TSC_MIN   (10 * MHZ)
#define TSC_MAX   (20000 * MHZ)
#define TIMER_MIN (MHZ / 10) /* of the LAPIC, divided by 16              */
#define TIMER_MAX (2000 * MHZ)

/* Written once on the boot CPU before the others run. */
static uint64_t tsc_hz, tsc_start;
static uint64_t ns_per_tick; /* 32.32 fixed point */

struct rates {
	uint64_t tsc_start, tsc, timer;
};

static bool measure(const struct reference *r,
		    const struct clock_sources *sources, struct rates *rates)
{
	uint64_t before;
	uint32_t timer;

	lapic_timer_free_run();
	before = rdtsc();
	if (!r->begin(sources))
		return false;
	rates->tsc_start = rdtsc();
	timer = lapic_timer_count();
	if (!r->end(sources))
		return false;
	/* The host stopped this CPU at the start: the interval is too short. */
	if (rdtsc() - rates->tsc_start < 16 * (rates->tsc_start - before))
		return false;
	rates->tsc = PER_S(rdtsc() - rates->tsc_start);
	rates->timer = PER_S((uint64_t)(timer - lapic_timer_count()));
	return true;
}

const char *clock_judge(uint64_t tsc, uint64_t timer)
{
	if (tsc < TSC_MIN || tsc > TSC_MAX)
		return "the TSC does not count at a rate that can be";
	if (timer < TIMER_MIN || timer > TIMER_MAX)
		return "the local APIC's timer does not count at a rate that "
		       "can be";
	return NULL;
}

/*
 * Returns whether a further measurement is within one per cent of the least one so
 * far.  An interruption makes a measurement longer, so the least is kept.
 */
static bool agree(struct rates *least, const struct rates *next)
{
	uint64_t a = least->tsc, b = next->tsc;

	if (!a || b < a)
		*least = *next;
	return (a > b ? a - b : b - a) < b / 100;
}

const char *clock_calibrate(const struct clock_sources *sources,
			    const char **by)
{
	const char *why = "no clock to measure by: the PIT does not count, and "
			  "there is no ACPI PM timer and no HPET that does";

	for (const struct reference *r = references; r->name; r++) {
		struct rates least = { 0 }, next;

		for (unsigned i = 0; i < TRIES; i++) {
			if (!measure(r, sources, &next))
				continue; /* not there; or the host stopped this CPU */
			why = clock_judge(next.tsc, next.timer);
			if (!why && agree(&least, &next))
				break;
		}
		if (!least.tsc)
			continue;
		tsc_hz = least.tsc;
		tsc_start = least.tsc_start;
		ns_per_tick = (UINT64_C(1000000000) << 32) / tsc_hz;
		lapic_timer_set_rate(least.timer);
		*by = r->name;
		return NULL;
	}
	return why;
}

uint64_t clock_tsc_hz(void)
{
	return tsc_hz;
}

uint64_t clock_ns(void)
{
	unsigned __int128 ticks = rdtsc() - tsc_start;

	return (uint64_t)(ticks * ns_per_tick >> 32);
}
