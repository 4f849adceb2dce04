/* SPDX-License-Identifier: MIT */
/*
 * lapic.h - the local APIC: interrupts between CPUs, and the tick
 *
 * Intel SDM vol. 3, "Advanced Programmable Interrupt Controller"; xAPIC mode.
 */
#pragma once

#include "arch/types.h"

/*
 * Where the registers are mapped (the same physical page on every CPU), and
 * the first thing on the boot CPU.  Masks the legacy PIC.
 */
void lapic_setup(void *registers);

/* Enable the calling CPU's APIC.  Every CPU once. */
void lapic_init(void);

/* The calling CPU's id as firmware counts. */
uint32_t lapic_id(void);

/* The interrupt in service is done. */
void lapic_eoi(void);

/* Raise vector on CPU number cpu; on this one too (a self-IPI). */
void lapic_ipi(unsigned cpu, unsigned vector);

/* NMI to all CPUs but this. */
void lapic_nmi_others(void);

/* INIT and two start-up IPIs at page (physical, below 1 MiB) to a LAPIC id. */
void lapic_start_cpu(uint32_t id, pa_t page);

/* IRQ_TIMER hz times a second on this CPU, from now on. */
void lapic_timer_start(unsigned hz);

/* The counter of the timer, running free: for clock_calibrate(). */
void lapic_timer_free_run(void);
uint32_t lapic_timer_count(void);
void lapic_timer_set_rate(uint64_t ticks_per_second);
