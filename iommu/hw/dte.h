/* SPDX-License-Identifier: MIT */
/*
 * dte.h - the device table entry: through which page table a device may do DMA,
 * and through which table it may interrupt
 *
 * 48882, section 2.2.2.1 "Device Table Entry Format".  The index is the
 * requester's id, bus:device.function.  The IOMMU may read (and cache) an entry
 * at any moment: w[0], which holds V and TV, is stored last and in one piece.
 *
 * w[0], w[1] are about memory, w[2] is about interrupts: two halves, each valid
 * by its own bit (V, IV), each stored by its own owner: iommu_set_dte() and
 * iommu/core/remap.c.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"

#define DEVIDS 65536u

struct dte {
	uint64_t w[4];
};
_Static_assert(sizeof(struct dte) == 32, "48882: a DTE is 256 bits");

#define DTE0_V       BIT(0)          /* entry valid                         */
#define DTE0_TV      BIT(1)          /* translation fields valid            */
#define DTE0_MODE    GENMASK(11, 9)  /* levels of the page table            */
#define DTE0_ROOT    GENMASK(51, 12) /* its physical address                */
#define DTE0_PPR     BIT(52)         /* the device may send page requests   */
#define DTE0_IR      BIT(61)         /* ANDed with IR of every level        */
#define DTE0_IW      BIT(62)
#define DTE1_DOMAIN  GENMASK(15, 0)
#define DTE1_I       BIT(32) /* the device may have a TLB of its own     */
#define DTE1_SE      BIT(33) /* only its first page fault is logged      */
#define DTE1_SA      BIT(34) /* no page fault of it is logged            */
#define DTE2_IV      BIT(0)  /* what follows in this word is valid       */
#define DTE2_LENGTH  GENMASK(4, 1)   /* log2 of the table's entries         */
#define DTE2_ROOT    GENMASK(51, 6)  /* its physical address                */
#define DTE2_CONTROL GENMASK(61, 60) /* fixed and arbitrated interrupts     */
/* INIT, ExtINT, NMI, LINT0, LINT1: set, they pass as they are. */
#define DTE2_PASS   (GENMASK(58, 56) | GENMASK(63, 62))
#define INT_ABORT   0 /* DTE2_CONTROL                             */
#define INT_FORWARD 1 /* as they are                              */
#define INT_REMAP   2 /* through the table                        */

/* Translate through the tree of `levels` levels at root. */
static inline struct dte dte_translate(pa_t root, unsigned levels,
				       uint16_t domain)
{
	return (struct dte){ {
		DTE0_V | DTE0_TV | DTE0_IR | DTE0_IW | root |
			FIELD_PREP(DTE0_MODE, levels),
		FIELD_PREP(DTE1_DOMAIN, domain),
		0,
		0,
	} };
}

/*
 * Deny: translate through a tree of one empty page.  The manual has shorter ways
 * (TV = 0, mode 0 without rights), but QEMU lets some of them pass.
 */
static inline struct dte dte_deny(pa_t empty_root)
{
	return (struct dte){ {
		DTE0_V | DTE0_TV | empty_root | FIELD_PREP(DTE0_MODE, 1),
		0,
		0,
		0,
	} };
}

/* Make the word about interrupts: none passes. */
static inline uint64_t dte_no_interrupts(void)
{
	return DTE2_IV | FIELD_PREP(DTE2_CONTROL, INT_ABORT);
}

/* Make that word: the table of 2^bits entries at root decides. */
static inline uint64_t dte_remap_interrupts(pa_t root, unsigned bits)
{
	return DTE2_IV | FIELD_PREP(DTE2_LENGTH, bits) | root |
	       FIELD_PREP(DTE2_CONTROL, INT_REMAP);
}
