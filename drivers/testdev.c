/* SPDX-License-Identifier: MIT */
#include "drivers/testdev.h"
#include "arch/io.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"

enum testdev_reg {
	REG_GO = 0x00, /* a read of it runs what was armed                */
	REG_BUS = 0x04,
	REG_BUS_HIGH = 0x08,
	REG_LEN = 0x0c,
	REG_RESULT = 0x10,
	REG_ARM = 0x14,
	REG_LANDS = 0x1c, /* where it looks for what it wrote           */
	REG_LANDS_HIGH = 0x20,
};

#define REGS_BYTES    256
#define RESULT_FAILED UINT32_C(0xdead0002)

static struct pci_dev *found; /* (I) after boot                           */
static char *regs;

const struct pci_dev *testdev(void)
{
	return found;
}

static void reg_write(enum testdev_reg reg, uint64_t value)
{
	mmio_write32(regs + reg, (uint32_t)value);
}

int testdev_write(iova_t bus, pa_t lands, uint32_t bytes)
{
	uint32_t result;

	assert(found && bytes);
	reg_write(REG_BUS, bus);
	reg_write(REG_BUS_HIGH, bus >> 32);
	reg_write(REG_LANDS, lands);
	reg_write(REG_LANDS_HIGH, lands >> 32);
	reg_write(REG_LEN, bytes);
	reg_write(REG_ARM, 1);
	mmio_read32(regs + REG_GO);
	barrier(); /* what the device wrote is read after this */
	result = mmio_read32(regs + REG_RESULT);
	if (result == RESULT_FAILED)
		return err(EIO);
	return result ? err(ENOENT) : 0;
}

void testdev_init(void)
{
	struct pci_dev *dev =
		pci_find(TESTDEV_ID & 0xffff, TESTDEV_ID >> 16, 0);
	const char *why;
	void *at;

	if (!dev)
		return;
	why = pci_claim(dev, "testdev");
	if (!why)
		why = pci_map(dev, 0, REGS_BYTES, &at);
	if (why) {
		printk("# testdev: %s\n", why);
		return;
	}
	regs = at;
	found = dev;
}
