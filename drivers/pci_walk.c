/* SPDX-License-Identifier: MIT */
/*
 * pci_walk.c - every function of every bus, by ports
 *
 * No register lists all buses: bridges name theirs, but a host may have several
 * root buses.  So each number is tried once, and a bus on which function 0 of no
 * slot answers is empty (PCI 3.0, 3.2.2.3.4: a device has a function 0).
 *
 * A bridge that may not master the bus still passes requests up, in QEMU and where
 * firmware has set it so.  So the right is taken from each device itself.
 */
#include "drivers/pci.h"
#include "drivers/pci_priv.h"

#define BUSES 256

/* Bit b % 64 of word b / 64: there is something on bus b. */
static uint64_t buses[BUSES / 64];
static bool found; /* the first walk has looked                          */

static void find_buses(void)
{
	for (unsigned bus = 0; bus < BUSES; bus++)
		if (pci_ports_bus_answers(bus))
			buses[bus / 64] |= BIT(bus % 64);
	buses[0] |= BIT(0);
	found = true;
}

void pci_walk(unsigned first, void (*visit)(uint16_t devid, void *arg),
	      void *arg)
{
	if (!found)
		find_buses();
	for (unsigned bus = first; bus < BUSES; bus++) {
		if (!(buses[bus / 64] & BIT(bus % 64)))
			continue;
		for (unsigned fn = 0; fn < PCI_FUNCTIONS; fn++) {
			uint16_t devid = (uint16_t)(bus << 8 | fn);

			if (pci_ports.read(devid, PCI_VENDOR, 2) !=
			    PCI_NO_FUNCTION)
				visit(devid, arg);
		}
	}
}

static void silence(uint16_t devid, void *unused)
{
	uint32_t command = pci_ports.read(devid, PCI_COMMAND, 2);

	(void)unused;
	pci_ports.write(devid, PCI_COMMAND, 2,
			command & (uint32_t)~PCI_COMMAND_MASTER);
}

void pci_silence(void)
{
	pci_walk(0, silence, NULL);
}
