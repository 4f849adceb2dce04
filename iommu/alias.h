/* SPDX-License-Identifier: MIT */
/*
 * alias.h - devices whose requests bear another's number
 *
 *   device 3:00.0 --+
 *                   +-- bridge to PCI, 2:00.0 ---> IOMMU sees 2:00.0
 *   device 3:01.0 --+
 *
 * A bridge to conventional PCI cannot pass on who asks, and some devices use the
 * number of a function that is not there; firmware says so (IVRS, alias entries:
 * 48882, 5.2.2.1).  Who lets such a device in must let in the alias too, and who
 * shuts it out both; and whoever shares an alias shares a domain, for the IOMMU
 * cannot tell them apart.  Linux: clone_aliases(), IOMMU groups.
 */
#pragma once

#include "arch/types.h"

#define IOMMU_ALIASES 32

/* Requests of devices first .. last, both included, may bear `alias`. */
struct iommu_alias {
	uint16_t first, last, alias;
};
