/* SPDX-License-Identifier: MIT */
#include "drivers/ivshmem.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"

#define BAR_MEMORY 2

/* (I) after boot; dev NULL: none */
static struct ivshmem found[IVSHMEM_DEVICES];

const struct ivshmem *ivshmem_at(unsigned i)
{
	return i < IVSHMEM_DEVICES && found[i].dev ? &found[i] : NULL;
}

const struct ivshmem *ivshmem(void)
{
	return ivshmem_at(0);
}

int ivshmem_range(uint64_t offset, uint64_t bytes, iova_t *bus)
{
	assert(found[0].dev);
	if (offset > found[0].size || bytes > found[0].size - offset)
		return err(EINVAL);
	*bus = found[0].bus + offset;
	return 0;
}

/* Claim and map one. */
static void one_init(struct pci_dev *dev, struct ivshmem *one)
{
	const char *why;
	uint64_t size;
	void *memory;

	size = dev->bars[BAR_MEMORY].size;
	size = size < IVSHMEM_MAX ? size : IVSHMEM_MAX;
	why = pci_claim(dev, "ivshmem");
	if (!why)
		why = size ? pci_map(dev, BAR_MEMORY, size, &memory)
			   : "the device has no memory";
	if (why) {
		printk("# ivshmem: %s\n", why);
		return;
	}
	*one = (struct ivshmem){ .dev = dev,
				 .memory = memory,
				 .bus = dev->bars[BAR_MEMORY].pa,
				 .size = size };
}

void ivshmem_init(void)
{
	struct pci_dev *dev;

	for (unsigned i = 0; i < IVSHMEM_DEVICES; i++) {
		dev = pci_find(IVSHMEM_ID & 0xffff, IVSHMEM_ID >> 16, i);
		if (dev)
			one_init(dev, &found[i]);
	}
}
