/* SPDX-License-Identifier: MIT */
/*
 * pci_priv.h - what pci.c and pci_config.c share; not for others
 */
#pragma once

#include "drivers/pci.h"

/* Is there a function 0 in some slot of the bus?  By ports. */
bool pci_ports_bus_answers(unsigned bus);

/* Where bus 0's window is mapped, NULL: there is none.  pci_init() only. */
void pci_ecam_set(void *bus0);
