/* SPDX-License-Identifier: MIT */
/*
 * ids.h - what firmware says about each device number
 *
 * Tables of one IOMMU, 48882, chapter 5: which numbers it translates, which may
 * have no TLB of their own, which memory firmware goes on using by DMA, and which
 * devices' requests bear another's number:
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

#include <stdbool.h>
#include "arch/bits.h"
#include "arch/types.h"
#include "iommu/hw/dte.h"

/* A bit for each number. */
struct iommu_ids {
	uint64_t covers[DEVIDS / 64]; /* may be attached                    */
	uint64_t no_tlb[DEVIDS / 64]; /* ATTACH_ATS is refused              */
};

static inline bool ids_test(const uint64_t *set, uint16_t devid)
{
	return set[devid / 64] & BIT(devid % 64);
}

#define IOMMU_ALIASES 256

/* Requests of devices first .. last, both included, may bear `alias`. */
struct iommu_alias {
	uint16_t first, last, alias;
};

/* Local APICs, IOAPICs, the IOMMU's own registers: out of every device's reach. */
#define CONTROLLERS     UINT64_C(0xfec00000)
#define CONTROLLERS_END UINT64_C(0xff000000)

/*
 * Memory [start, end) that devices first .. last, both included, reach at the same
 * address while they are attached, because firmware goes on using it by DMA.
 * Linux: IOMMU_RESV_DIRECT.
 */
struct iommu_unity {
	uint16_t first, last;
	pa_t start, end; /* page aligned */
	bool read, write;
	const char *bad; /* why it is ignored; NULL: it is not             */
};
