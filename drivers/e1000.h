/* SPDX-License-Identifier: MIT */
/*
 * e1000.h - a network card that talks to itself, as an engine
 *
 * Intel 82540EM, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual".  With the PHY in loopback what it sends it receives: it
 * reads a frame at one address and writes it at another, 64 bits each.  On QEMU
 * both are done when the write of the tail register returns.
 */
#pragma once

#include "drivers/dma.h"

#define E1000_ID UINT32_C(0x100e8086) /* device and vendor                 */

/* Find the card and make it the engine "e1000".  Boot, after pci_init(). */
void e1000_init(void);
