/* SPDX-License-Identifier: MIT */
/*
 * ioapic.h - the I/O APIC: from a chip's interrupt pin to a CPU's vector
 *
 * Intel 82093AA data sheet.  For what has no MSI: the serial line.
 */
#pragma once

#include <stdbool.h>
#include "arch/compiler.h"
#include "arch/types.h"

#define ISA_IRQS 16

/*
 * Where the registers of the I/O APIC with GSI 0 are mapped; masks all of its
 * inputs.  Boot CPU, once.
 */
void ioapic_setup(void *registers);

/*
 * The ISA interrupt arrives at input gsi, active low or high, by level or edge.
 * For each of them once, before ioapic_enable_isa().
 */
void ioapic_set_isa(unsigned irq, uint32_t gsi, bool low, bool level);

/*
 * From now on the ISA interrupt raises vector on CPU cpu.  Returns false if
 * there is no I/O APIC, or none that has its input.
 * Context: one caller at a time.
 */
must_check bool ioapic_enable_isa(unsigned irq, unsigned vector, unsigned cpu);
