/* SPDX-License-Identifier: MIT */
/*
 * pci.c - find the functions of bus 0 and what they claim to have
 *
 * A function is probed by what it answers alone, through any struct pci_config:
 * tests hand in one that lies.
 *
 * A BAR is sized by writing ones and reading what sticks.  In between the
 * device would answer at a wild address, so it answers at none while its BARs
 * are looked at.
 *
 * Not here: devices behind bridges (pci_walk.c silences them), assigning addresses (firmware did), INTx.
 */
#include "drivers/pci.h"
#include "arch/cpu.h"
#include "drivers/pci_priv.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/mmio.h"
#include "mm/kernel/kmap.h"

#define HEADER_MULTI  0x80
#define HEADER_BRIDGE 1
#define SLOTS         32
#define FUNCTIONS     8

#define BAR_IO       BIT(0)
#define BAR_KIND     GENMASK(2, 1)
#define BAR_KIND_32  0
#define BAR_KIND_64  2
#define BAR_IO_MASK  GENMASK(15, 2) /* x86 has 64 KiB of ports           */
#define BAR_MEM_MASK (~GENMASK(3, 0))

#define STATUS_CAPS BIT(4)
#define CAPS_FIRST  0x40
#define CAPS_MAX    ((256 - CAPS_FIRST) / 4) /* longest list without a loop */

static struct pci_dev devs[PCI_MAX]; /* written by pci_init() only */
static unsigned n_devs;

/* ------------------------------------------------------------------ BARs */

/* What is wrong with a BAR whose registers read pa and size as they do? */
static const char *bar_judge(const struct pci_bar *bar, unsigned kind)
{
	if (!bar->io && kind != BAR_KIND_32 && kind != BAR_KIND_64)
		return "a BAR is of a reserved kind";
	if (bar->size & (bar->size - 1))
		return "a BAR's size is no power of two";
	if (!bar->pa)
		return "a BAR has no address";
	if (bar->io)
		return NULL;
	if (bar->size > PCI_BAR_MAX)
		return "a BAR has an absurd size";
	if (bar->size > cpu_pa_end() - bar->pa || bar->pa >= cpu_pa_end())
		return "a BAR lies beyond physical addresses";
	return NULL;
}

/* The register's value now, and which of its bits can be set. */
static uint32_t bar_size_reg(const struct pci_dev *dev, unsigned reg,
			     uint32_t *sticks)
{
	uint32_t was = pci_read(dev, reg, 4);

	pci_write(dev, reg, 4, UINT32_MAX);
	*sticks = pci_read(dev, reg, 4);
	pci_write(dev, reg, 4, was);
	return was;
}

/* Read BAR i of n; returns how many registers it takes. */
static unsigned bar_probe(struct pci_dev *dev, unsigned i, unsigned n)
{
	struct pci_bar *bar = &dev->bars[i];
	uint32_t lo_ones, hi_ones = UINT32_MAX, hi = 0, lo;
	unsigned kind;
	uint64_t mask;
	bool wide;

	lo = bar_size_reg(dev, PCI_BAR0 + 4 * i, &lo_ones);
	bar->io = lo & BAR_IO;
	kind = (unsigned)FIELD_GET(BAR_KIND, lo);
	wide = !bar->io && kind == BAR_KIND_64;
	if (wide && i + 1 < n)
		hi = bar_size_reg(dev, PCI_BAR0 + 4 * i + 4, &hi_ones);
	mask = bar->io ? BAR_IO_MASK : BAR_MEM_MASK;
	bar->pa = ((uint64_t)hi << 32 | lo) & mask;
	mask &= (uint64_t)hi_ones << 32 | lo_ones;
	if (!lo_ones || !mask)
		return 1;
	/* The lowest bit that sticks, if all above stick; else no power. */
	bar->size = bar->io ? (~mask & 0xffff) + 1 : ~mask + 1;
	bar->bad = bar_judge(bar, kind);
	if (wide && i + 1 == n)
		bar->bad = "a 64-bit BAR has no upper half";
	return wide ? 2 : 1;
}

static void bars_probe(struct pci_dev *dev)
{
	unsigned n = dev->header == 0 ? PCI_BARS : dev->header == 1 ? 2 : 0;
	uint32_t command = pci_read(dev, PCI_COMMAND, 2);
	uint64_t answers = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;

	command &= (uint32_t)~PCI_COMMAND_MASTER;
	pci_write(dev, PCI_COMMAND, 2, command & ~answers);
	for (unsigned i = 0; i < n;)
		i += bar_probe(dev, i, n);
	pci_write(dev, PCI_COMMAND, 2, command);
}

const char *pci_map(struct pci_dev *dev, unsigned bar, uint64_t len,
		    void **regs)
{
	struct pci_bar *b = &dev->bars[bar];
	const char *why;
	void *va;

	assert(bar < PCI_BARS && len);
	if (b->bad)
		return b->bad;
	if (!b->size)
		return "the device does not have this BAR";
	if (b->io)
		return "the BAR is in port space";
	if (len > b->size)
		return "the BAR is smaller than its registers";
	why = b->claimed ? NULL : mmio_claim("a BAR", b->pa, b->size);
	if (why)
		return why;
	b->claimed = true;
	va = kmap_device(b->pa, len);
	if (!va)
		return "no memory or no room to map a BAR";
	pci_write(dev, PCI_COMMAND, 2,
		  pci_read(dev, PCI_COMMAND, 2) | PCI_COMMAND_MEMORY);
	*regs = va;
	return NULL;
}

