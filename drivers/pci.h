/* SPDX-License-Identifier: MIT */
/*
 * pci.h - the functions of bus 0: their numbers, registers, and right to the bus
 *
 * Devices of other buses are silenced and printed, and have no drivers.
 *
 * PCI Local Bus 3.0 chapter 6; PCI Express Base 7.2.2 for the memory-mapped way
 * (ECAM).  Every value that a device gives is checked before it is used; functions
 * that may fail return NULL or a message.
 *
 * After pci_init() no function on the bus is a bus master: a driver gives its
 * device the right when the device is set up.
 */
#pragma once

#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/types.h"

/* The name of a function on the buses: also its index in an IOMMU's tables. */
#define PCI_DEVID(bus, slot, fn) ((uint16_t)((bus) << 8 | (slot) << 3 | (fn)))

enum pci_reg {
	PCI_VENDOR = 0x00, /* 16 bits; ffffh: no function there         */
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06, /* writing ones clears: never by a wide write */
	PCI_CLASS = 0x08,  /* class code in 31:8, revision in 7:0        */
	PCI_HEADER = 0x0e, /* layout in 6:0; 7: more functions           */
	PCI_BAR0 = 0x10,
	PCI_BUSES = 0x18, /* of a bridge; the last below it in 23:16      */
	PCI_CAPS = 0x34,
};

#define PCI_FUNCTIONS   256 /* of one bus                                     */
#define PCI_NO_FUNCTION 0xffff

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
	bool claimed;    /* by pci_map(), for this device                  */
	const char *bad; /* why it cannot be used; NULL: it can           */
};

/* Immutable after pci_init(), but for `claimed` and the last two: the driver's. */
struct pci_dev {
	const struct pci_config *config;
	uint16_t devid, vendor, device;
	uint32_t class; /* 24 bits: base class, subclass, interface       */
	uint8_t header; /* 0: a device, 1: a bridge                       */
	struct pci_bar bars[PCI_BARS];
	const char *driver; /* name of its driver; NULL: none             */
	unsigned vector;    /* its MSI, 0: none (drivers/msi.h)           */
};

/*
 * Call visit for every function that answers, of all buses from first on, in
 * order of devid.  By ports.  The first call looks for the buses: boot CPU, alone.
 */
void pci_walk(unsigned first, void (*visit)(uint16_t devid, void *arg),
	      void *arg);

/*
 * Take the right to master the bus from every function of every bus.  A bridge
 * that may not master the bus need not stop the devices below it.  Called before
 * any memory is used: until then a device can overwrite nothing of the kernel.
 */
void pci_silence(void);

/*
 * Find all functions of bus 0, size their BARs, and take the right to master
 * the bus from every one.  ecam: physical address of bus 0's window, 0 if there
 * is none; a window that does not show what the ports show is not used.
 * Boot CPU, once, after kmap_init().
 */
void pci_init(pa_t ecam);

/* True if there is a window and pci_init() uses it. */
bool pci_has_ecam(void);

/*
 * The last bus that functions may be on, now or after a hot-plug: of any root
 * bus, and bridges pass on what is on the buses that firmware gave them.  By
 * ports, as pci_walk().
 */
uint8_t pci_last_bus(void);
/* The last one below this function: 0 if it is no bridge. */
uint8_t pci_last_below(const struct pci_dev *dev);

/* The functions found, in order of devid; NULL past the last. */
struct pci_dev *pci_at(unsigned i);

/* The nth (from 0) of a kind, NULL if there are not so many. */
struct pci_dev *pci_find(uint16_t vendor, uint16_t device, unsigned nth);

/*
 * Look at one function, silence it, and describe it in *dev, sizing its BARs
 * (it answers to no address meanwhile).  Returns false if there is no function.
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

/* Claim a device for a driver (a name).  Returns NULL, or a message if another has
 * it. */
must_check const char *pci_claim(struct pci_dev *dev, const char *driver);

/* Set, read the right to start transfers (and interrupts, which are transfers). */
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
