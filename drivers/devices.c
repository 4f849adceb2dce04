/* SPDX-License-Identifier: MIT */
#include "drivers/devices.h"
#include "drivers/e1000.h"
#include "drivers/edu.h"
#include "drivers/ivshmem.h"
#include "drivers/lsi.h"
#include "drivers/testdev.h"
#include "kernel/printk.h"

/* One that we would drive, were it not behind a bridge. */
static void name_far(uint16_t devid, void *unused)
{
	static const struct {
		uint32_t id;
		const char *name;
	} ours[] = {
		{ LSI_ID, "LSI" },
		{ EDU_ID, "edu" },
		{ IVSHMEM_ID, "ivshmem" },
		{ E1000_ID, "e1000" },
	};
	uint32_t id;

	(void)unused;
	id = pci_ports.read(devid, PCI_VENDOR, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(ours); i++)
		if (ours[i].id == id)
			printk("# %s at %02x:%02x.%x is behind a bridge: only "
			       "bus 0 has drivers\n",
			       ours[i].name, devid >> 8, devid >> 3 & 31,
			       devid & 7u);
}

void devices_init(void)
{
	lsi_init();
	edu_init();
	ivshmem_init();
	e1000_init();
	testdev_init();
	pci_walk(1, name_far, NULL);
}