/* ---------------------------------------------------------- capabilities */

unsigned pci_capability(const struct pci_dev *dev, unsigned id,
			const char **why)
{
	unsigned at;

	*why = "the device does not have this capability";
	if (!(pci_read(dev, PCI_STATUS, 2) & STATUS_CAPS))
		return 0;
	at = pci_read(dev, PCI_CAPS, 1) & ~3u;
	for (unsigned n = 0; at; n++) {
		if (at < CAPS_FIRST) {
			*why = "the capability list points into the header";
			return 0;
		}
		if (n == CAPS_MAX) {
			*why = "the capability list is a loop";
			return 0;
		}
		if (pci_read(dev, at, 1) == id)
			return at;
		at = pci_read(dev, at + 1, 1) & ~3u;
	}
	return 0;
}

/* ------------------------------------------------------------- functions */

bool pci_probe(const struct pci_config *config, uint16_t devid,
	       struct pci_dev *dev)
{
	*dev = (struct pci_dev){ .config = config, .devid = devid };
	dev->vendor = (uint16_t)pci_read(dev, PCI_VENDOR, 2);
	if (dev->vendor == PCI_NO_FUNCTION)
		return false;
	dev->device = (uint16_t)pci_read(dev, PCI_DEVICE, 2);
	dev->class = pci_read(dev, PCI_CLASS, 4) >> 8;
	dev->header = pci_read(dev, PCI_HEADER, 1) & ~HEADER_MULTI;
	bars_probe(dev);
	return true;
}

void pci_set_master(struct pci_dev *dev, bool on)
{
	uint64_t command = pci_read(dev, PCI_COMMAND, 2);

	pci_write(dev, PCI_COMMAND, 2,
		  on ? command | PCI_COMMAND_MASTER
		     : command & ~PCI_COMMAND_MASTER);
}

bool pci_is_master(const struct pci_dev *dev)
{
	return pci_read(dev, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

static void found(const struct pci_dev *dev)
{
	if (n_devs == PCI_MAX) {
		printk("# PCI: more than %u functions, %02x:%02x.%x is not "
		       "used\n",
		       PCI_MAX, dev->devid >> 8, dev->devid >> 3 & 31,
		       dev->devid & 7);
		return;
	}
	devs[n_devs++] = *dev;
}

static void slot_probe(const struct pci_config *config, unsigned slot)
{
	unsigned functions = 1;

	for (unsigned fn = 0; fn < functions; fn++) {
		struct pci_dev dev;

		if (!pci_probe(config, PCI_DEVID(0, slot, fn), &dev))
			continue;
		if (!fn && pci_read(&dev, PCI_HEADER, 1) & HEADER_MULTI)
			functions = FUNCTIONS;
		found(&dev);
	}
}

/* Firmware's word for the window is good if both ways see the same bridge. */
static const char *window_open(pa_t ecam)
{
	const char *why = mmio_check("the PCI window", ecam, ECAM_BUS);
	void *va = why ? NULL : kmap_device(ecam, ECAM_BUS);

	if (why)
		return why;
	if (!va)
		return "no memory or no room to map the PCI window";
	pci_ecam_set(va);
	if (pci_ecam.read(0, PCI_VENDOR, 4) != pci_ports.read(0, PCI_VENDOR, 4))
		why = "the memory window does not show the bus";
	else
		why = mmio_claim("the PCI window", ecam, ECAM_BUS);
	if (why)
		pci_ecam_set(NULL);
	return why;
}

static const struct pci_config *choose(pa_t ecam)
{
	const char *why = ecam ? window_open(ecam) : NULL;

	if (why)
		printk("# PCI: %s: by ports\n", why);
	return ecam && !why ? &pci_ecam : &pci_ports;
}

void pci_init(pa_t ecam)
{
	const struct pci_config *config = choose(ecam);

	for (unsigned slot = 0; slot < SLOTS; slot++)
		slot_probe(config, slot);
}

uint8_t pci_last_below(const struct pci_dev *dev)
{
	if (dev->header != HEADER_BRIDGE)
		return 0;
	return (uint8_t)(pci_read(dev, PCI_BUSES, 4) >> 16);
}

static void last_of(uint16_t devid, void *arg)
{
	struct pci_dev dev = { .config = &pci_ports, .devid = devid };
	uint8_t *last = arg;

	dev.header = pci_read(&dev, PCI_HEADER, 1) & ~HEADER_MULTI;
	if (devid >> 8 > *last)
		*last = (uint8_t)(devid >> 8);
	if (pci_last_below(&dev) > *last)
		*last = pci_last_below(&dev);
}

uint8_t pci_last_bus(void)
{
	uint8_t last = 0;

	pci_walk(0, last_of, &last);
	return last;
}

struct pci_dev *pci_at(unsigned i)
{
	return i < n_devs ? &devs[i] : NULL;
}

struct pci_dev *pci_find(uint16_t vendor, uint16_t device, unsigned nth)
{
	for (unsigned i = 0; i < n_devs; i++)
		if (devs[i].vendor == vendor && devs[i].device == device &&
		    !nth--)
			return &devs[i];
	return NULL;
}

const char *pci_claim(struct pci_dev *dev, const char *driver)
{
	if (dev->driver)
		return "the device has a driver already";
	dev->driver = driver;
	return NULL;
}
