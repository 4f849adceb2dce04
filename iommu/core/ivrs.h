/* SPDX-License-Identifier: MIT */
/*
 * ivrs.h - the ACPI IVRS table: where IOMMUs are, which devices each translates
 *
 *   ivrs_parse()  ──► units: registers, function, flags    one for each IOMMU
 *                 ──► unity: memory that firmware uses through devices
 *   ivrs_ids()    ──► what one unit's entries say about 65,536 device numbers
 *
 * 48882, chapter 5 "I/O Virtualization ACPI Table".  The table is acpi_find()'s
 * copy; every length is checked before it is used.  Functions here change only
 * their arguments, so that tests on the host run them too.  Any context.
 */
#pragma once

#include "drivers/acpi.h"
#include "iommu/core/ids.h"
#include "mm/frame/memmap.h"

#define IVRS_UNITS       32
#define IVRS_UNITY       32
#define IVRS_FIRST_BLOCK 48 /* bytes of the table's header and IVinfo       */

/* Of a unit: what firmware wants in CONTROL. */
#define IVRS_HT_TUNNEL   BIT(0)
#define IVRS_PASS_PW     BIT(1)
#define IVRS_RES_PASS_PW BIT(2)
#define IVRS_ISOC        BIT(3)
#define IVRS_DEVICE_TLBS BIT(4) /* 0: no device may have a TLB             */
#define IVRS_COHERENT    BIT(5)

/* One IOMMU, as its blocks of the highest type say. */
struct ivrs_unit {
	pa_t mmio;           /* registers, IOMMU_MMIO_SIZE bytes            */
	uint16_t segment;    /* of PCI                                      */
	uint16_t devid;      /* its own function: its interrupt             */
	uint16_t capability; /* of that function, in its configuration      */
	uint8_t type, flags; /* IVRS_*                                      */
	bool disagrees;      /* blocks of a lower type differ               */
	const char *bad;     /* why it cannot be used; NULL: it can         */
};

struct ivrs {
	const struct acpi_table *table; /* of ivrs_parse()'s caller         */
	unsigned n_units, more_blocks;  /* more: of IOMMUs without room     */
	struct ivrs_unit units[IVRS_UNITS];
	unsigned n_unity, more_unity;
	struct iommu_unity unity[IVRS_UNITY];
};

/*
 * Parse the table.  Where blocks of several types name one IOMMU the highest type
 * counts, as in Linux, Xen and FreeBSD.  A torn block or entry refuses the whole
 * table.  The caller keeps the table unchanged.
 * Returns NULL or a message, also if no unit of segment 0 can be used.
 */
const char *ivrs_parse(const struct acpi_table *table, struct ivrs *ivrs);

/*
 * Collect what a unit's entries say: the numbers it covers, except those of ACPI
 * devices, which no PCI function has; and aliases[0 .. *n), IOMMU_ALIASES at most.
 * A device whose alias finds no room is not covered.  Returns NULL or a message.
 */
const char *ivrs_ids(const struct ivrs *ivrs, unsigned unit,
		     struct iommu_ids *ids, struct iommu_alias *aliases,
		     unsigned *n);

/*
 * Find the number that the messages of the MADT's IOAPIC with this id bear.
 * Returns NULL and *devid, or a message.
 */
const char *ivrs_ioapic(const struct ivrs *ivrs, uint8_t id, uint16_t *devid);

/*
 * Mark as bad the unity ranges in the kernel's memory (n ranges, in any order), at
 * or above top, where the CPU's physical addresses end, in the interrupt
 * controllers or in the registers of a unit; and a range that overlaps an earlier
 * one of the same device and is not included in it.
 */
void ivrs_refuse_unity(struct ivrs *ivrs, const struct mem_range *ram,
		       unsigned n, pa_t top);
