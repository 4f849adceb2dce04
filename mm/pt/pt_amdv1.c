/* SPDX-License-Identifier: MIT */
/*
 * pt_amdv1.c - the masks and bits of the v1 format
 */
#include "mm/pt/pt_amdv1.h"

#define TABLE(next) \
	(AMDV1_PR | AMDV1_IR | AMDV1_IW | FIELD_PREP(AMDV1_NEXT_LEVEL, next))

/* Make a leaf entry: struct pt_format, leaf. */
static uint64_t leaf(pa_t pa, enum prot prot, unsigned level)
{
	assert(level <= 1 && IS_ALIGNED(pa, pt_span(level)));
	assert(prot & (PROT_R | PROT_W));
	return AMDV1_PR | AMDV1_FC | pa | (prot & PROT_R ? AMDV1_IR : 0) |
	       (prot & PROT_W ? AMDV1_IW : 0);
}

/* Return what a leaf grants: struct pt_format, prot. */
static enum prot rights(uint64_t entry)
{
	unsigned prot = 0;

	if (!(entry & AMDV1_PR))
		return PROT_NONE;
	prot |= entry & AMDV1_IR ? PROT_R : 0;
	prot |= entry & AMDV1_IW ? PROT_W : 0;
	return (enum prot)prot;
}

/* An entry at level n leads to level n - 1 or, with NextLevel 0, to data: this
 * kernel never skips levels. */
const struct pt_format pt_amdv1 = {
	.name = "AMD v1",
	.min_levels = AMDV1_MIN_LEVELS,
	.max_levels = AMDV1_MAX_LEVELS,
	.present = AMDV1_PR,
	.table_mask = AMDV1_PR | AMDV1_NEXT_LEVEL,
	.table_bits = { 0, TABLE(1), TABLE(2), TABLE(3), TABLE(4), TABLE(5) },
	.leaf = leaf,
	.prot = rights,
};
