/* SPDX-License-Identifier: MIT */
/*
 * clock.c - the PIT's crystal is the only rate that a PC promises
 *
 * Channel 2 counts down once, its output bit is read at port 61h, no interrupt
 * is involved.  TSC and LAPIC timer are read before and after.
 */
#include "arch/clock.h"
#include "arch/cpu.h"
#include "arch/io.h"
#include "arch/lapic.h"

#define PIT_HZ      1193182u
#define PIT_CHANNEL 0x42
#define PIT_COMMAND 0x43
#define PIT_MODE0   0xb0 /* channel 2, low then high byte, one shot       */
#define GATE_PORT   0x61
#define GATE_ON     0x01
#define GATE_SPEAK  0x02
#define GATE_OUT    0x20

#define WINDOW_MS  5
#define WINDOW     (PIT_HZ * WINDOW_MS / 1000)
#define POLL_LIMIT 10000000u

/* Written once on the boot CPU before the others run. */
static uint64_t tsc_hz, tsc_start;
static uint64_t ns_per_tick; /* 32.32 fixed point */

bool clock_calibrate(void)
{
	uint8_t gate = inb(GATE_PORT) & (uint8_t)~GATE_SPEAK;
	uint32_t timer, polls = 0;
	uint64_t tsc;

	outb(GATE_PORT, gate & (uint8_t)~GATE_ON);
	outb(PIT_COMMAND, PIT_MODE0);
	outb(PIT_CHANNEL, WINDOW & 0xff);
	outb(PIT_CHANNEL, WINDOW >> 8);
	lapic_timer_free_run();
	outb(GATE_PORT, gate | GATE_ON);
	tsc = rdtsc();
	timer = lapic_timer_count();
	while (!(inb(GATE_PORT) & GATE_OUT))
		if (++polls == POLL_LIMIT)
			return false;
	tsc_hz = (rdtsc() - tsc) * 1000 / WINDOW_MS;
	lapic_timer_set_rate((uint64_t)(timer - lapic_timer_count()) * 1000 /
			     WINDOW_MS);
	tsc_start = tsc;
	if (!tsc_hz)
		return false;
	ns_per_tick = (UINT64_C(1000000000) << 32) / tsc_hz;
	return true;
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
