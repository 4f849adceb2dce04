/* SPDX-License-Identifier: MIT */
/*
 * ioapic.h - the I/O APIC: from a chip's interrupt pin to a CPU's vector
 *
 * Intel 82093AA data sheet.  For devices without MSI: the serial line.
 */
#pragma once

#include <stdbool.h>
#include "arch/compiler.h"
#include "arch/types.h"

#define ISA_IRQS 16

#define IOAPIC_ALIGN 1024 /* its address is a multiple of that             */

/*
 * Set where the registers of the I/O APIC with GSI 0 are mapped, and mask all of its
 * inputs.  Returns false, with nothing set, if the registers do not behave like those
 * of an I/O APIC.  Context: boot CPU, once.
 */
must_check bool ioapic_setup(void *registers);

/*
 * Record that an ISA interrupt arrives at input gsi, active low or high, by level or
 * edge.  Once for each, before ioapic_enable_isa().  Returns false if there is no
 * such input.
 */
must_check bool ioapic_set_isa(unsigned irq, uint32_t gsi, bool low,
			       bool level);

/*
 * Make the ISA interrupt raise vector on CPU cpu.  Returns false if
 * there is no I/O APIC, it does not have the input, or the CPU has an APIC id
 * above 254, for which an input has no room.
 * Context: one caller at a time.
 */
must_check bool ioapic_enable_isa(unsigned irq, unsigned vector, unsigned cpu);
