/* SPDX-License-Identifier: MIT */
/*
 * machine.c - the machine's own IOMMU, behind memory-mapped registers
 */
#include "arch/io.h"
#include "drivers/msi.h"
#include "iommu/domain.h"
#include "iommu/ivrs.h"
#include "kernel/printk.h"
#include "mm/kmap.h"

#define CLASS_IOMMU 0x0806
#define PCI_LAST    0xfc /* the last register that every device has       */

static struct iommu machine;
static struct iommu_config config; /* (I) after boot                        */
static bool running;

static uint64_t mmio_reg_read(void *ctx, unsigned reg)
{
	return mmio_read64((char *)ctx + reg);
}

static void mmio_reg_write(void *ctx, unsigned reg, uint64_t value)
{
	mmio_write64((char *)ctx + reg, value);
}

struct iommu *iommu_machine(void)
{
	return running ? &machine : NULL;
}

void iommu_machine_avoid_ids(uint16_t bits)
{
	config.bad_ids = bits;
	rw_write_lock(&machine.lock);
	machine.bad_ids = bits;
	rw_write_unlock(&machine.lock);
}

static void interrupt(void *arg)
{
	iommu_kick(arg);
}

/* Its own PCI function: by class; its device id differs from QEMU to QEMU. */
static struct pci_dev *function_of(const struct ivrs *ivrs)
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		if (dev->devid == ivrs->devid && dev->class >> 8 == CLASS_IOMMU)
			return dev;
	return NULL;
}

/* The capability block's header; if we cannot read it, the worse. */
#define CAPABILITY_NP_CACHE BIT(26)

static bool keeps_holes(const struct ivrs *ivrs, const struct pci_dev *dev)
{
	return !dev || ivrs->capability > PCI_LAST ||
	       pci_read(dev, ivrs->capability, 4) & CAPABILITY_NP_CACHE;
}

/* Without its interrupt the logs are looked at when somebody asks. */
static void interrupt_init(struct pci_dev *dev)
{
	const char *why = dev ? NULL : "it is no function on bus 0";

	if (!why)
		why = pci_claim(dev, "iommu");
	if (!why)
		why = msi_enable(dev, 0, interrupt, &machine);
	if (why)
		printk("# iommu: no interrupt: %s\n", why);
}

const char *iommu_boot(const struct ivrs *ivrs)
{
	struct pci_dev *function = function_of(ivrs);
	struct iommu_port port = {
		.name = "machine",
		.read = mmio_reg_read,
		.write = mmio_reg_write,
		.ctx = kmap_device(ivrs->mmio, IOMMU_MMIO_SIZE),
	};

	config.np_cache = keeps_holes(ivrs, function);
	config.aliases = ivrs->aliases;
	config.n_aliases = ivrs->n_aliases;
	if (!port.ctx)
		return "no memory to map the IOMMU's registers";
	if (iommu_start(&machine, &port, &config))
		return "the IOMMU does not answer";
	running = true;
	interrupt_init(function);
	return NULL;
}

const char *iommu_machine_restart(void)
{
	struct iommu_port port = machine.port;
	struct pci_dev *dev;
	uint64_t masters = 0;

	_Static_assert(PCI_MAX <= 64, "a bit for each function");
	if (!running)
		return "there is no IOMMU";
	for (unsigned i = 0; (dev = pci_at(i)); i++) {
		masters |= pci_is_master(dev) ? BIT(i) : 0;
		pci_set_master(dev, false);
	}
	running = false;
	iommu_stop(&machine);
	if (iommu_start(&machine, &port, &config))
		return "the IOMMU does not answer";
	running = true;
	for (unsigned i = 0; (dev = pci_at(i)); i++)
		pci_set_master(dev, masters & BIT(i));
	return NULL;
}
