/* SPDX-License-Identifier: MIT */
/*
 * msi.h - a device's interrupt: a memory write that a local APIC takes
 *
 * PCI Local Bus 3.0, section 6.8.1; Intel SDM vol. 3, "Message Signalled
 * Interrupts".  Being a write, it needs the right to master the bus, and an IOMMU
 * checks it: each one is granted by drivers/irq_grant.h.
 */
#pragma once

#include "drivers/pci.h"

#define MSI_VECTORS 16

/*
 * Have fn(arg) run on CPU cpu, in interrupt context, for each message of the
 * device, by a vector of its own.  Returns NULL, or a message with nothing changed.
 * Context: may sleep.
 */
must_check const char *msi_enable(struct pci_dev *dev, unsigned cpu,
				  void (*fn)(void *arg), void *arg);

/*
 * Stop the messages.  From the return on fn runs on no CPU.
 * Context: interrupts on, not in an interrupt; not from fn.
 */
void msi_disable(struct pci_dev *dev);
