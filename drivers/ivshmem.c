/* SPDX-License-Identifier: MIT */
#include "drivers/ivshmem.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define BAR_MEMORY     2

static struct ivshmem found; /* (I) after boot; dev NULL: there is none */

const struct ivshmem *ivshmem(void)
{
	return found.dev ? &found : NULL;
}

int ivshmem_range(uint64_t offset, uint64_t bytes, iova_t *bus)
{
	assert(found.dev);
	if (offset > found.size || bytes > found.size - offset)
		return err(EINVAL);
	*bus = found.bus + offset;
	return 0;
}

void ivshmem_init(void)
{
	struct pci_dev *dev = pci_find(IVSHMEM_VENDOR, IVSHMEM_DEVICE, 0);
	const char *why;
	uint64_t size;
	void *memory;

	if (!dev)
		return;
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
	found = (struct ivshmem){ .dev = dev,
				  .memory = memory,
				  .bus = dev->bars[BAR_MEMORY].pa,
				  .size = size };
}
