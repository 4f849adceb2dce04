/* SPDX-License-Identifier: MIT */
/*
 * fake_pci.h - functions that lie: config space of which every bit can be set,
 * except where a test says that it sticks
 */
#pragma once

#include "drivers/pci.h"

#define FAKE_PCIS 17

/* A struct pci_config whose devids 0 .. FAKE_PCIS - 1 are these. */
extern const struct pci_config fake_pci;

extern struct fake_pci {
	uint8_t regs[256], sticks[256]; /* bits that cannot be set          */
	unsigned sized_while_awake;     /* BARs given all ones while it
					   answered or mastered */
} fakes[FAKE_PCIS];

/* Set a register of function n, and which of a register's bits are fixed. */
void fake_put(unsigned n, unsigned reg, uint32_t v);
void fake_stick(unsigned n, unsigned reg, uint32_t bits);

/* What a driver would read. */
uint32_t fake_read(uint16_t devid, unsigned reg, unsigned bytes);
