/* SPDX-License-Identifier: MIT */
/*
 * ivrs.h - where the firmware says that an IOMMU is, and whom it guards
 *
 * 48882, chapter 5 "I/O Virtualization ACPI Table".  The table comes as
 * acpi_find() copied it; nothing in it is believed before it is bounded.
 */
#pragma once

#include "drivers/acpi.h"
#include "iommu/alias.h"
#include "mm/memmap.h"

#define IVRS_RANGES      32
#define IVRS_ALIASES     IOMMU_ALIASES
#define IVRS_FIRST_BLOCK 48 /* bytes of the table's header and IVinfo       */

/* Devices first .. last, both included. */
struct ivrs_range {
	uint16_t first, last;
};

struct ivrs {
	pa_t mmio;           /* registers, IOMMU_MMIO_SIZE bytes            */
	uint16_t devid;      /* the IOMMU's own function: its interrupt     */
	uint16_t capability; /* of that function, in its configuration      */
	unsigned n_ranges;
	struct ivrs_range ranges[IVRS_RANGES];
	unsigned n_aliases;
	struct iommu_alias aliases[IVRS_ALIASES];
};

/*
 * Read the first IOMMU of segment 0 (all blocks that name the same function).
 * Returns NULL, or what is wrong in one sentence.
 */
const char *ivrs_parse(const struct acpi_table *table, struct ivrs *ivrs);

/* May its registers be where it says?  Not in RAM; ranges in any order. */
const char *ivrs_check_mmio(const struct ivrs *ivrs,
			    const struct mem_range *ram, unsigned n);

/* Does the table say that this device's accesses pass the IOMMU? */
bool ivrs_covers(const struct ivrs *ivrs, uint16_t devid);
