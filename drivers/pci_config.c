/* SPDX-License-Identifier: MIT */
/*
 * pci_config.c - two ways to the same registers
 *
 *   ports   write the address to cf8h, the data is at cfch: two steps that
 *           belong together, 256 bytes a function
 *   window  bus 0 is 1 MiB of memory, 4 KiB a function: one access
 *
 * Locks: pci_lock keeps the two steps of the ports together, also against
 * interrupts.  The window needs none.
 */
#include "arch/io.h"
#include "drivers/pci_priv.h"
#include "kernel/lock.h"
#include "kernel/panic.h"

#define ADDRESS_PORT   0xcf8
#define DATA_PORT      0xcfc
#define ADDRESS_ENABLE BIT(31)
#define PORT_REGS      256
#define ECAM_REGS      4096

static struct spinlock pci_lock = SPINLOCK_INIT(RANK_PCI, "pci ports");
static char *window; /* of bus 0; written once, by pci_init() */

static void check(unsigned reg, unsigned bytes, unsigned limit)
{
	assert(bytes == 1 || bytes == 2 || bytes == 4);
	assert(reg % bytes == 0 && reg + bytes <= limit);
}

/* ----------------------------------------------------------------- ports */

/* Select the dword; returns the port of the byte in it. */
static uint16_t ports_select(uint16_t devid, unsigned reg)
{
	outl(ADDRESS_PORT,
	     (uint32_t)ADDRESS_ENABLE | (uint32_t)devid << 8 | (reg & ~3u));
	return (uint16_t)(DATA_PORT + (reg & 3));
}

static uint32_t ports_read(uint16_t devid, unsigned reg, unsigned bytes)
{
	uint64_t flags;
	uint16_t port;
	uint32_t v;

	check(reg, bytes, PORT_REGS);
	flags = spin_lock_irq(&pci_lock);
	port = ports_select(devid, reg);
	v = bytes == 1 ? inb(port) : bytes == 2 ? inw(port) : inl(port);
	spin_unlock_irq(&pci_lock, flags);
	return v;
}

static void ports_write(uint16_t devid, unsigned reg, unsigned bytes,
			uint32_t v)
{
	uint64_t flags;
	uint16_t port;

	check(reg, bytes, PORT_REGS);
	flags = spin_lock_irq(&pci_lock);
	port = ports_select(devid, reg);
	if (bytes == 1)
		outb(port, (uint8_t)v);
	else if (bytes == 2)
		outw(port, (uint16_t)v);
	else
		outl(port, v);
	spin_unlock_irq(&pci_lock, flags);
}

bool pci_ports_bus_answers(unsigned bus)
{
	uint64_t flags = spin_lock_irq(&pci_lock);
	uint32_t at = (uint32_t)ADDRESS_ENABLE | bus << 16, end = at | 0xf800;
	bool any = false;

	for (; at <= end && !any; at += 0x800) { /* a slot */
		outl(ADDRESS_PORT, at);
		any = inw(DATA_PORT) != PCI_NO_FUNCTION;
	}
	spin_unlock_irq(&pci_lock, flags);
	return any;
}

const struct pci_config pci_ports = { "ports", ports_read, ports_write };

/* ---------------------------------------------------------------- window */

static char *ecam_reg(uint16_t devid, unsigned reg)
{
	assert(window && devid >> 8 == 0);
	return window + ((size_t)devid << 12) + reg;
}

static uint32_t ecam_read(uint16_t devid, unsigned reg, unsigned bytes)
{
	const char *at = ecam_reg(devid, reg);

	check(reg, bytes, ECAM_REGS);
	return bytes == 1   ? mmio_read8(at)
	       : bytes == 2 ? mmio_read16(at)
			    : mmio_read32(at);
}

static void ecam_write(uint16_t devid, unsigned reg, unsigned bytes, uint32_t v)
{
	char *at = ecam_reg(devid, reg);

	check(reg, bytes, ECAM_REGS);
	if (bytes == 1)
		mmio_write8(at, (uint8_t)v);
	else if (bytes == 2)
		mmio_write16(at, (uint16_t)v);
	else
		mmio_write32(at, v);
}

const struct pci_config pci_ecam = { "window", ecam_read, ecam_write };

void pci_ecam_set(void *bus0)
{
	window = bus0;
}

bool pci_has_ecam(void)
{
	return window != NULL;
}
