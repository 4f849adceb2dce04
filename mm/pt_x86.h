/* SPDX-License-Identifier: MIT */
/*
 * pt_x86.h - the CPU's dialect of mm/pt.h
 *
 * Entry bits: arch/pte.h.  Rights of a leaf are ANDed with those of the table
 * entries above: those grant all that their half may grant, leaves decide.
 */
#pragma once

#include "arch/pte.h"
#include "mm/pt.h"

#define PT_X86_LEVELS 4

extern const struct pt_format pt_x86_user;   /* table entries carry U     */
extern const struct pt_format pt_x86_kernel; /* table entries do not      */

/*
 * The entry that maps the frame at pa.  Level 1 makes a 2 MiB leaf (pa aligned
 * so).  prot needs PROT_R: an entry that grants nothing is not a leaf.
 * A constant prot folds to a constant.
 */
static inline uint64_t x86_leaf_at(pa_t pa, enum prot prot, unsigned level)
{
	return pa | PTE_P | (prot & PROT_W ? PTE_W : 0) |
	       (prot & PROT_USER ? PTE_U : 0) |
	       (prot & PROT_GLOBAL ? PTE_G : 0) |
	       (prot & PROT_UNCACHED ? PTE_PCD | PTE_PWT : 0) |
	       (prot & PROT_X ? 0 : PTE_NX) | (level ? PTE_PS : 0);
}

static inline uint64_t x86_leaf(pa_t pa, enum prot prot)
{
	return x86_leaf_at(pa, prot, 0);
}

/* What a present leaf grants, GLOBAL and UNCACHED included. */
enum prot x86_prot(uint64_t entry);
