/* SPDX-License-Identifier: MIT */
/*
 * irq_grant.h - the list of granted interrupts, and the guard that enforces it
 *
 *   msi.c, serial.c ── irq_grant() ──► the list ──► the guard, if there is one
 *                                                   (iommu/core/machine.c)
 *
 * A device interrupts by a write, and may write any message: another vector, an
 * NMI, to another CPU.  So code that programs a device's interrupt adds it to the
 * list first, and the IOMMU lets the messages on the list pass and no others.  The
 * device is programmed alike with and without an IOMMU, because the index by which
 * the IOMMU finds its entry is the vector itself.
 * Linux: irq domains, msi_create_irq_domain() on top of the remapper's.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

#define IRQ_GRANTS    24
#define IRQ_OF_IOAPIC UINT32_C(0x10000) /* a source that is no PCI function */

struct irq_grant {
	uint32_t source; /* devid, or IRQ_OF_IOAPIC                         */
	unsigned vector; /* 0: no grant                                     */
	uint32_t lapic_id;
};

struct irq_guard {
	/* Let it pass.  Returns NULL, or a message with nothing granted. */
	const char *(*grant)(const struct irq_grant *grant);
	/* Stop it: after the return no message that is sent later arrives. */
	void (*revoke)(const struct irq_grant *grant);
};

/*
 * Let source raise vector on CPU cpu.  Returns NULL, or a message with nothing
 * changed.  Context: may sleep.
 */
must_check const char *irq_grant(uint32_t source, unsigned vector,
				 unsigned cpu);

/* Take a grant back.  Context as above. */
void irq_revoke(uint32_t source, unsigned vector);

/*
 * Set the guard, which enforces all that is on the list already; NULL: none.
 * Context: no thread grants or revokes meanwhile.
 */
void irq_set_guard(const struct irq_guard *guard);

/* All IRQ_GRANTS entries of the list, those with vector 0 are free. */
const struct irq_grant *irq_grants(void);
