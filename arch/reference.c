/* SPDX-License-Identifier: MIT */
/*
 * reference.c - PIT, ACPI PM timer and HPET, as far as a wait of 2.5 ms needs them
 *
 * A machine without one of them answers its reads with ones, or with a value that
 * never changes.  So each is first tested: the PIT's output must be low before it
 * goes high, a counter must change.  No interrupt is involved, and every
 * loop is bounded.
 */
#include "arch/reference.h"
#include "arch/bits.h"
#include "arch/io.h"

#define POLLS     1000000u /* reads in 2.5 ms, and far more              */
#define STANDS    20000u   /* reads in which every counter has moved     */
#define TICKS(hz) ((uint32_t)(REFERENCE_NS * (hz) / 1000000000))

/* ---- the PIT: Intel 8254, channel 0, whose gate is always on -------------- */

#define PIT_HZ        UINT64_C(1193182)
#define PIT_CHANNEL   0x40
#define PIT_COMMAND   0x43
#define PIT_ONE_SHOT  0x30 /* channel 0, low then high byte, mode 0       */
#define PIT_READ_BACK 0xe2 /* latch the status of channel 0               */
#define PIT_OUT       0x80
#define PIT_STATUS    0x3f /* the mode that was written to it             */

static uint8_t pit_status(void)
{
	outb(PIT_COMMAND, PIT_READ_BACK);
	return inb(PIT_CHANNEL);
}

static bool pit_begin(const struct clock_sources *sources)
{
	(void)sources;
	outb(PIT_COMMAND, PIT_ONE_SHOT);
	outb(PIT_CHANNEL, TICKS(PIT_HZ) & 0xff);
	outb(PIT_CHANNEL, TICKS(PIT_HZ) >> 8);
	return (pit_status() & (PIT_OUT | PIT_STATUS)) == PIT_ONE_SHOT;
}

/* Some 0.1 to 0.8 us, at most 0.03 % of the wait: an emulator needs a hundred times as
 * long for the two port accesses that follow. */
static void rest(void)
{
	for (unsigned i = 0; i < 32; i++)
		barrier();
}

static bool pit_end(const struct clock_sources *sources)
{
	(void)sources;
	for (unsigned i = 0; i < POLLS; i++) {
		if (pit_status() & PIT_OUT)
			return true;
		rest();
	}
	return false;
}

/* ---- counters that run freely ----------------------------------------------- */

/* One is measured at a time: boot CPU. */
static uint32_t counter_start;

static bool counter_begin(uint32_t (*read)(const struct clock_sources *s),
			  const struct clock_sources *sources)
{
	uint32_t first = read(sources);

	for (unsigned i = 0; i < STANDS; i++) {
		counter_start = read(sources);
		if (counter_start != first)
			return true;
	}
	return false;
}

static bool counter_end(uint32_t (*read)(const struct clock_sources *s),
			const struct clock_sources *sources, uint32_t mask,
			uint32_t ticks)
{
	for (unsigned i = 0; i < POLLS; i++)
		if (((read(sources) - counter_start) & mask) >= ticks)
			return true;
	return false;
}

/* ACPI 6.5, 4.8.3.3: 24 bits are always there. */
#define PM_HZ   UINT64_C(3579545)
#define PM_BITS 0xffffff

static uint32_t pm_read(const struct clock_sources *sources)
{
	return inl(sources->pm_timer) & PM_BITS;
}

static bool pm_begin(const struct clock_sources *sources)
{
	return sources->pm_timer && counter_begin(pm_read, sources);
}

static bool pm_end(const struct clock_sources *sources)
{
	return counter_end(pm_read, sources, PM_BITS, TICKS(PM_HZ));
}

/* IA-PC HPET 1.0a, section 2.3. */
#define HPET_PERIOD     0x04 /* of a tick, in 10^-15 s                    */
#define HPET_CONFIG     0x10
#define HPET_COUNTER    0xf0
#define HPET_RUN        BIT(0)
#define HPET_PERIOD_MIN 100000u /* 10 GHz: faster is none               */
#define HPET_PERIOD_MAX 100000000u

static uint32_t hpet_read(const struct clock_sources *sources)
{
	return mmio_read32(sources->hpet + HPET_COUNTER);
}

static bool hpet_begin(const struct clock_sources *sources)
{
	uint32_t period;

	if (!sources->hpet)
		return false;
	period = mmio_read32(sources->hpet + HPET_PERIOD);
	if (period < HPET_PERIOD_MIN || period > HPET_PERIOD_MAX)
		return false;
	mmio_write32(sources->hpet + HPET_CONFIG,
		     mmio_read32(sources->hpet + HPET_CONFIG) | HPET_RUN);
	return counter_begin(hpet_read, sources);
}

static bool hpet_end(const struct clock_sources *sources)
{
	uint32_t period = mmio_read32(sources->hpet + HPET_PERIOD);
	uint64_t ticks = REFERENCE_NS * 1000000 / period;

	return counter_end(hpet_read, sources, UINT32_MAX, (uint32_t)ticks);
}

const struct reference references[] = {
	{ "PIT", pit_begin, pit_end },
	{ "ACPI PM timer", pm_begin, pm_end },
	{ "HPET", hpet_begin, hpet_end },
	{ NULL, NULL, NULL },
};
