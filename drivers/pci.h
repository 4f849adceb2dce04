/* SPDX-License-Identifier: MIT */
/*
 * pci.h - what sits on bus 0: who, which registers where, may it speak
 *
 * PCI Local Bus 3.0 chapter 6; PCI Express Base 7.2.2 for the memory-mapped way
 * (ECAM).  Nothing that a device says about itself is believed before it is
 * bounded; errors are sentences, NULL is success.
 *
 * After pci_init() no function on the bus is a bus master: who drives a device
 * lets it speak, when there is something that it may say.
 */
#pragma once

#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/types.h"

/* The name of a function on the buses: also its index in an IOMMU's tables. */
#define PCI_DEVID(bus, slot, fn) ((uint16_t)((bus) << 8 | (slot) << 3 | (fn)))

enum pci_reg {
	PCI_VENDOR = 0x00, /* 16 bits; ffffh: nobody there              */
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06, /* writing ones clears: never by a wide write */
	PCI_CLASS = 0x08,  /* class code in 31:8, revision in 7:0        */
	PCI_HEADER = 0x0e, /* layout in 6:0; 7: more functions           */
	PCI_BAR0 = 0x10,
	PCI_CAPS = 0x34,
	PCI_IRQ_LINE = 0x3c, /* storage for software                     */
};

#define PCI_FUNCTIONS 256 /* of one bus                                     */
#define PCI_NOBODY    0xffff

#define PCI_COMMAND_IO     BIT(0)
#define PCI_COMMAND_MEMORY BIT(1)
#define PCI_COMMAND_MASTER BIT(2)
#define PCI_COMMAND_NO_IRQ BIT(10) /* no INTx                         */

#define PCI_CAP_MSI 0x05

#define ECAM_BUS (UINT64_C(1) << 20) /* bytes of the window for one bus   */

#define PCI_BARS    6
#define PCI_MAX     64 /* functions that are remembered              */
#define PCI_BAR_MAX (UINT64_C(1) << 28)

/* A way to reach the registers: 1, 2 or 4 bytes, naturally aligned. */
struct pci_config {
	const char *name;
	uint32_t (*read)(uint16_t devid, unsigned reg, unsigned bytes);
	void (*write)(uint16_t devid, unsigned reg, unsigned bytes, uint32_t v);
};

/* Ports cf8h and cfch: always there.  A memory window: if firmware says so. */
extern const struct pci_config pci_ports, pci_ecam;

struct pci_bar {
	pa_t pa;
	uint64_t size;   /* 0: not there                                  */
	bool io;         /* in port space, not memory                     */
	const char *bad; /* why it cannot be used; NULL: it can           */
};

/* Immutable after pci_init(), but for the last two: who drives the device. */
struct pci_dev {
	const struct pci_config *config;
	uint16_t devid, vendor, device;
	uint32_t class; /* 24 bits: base class, subclass, interface       */
	uint8_t header; /* 0: a device, 1: a bridge                       */
	struct pci_bar bars[PCI_BARS];
	const char *driver; /* who drives it; NULL: nobody                */
	unsigned vector;    /* its MSI, 0: none (drivers/msi.h)           */
};

/*
 * Take the right to master the bus from whatever firmware gave it to; a bridge
 * that may not passes nothing up, so buses behind one are silent too.  Before
 * any memory is used: what a device does until then it does to nobody.
 */
void pci_silence(void);

/*
 * Find all functions of bus 0, size their BARs, and take the right to master
 * the bus from every one.  ecam: physical address of bus 0's window, 0 if there
 * is none; a window that does not show what the ports show is not used.
 * Boot CPU, once, after kmap_init().
 */
void pci_init(pa_t ecam);

/* Is there a window, and does pci_init() use it? */
bool pci_has_ecam(void);

/* The functions found, in order of devid; NULL past the last. */
struct pci_dev *pci_at(unsigned i);

/* The nth (from 0) of a kind, NULL if there are not so many. */
struct pci_dev *pci_find(uint16_t vendor, uint16_t device, unsigned nth);

/*
 * Look at one function, silence it, and describe it in *dev, sizing its BARs
 * (it answers to no address meanwhile).  Returns false if nobody is there.
 */
bool pci_probe(const struct pci_config *config, uint16_t devid,
	       struct pci_dev *dev);

static inline uint32_t pci_read(const struct pci_dev *dev, unsigned reg,
				unsigned bytes)
{
	return dev->config->read(dev->devid, reg, bytes);
}

static inline void pci_write(const struct pci_dev *dev, unsigned reg,
			     unsigned bytes, uint64_t v)
{
	dev->config->write(dev->devid, reg, bytes, (uint32_t)v);
}

/* From now on driver (a name) drives it; NULL, or that another one does. */
must_check const char *pci_claim(struct pci_dev *dev, const char *driver);

/* May the device start transfers (and interrupts, which are transfers)? */
void pci_set_master(struct pci_dev *dev, bool on);
bool pci_is_master(const struct pci_dev *dev);

/*
 * Map the first len bytes of a memory BAR, uncached, and let the device answer
 * there.  *regs is unchanged on failure.  The same BAR gives the same address;
 * not from interrupts.
 */
must_check const char *pci_map(struct pci_dev *dev, unsigned bar, uint64_t len,
			       void **regs);

/*
 * Offset of the first capability with this id, 0 if there is none; then *why
 * says whether the list ended or is broken.
 */
unsigned pci_capability(const struct pci_dev *dev, unsigned id,
			const char **why);
