/* SPDX-License-Identifier: MIT */
/*
 * dte.h - the device table entry: who may DMA, through which page table
 *
 * 48882, section 2.2.2.1 "Device Table Entry Format".  The index is the
 * requester's id, bus:device.function.  The IOMMU may read (and cache) an entry
 * at any moment: w[0], which holds V and TV, is stored last and in one piece.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"

#define DEVIDS 65536u

struct dte {
	uint64_t w[4];
};
_Static_assert(sizeof(struct dte) == 32, "48882: a DTE is 256 bits");

#define DTE0_V        BIT(0)          /* entry valid                         */
#define DTE0_TV       BIT(1)          /* translation fields valid            */
#define DTE0_MODE     GENMASK(11, 9)  /* levels of the page table            */
#define DTE0_ROOT     GENMASK(51, 12) /* its physical address                */
#define DTE0_PPR      BIT(52)         /* the device may send page requests   */
#define DTE0_IR       BIT(61)         /* ANDed with IR of every level        */
#define DTE0_IW       BIT(62)
#define DTE0_RESERVED (GENMASK(6, 2) | BIT(63))
#define DTE1_DOMAIN   GENMASK(15, 0)
#define DTE1_I        BIT(32) /* the device may have a TLB of its own     */
#define DTE1_SE       BIT(33) /* of its page faults only the first is told */
#define DTE1_SA       BIT(34) /* none is                                  */

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
 * Nothing passes: a translation whose tree is one empty page.  The manual has
 * shorter ways (TV = 0, mode 0 without rights); QEMU lets some of them pass.
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
