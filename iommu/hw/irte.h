/* SPDX-License-Identifier: MIT */
/*
 * irte.h - the interrupt remapping table's entry: what a message becomes
 *
 * 48882, section 2.2.5 "Interrupt Remapping Tables".  A device's table is found
 * by its entry of the device table, the entry by bits 10:0 of the message's
 * data.  There are two layouts, one for the whole IOMMU: 32 bits, and 128 bits
 * where EFR_GA is there and CONTROL_GA_EN set.  Bits 6:0 are the same in both.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"

struct irte_32 {
	uint32_t w;
};
_Static_assert(sizeof(struct irte_32) == 4, "48882: the basic form, 32 bits");

struct irte_128 {
	uint64_t w[2];
};
_Static_assert(sizeof(struct irte_128) == 16, "48882: with GAEn, 128 bits");

#define IRTE_REMAP_EN   BIT(0)         /* valid; 0: the message is refused    */
#define IRTE_TYPE       GENMASK(4, 2)  /* 0: fixed                            */
#define IRTE_LOGICAL    BIT(6)         /* DM: what the destination is         */
#define IRTE_DEST       GENMASK(15, 8) /* a local APIC's id (no x2APIC)      */
#define IRTE_32_VECTOR  GENMASK(23, 16)
#define IRTE_128_VECTOR GENMASK(7, 0) /* in w[1]                             */

/* Remap to one local APIC, fixed and edge-triggered, as MSI does. */
static inline struct irte_32 irte_32_fixed(unsigned vector, uint32_t lapic_id)
{
	return (struct irte_32){ (
		uint32_t)(IRTE_REMAP_EN | FIELD_PREP(IRTE_DEST, lapic_id) |
			  FIELD_PREP(IRTE_32_VECTOR, vector)) };
}

static inline struct irte_128 irte_128_fixed(unsigned vector, uint32_t lapic_id)
{
	return (struct irte_128){ {
		IRTE_REMAP_EN | FIELD_PREP(IRTE_DEST, lapic_id),
		FIELD_PREP(IRTE_128_VECTOR, vector),
	} };
}
