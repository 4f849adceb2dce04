/* SPDX-License-Identifier: MIT */
/*
 * fake_pci.c - config space in memory
 */
#include "tests/fake_pci.h"
#include "kernel/string.h"

struct fake_pci fakes[FAKE_PCIS];

uint32_t fake_read(uint16_t devid, unsigned reg, unsigned bytes)
{
	uint32_t v = 0;

	memcpy(&v, fakes[devid].regs + reg, bytes);
	return v;
}

static void fake_write(uint16_t devid, unsigned reg, unsigned bytes, uint32_t v)
{
	struct fake_pci *f = &fakes[devid];

	if (reg >= PCI_BAR0 && reg < PCI_BAR0 + 4 * PCI_BARS &&
	    v == UINT32_MAX && (f->regs[PCI_COMMAND] & 7))
		f->sized_while_awake++;
	for (unsigned i = 0; i < bytes; i++, v >>= 8) {
		uint8_t fixed = f->sticks[reg + i], *at = &f->regs[reg + i];

		*at = (uint8_t)((*at & fixed) | (v & ~(unsigned)fixed));
	}
}

const struct pci_config fake_pci = { "fake", fake_read, fake_write };

void fake_put(unsigned n, unsigned reg, uint32_t v)
{
	memcpy(fakes[n].regs + reg, &v, 4);
}

void fake_stick(unsigned n, unsigned reg, uint32_t v)
{
	memcpy(fakes[n].sticks + reg, &v, 4);
}
