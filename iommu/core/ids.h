/* SPDX-License-Identifier: MIT */
/*
 * ids.h - what firmware says about each device number, besides its alias
 *
 * Tables of one IOMMU, 48882, chapter 5: which numbers it translates, which may
 * have no TLB of their own, and which memory firmware goes on using by DMA.
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
