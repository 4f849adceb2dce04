/* SPDX-License-Identifier: MIT */
/*
 * pt_large.c - split, join, grow; mm/pt/pt_large.h has the contracts
 */
#include "mm/pt/pt_large.h"
#include "kernel/err.h"

/* Return the slot at level 1 for va if a leaf of 2 MiB is there, else NULL. */
static uint64_t *large_slot(struct pt *pt, va_t va)
{
	unsigned level;
	uint64_t *slot = pt_lookup(pt, va, 0, &level);

	return level == 1 && pt_kind(pt->format, pte_read(slot), 1) == PT_LEAF
		       ? slot
		       : NULL;
}

int pt_split(struct pt *pt, va_t va)
{
	uint64_t *slot = large_slot(pt, va), *leaves;
	const struct pt_format *f = pt->format;
	struct page *table;
	enum prot prot;
	pa_t pa;

	if (!slot)
		return 0;
	table = pt->new_table();
	if (!table)
		return err(ENOMEM);
	page_set_kind(table, PAGE_TABLE);
	leaves = page_va(table);
	pa = pt_pa(pte_read(slot));
	prot = f->prot(pte_read(slot));
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		leaves[i] = f->leaf(pa + i * PAGE_SIZE, prot, 0);
	table->index = PT_ENTRIES;
	pt->tables++;
	pte_write(slot, page_pa(table) | f->table_bits[1]);
	return 0;
}

struct page *pt_join(struct pt *pt, va_t va)
{
	const struct pt_format *f = pt->format;
	uint64_t *leaves = pt_slot(pt, va, 0, false), *slot;
	struct page *table;
	unsigned level;
	enum prot prot;
	pa_t pa;

	assert(IS_ALIGNED(va, pt_span(1)));
	if (!leaves || pt_kind(f, leaves[0], 0) != PT_LEAF)
		return NULL;
	pa = pt_pa(leaves[0]);
	prot = f->prot(leaves[0]);
	if (!IS_ALIGNED(pa, pt_span(1)))
		return NULL;
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		if (pte_read(&leaves[i]) !=
		    f->leaf(pa + i * PAGE_SIZE, prot, 0))
			return NULL;
	table = pt_table_page(leaves);
	slot = pt_lookup(pt, va, 1, &level);
	assert(level == 1);
	pte_write(slot, f->leaf(pa, prot, 1));
	pt->tables--;
	pt_forget(pt); //: near-joined
	table->index = 0;
	return table;
}

int pt_grow(struct pt *pt)
{
	struct page *root;
	uint64_t *top;

	assert(!pt->bottom && pt->levels < pt->format->max_levels);
	root = pt->new_table();
	if (!root)
		return err(ENOMEM);
	page_set_kind(root, PAGE_TABLE);
	top = page_va(root);
	pte_write(top, pt_root_pa(pt) | pt->format->table_bits[pt->levels]);
	root->index = 1;
	pt->tables++;
	pt_forget(pt); /* of five levels none is remembered */
	pt->root = page_va(root);
	pt->levels++;
	pt->top = pt->levels == PT_MAX_LEVELS ? ~UINT64_C(0)
					      : pt_span(pt->levels);
	return 0;
}
