/* SPDX-License-Identifier: MIT */
/*
 * pt_x86.h - the CPU's page-table format
 *
 * Entry bits: arch/pte.h.  Rights of a leaf are ANDed with those of the table
 * entries above, which grant all that their half may grant, so that the leaf
 * decides.
 */
#pragma once

#include "arch/pte.h"
#include "mm/pt/pt.h"

#define PT_X86_LEVELS 4

extern const struct pt_format pt_x86_user;   /* table entries carry U     */
extern const struct pt_format pt_x86_kernel; /* table entries do not      */

/* A guest's second table, from guest-physical to physical addresses: AMD APM vol. 2,
 * 15.25 "Nested Paging".  Every entry carries U, or the guest faults. */
extern const struct pt_format pt_x86_nested;

/*
 * Make the entry that maps the frame at pa.  Level 1 makes a 2 MiB leaf; pa is
 * aligned to its size.  prot contains PROT_R: an entry that grants nothing is not
 * a leaf.  With a constant prot the result is computed by the compiler.
 */
static inline uint64_t x86_leaf_at(pa_t pa, enum prot prot, unsigned level)
{
	return pa | PTE_P | (prot & PROT_W ? PTE_W : 0) |
	       (prot & PROT_USER ? PTE_U : 0) |
	       (prot & PROT_GLOBAL ? PTE_G : 0) |
	       (prot & PROT_UNCACHED ? PTE_PCD | PTE_PWT : 0) |
	       (prot & PROT_X ? 0 : PTE_NX) | (level ? PTE_PS : 0);
}

/* Make the entry that maps the 4 KiB frame at pa. */
static inline uint64_t x86_leaf(pa_t pa, enum prot prot)
{
	return x86_leaf_at(pa, prot, 0);
}

/* Return what a leaf grants, GLOBAL and UNCACHED included; PROT_NONE for a hole. */
enum prot x86_prot(uint64_t entry);
