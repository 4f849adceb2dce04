/* SPDX-License-Identifier: MIT */
/*
 * lapic.h - the local APIC: interrupts between CPUs, and the tick
 *
 * Intel SDM vol. 3, "Advanced Programmable Interrupt Controller".  xAPIC mode; in
 * x2APIC mode if firmware has switched to it, which has no way back.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

/*
 * Set *base to the physical address of the registers (IA32_APIC_BASE), 0 in x2APIC
 * mode; switch the APIC on if firmware did not.  Returns NULL, or an error message if
 * there is no local APIC.  Context: boot CPU, before all other functions here.
 */
must_check const char *lapic_find(pa_t *base);

/*
 * Set where the registers are mapped (the same physical page on every CPU), NULL in
 * x2APIC mode.  Masks the legacy PIC.  Context: boot CPU, once.
 */
void lapic_setup(void *registers);

/*
 * Put the calling CPU's APIC into the boot CPU's mode.  Context: once on each other
 * CPU, before any function below: an x2APIC register of a CPU that is not in x2APIC
 * mode is #GP, and so early a triple fault.
 */
void lapic_join(void);

/* Enables the calling CPU's APIC.  Context: once on every CPU. */
void lapic_init(void);

/* Returns the calling CPU's APIC id. */
uint32_t lapic_id(void);

/* Returns the highest id that an interrupt can be sent to, in this mode. */
uint32_t lapic_id_max(void);

/* Acknowledges the interrupt in service (EOI). */
void lapic_eoi(void);

/* Raises vector on CPU number cpu, which may be the calling one (a self-IPI). */
void lapic_ipi(unsigned cpu, unsigned vector);

/* Sends an NMI to CPU number cpu. */
void lapic_nmi(unsigned cpu);

/*
 * Returns whether this vector is in service at the calling CPU's APIC.  False also for
 * an exception and for INT n, which no APIC delivers, and before lapic_setup().
 */
bool lapic_in_service(unsigned vector);

/* Returns whether it has accepted this vector and not yet interrupted the CPU. */
bool lapic_pending(unsigned vector);

/*
 * Set the calling CPU's bit in logical destinations, or none; none after
 * lapic_init().  The kernel sends to no logical destination.
 */
void lapic_set_logical(uint8_t name);

/* Sends INIT and two start-up IPIs for page (physical, below 1 MiB) to a LAPIC id. */
void lapic_start_cpu(uint32_t id, pa_t page);

/* Starts the timer: IRQ_TIMER hz times a second on this CPU. */
void lapic_timer_start(unsigned hz);

/* Returns the free-running counter of the timer, for clock_calibrate(). */
void lapic_timer_free_run(void);
uint32_t lapic_timer_count(void);
void lapic_timer_set_rate(uint64_t ticks_per_second);
