/* SPDX-License-Identifier: MIT */
/*
 * pt_x86.c - the masks and bits of the CPU's format
 *
 *   63 62..52  51 ....... 12  11..9   8   7   6   5   4    3    2   1   0
 *   NX  soft   frame address  soft    G   PS  D   A  PCD  PWT   U   W   P
 *
 * PS makes a leaf above level 0 (at level 0 that bit is PAT, which we leave 0).
 */
#include "mm/pt/pt_x86.h"

/* The geometry that the walker assumes. */
_Static_assert(PT_ENTRIES * sizeof(uint64_t) == PAGE_SIZE, "a table is a page");
_Static_assert(1u << PT_BITS == PT_ENTRIES, "an index has PT_BITS bits");
_Static_assert(PTE_ADDR == PT_ADDRESS, "all formats keep addresses there");

/* Make a leaf entry: struct pt_format, leaf. */
static uint64_t leaf(pa_t pa, enum prot prot, unsigned level)
{
	assert(level <= 1 && IS_ALIGNED(pa, pt_span(level)));
	assert(prot & PROT_R);
	return x86_leaf_at(pa, prot, level);
}

enum prot x86_prot(uint64_t entry)
{
	unsigned prot = PROT_R;

	if (!(entry & PTE_P))
		return PROT_NONE;
	prot |= entry & PTE_W ? PROT_W : 0;
	prot |= entry & PTE_NX ? 0 : PROT_X;
	prot |= entry & PTE_U ? PROT_USER : 0;
	prot |= entry & PTE_G ? PROT_GLOBAL : 0;
	prot |= entry & PTE_PCD ? PROT_UNCACHED : 0;
	return (enum prot)prot;
}

/*
 * For an IOMMU that walks the same tree (mm/core/entry.h), bits 9-11 hold the
 * number of levels below, and bits 61 and 62 grant all rights: the leaf decides.
 * Entries of the kernel half leave these bits clear, so no device can walk
 * through them.
 */
#define USER_TABLE(n)                                                      \
	(PTE_P | PTE_W | PTE_U | FIELD_PREP(PTE_NEXT_LEVEL, n) | BIT(61) | \
	 BIT(62))
#define KERNEL_TABLE (PTE_P | PTE_W)
/* The walk of a nested table counts as a user's access, at every level. */
#define NESTED_TABLE (PTE_P | PTE_W | PTE_U)

const struct pt_format pt_x86_user = {
	.name = "x86 user",
	.min_levels = PT_X86_LEVELS,
	.max_levels = PT_X86_LEVELS,
	.present = PTE_P,
	.table_mask = PTE_P | PTE_PS,
	.table_bits = { 0, USER_TABLE(1), USER_TABLE(2), USER_TABLE(3) },
	.leaf = leaf,
	.prot = x86_prot,
};

const struct pt_format pt_x86_kernel = {
	.name = "x86 kernel",
	.min_levels = PT_X86_LEVELS,
	.max_levels = PT_X86_LEVELS,
	.present = PTE_P,
	.table_mask = PTE_P | PTE_PS,
	.table_bits = { 0, KERNEL_TABLE, KERNEL_TABLE, KERNEL_TABLE },
	.leaf = leaf,
	.prot = x86_prot,
};

const struct pt_format pt_x86_nested = {
	.name = "x86 nested",
	.min_levels = PT_X86_LEVELS,
	.max_levels = PT_X86_LEVELS,
	.present = PTE_P,
	.table_mask = PTE_P | PTE_PS,
	.table_bits = { 0, NESTED_TABLE, NESTED_TABLE, NESTED_TABLE },
	.leaf = leaf,
	.prot = x86_prot,
};
