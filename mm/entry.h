/* SPDX-License-Identifier: MIT */
/*
 * entry.h - what a leaf entry of a user table can say
 *
 *        63 NX  62 61  51        12 11..9   8        7  6 5 4 3 2 1 0
 *  mapped    x  IW IR  frame        0       .        .  D A . . U W P=1
 *  no access x    .    frame        0       NOACCESS .  D . . . . . P=0
 *  parked    .    .    frame        0       .        .  . . . . . PK P=0
 *  hole      0
 *
 * A mapped or no-access entry counts in page_maps(); a parked one does not: it
 * holds only a reference, and the next fault maps the page again (what Linux
 * calls a migration entry; a swap entry would take the same place).
 *
 * An IOMMU can walk the same tree: bits 61 and 62, which the CPU
 * ignores, are its IR and IW, and bits 9-11 its NextLevel, 0 in a leaf.  IW is
 * set with W and IR with P, in the same store, so that no device has a right
 * that the CPU has not (B32); everything that is not present has neither.
 *
 * Pages are writable only while PG_EXCLUSIVE (invariant B40): entry_make() asks
 * for each entry that is made, and who adds W to one that is there (fault.c,
 * protect.c) asks too.
 */
#pragma once

#include "arch/pte.h"
#include "mm/mm.h"
#include "mm/page.h"

#define ENTRY_IR BIT(61)            /* a device may read: as P             */
#define ENTRY_IW BIT(62)            /* a device may write: as W            */
#define ENTRY_W  (PTE_W | ENTRY_IW) /* written by whoever walks the tree   */

#define ENTRY_PARKED   BIT(1) /* PTE_W of a present entry           */
#define ENTRY_NOACCESS BIT(8) /* PTE_G, which no user entry uses    */

/* Does the entry count in page_maps()?  (The zero page counts nowhere.) */
static inline bool entry_mapped(uint64_t e)
{
	return e & (PTE_P | ENTRY_NOACCESS);
}

static inline bool entry_parked(uint64_t e)
{
	return (e & (PTE_P | ENTRY_NOACCESS | ENTRY_PARKED)) == ENTRY_PARKED;
}

/* The frame of an entry that is no hole. */
static inline struct page *entry_page(uint64_t e)
{
	return page_of((e & PTE_ADDR) >> PAGE_SHIFT);
}

/* The access bits, without the frame, that prot asks for. */
static inline uint64_t entry_rights(enum prot prot, bool writable)
{
	if (!prot)
		return ENTRY_NOACCESS | PTE_NX;
	return PTE_P | PTE_U | ENTRY_IR | (writable ? ENTRY_W : 0) |
	       (prot & PROT_X ? 0 : PTE_NX);
}

/* The entry that maps page with as many of the rights as it may have now. */
static inline uint64_t entry_make(struct page *page, enum prot prot)
{
	return page_pa(page) |
	       entry_rights(prot, (prot & PROT_W) && page_exclusive(page));
}

/*
 * Was the page written through the entry?  A CPU says so by D.  A device that
 * walks the same tree says nothing: what it may write it may have written (B33).
 * So who takes the entry, or W from it, asks here first.
 */
static inline bool entry_dirty(struct mm *mm, uint64_t e)
{
	return e & PTE_D || (e & ENTRY_IW && mm_has_notifiers(mm));
}

/* The entry that remembers page while nobody may reach it. */
static inline uint64_t entry_park(struct page *page)
{
	return page_pa(page) | ENTRY_PARKED;
}
