/* SPDX-License-Identifier: MIT */
/*
 * msi.h - a device's interrupt: a memory write that a local APIC takes
 *
 * PCI Local Bus 3.0, section 6.8.1; Intel SDM vol. 3, "Message Signalled
 * Interrupts".  Being a write, it needs the right to master the bus, and goes
 * through whatever checks the device's writes.
 */
#pragma once

#include "drivers/pci.h"

#define MSI_VECTORS 16

/*
 * From now on fn(arg) runs on CPU cpu, in interrupt context, for each message of
 * the device: one vector, which nobody else uses.  Returns NULL, or why not
 * (then nothing has changed).
 */
must_check const char *msi_enable(struct pci_dev *dev, unsigned cpu,
				  void (*fn)(void *arg), void *arg);

/*
 * No more messages.  When it returns fn does not run any more, nowhere.
 * Context: interrupts on, not in an interrupt; not from fn.
 */
void msi_disable(struct pci_dev *dev);
