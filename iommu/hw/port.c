/* SPDX-License-Identifier: MIT */
/*
 * port.c - set base registers, which firmware may have locked
 */
#include "iommu/hw/port.h"
#include "kernel/err.h"
#include "kernel/printk.h"

int port_set_base(const struct iommu_port *p, unsigned reg, uint64_t value)
{
	uint64_t is;

	reg_write(p, reg, value);
	is = reg_read(p, reg);
	if (is == value)
		return 0;
	printk("# iommu %s: register %#x keeps %#lx and does not take %#lx: "
	       "firmware has locked it\n",
	       p->name, reg, is, value);
	return err(EIO);
}
