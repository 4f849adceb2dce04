/* SPDX-License-Identifier: MIT */
/*
 * alias.h - devices whose requests bear another's number
 *
 *   device 3:00.0 --+
 *                   +-- bridge to PCI, 2:00.0 ---> IOMMU sees 2:00.0
 *   device 3:01.0 --+
 *
 * A bridge to conventional PCI does not pass on the requester's number, and some
 * devices use the number of a function that does not exist; firmware says so
 * (IVRS, alias entries: 48882, 5.2.2.1).  So attach and detach change the entry
 * of the alias together with the device's own, and devices with the same alias
 * are in the same domain: the IOMMU cannot tell their requests apart.
 * Linux: clone_aliases(), IOMMU groups.
 */
#pragma once

#include "arch/types.h"

#define IOMMU_ALIASES 256

/* Requests of devices first .. last, both included, may bear `alias`. */
struct iommu_alias {
	uint16_t first, last, alias;
};
