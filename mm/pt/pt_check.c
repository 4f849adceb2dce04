/* SPDX-License-Identifier: MIT */
/*
 * pt_check.c - the checker of a tree: counts, kinds, depth
 */
#include "mm/pt/pt.h"

/* Check a subtree and count its tables.  Returns NULL or an error message. */
static const char *check_table(struct pt *pt, uint64_t *table, unsigned level,
			       unsigned first, unsigned last, uint64_t *tables)
{
	const char *wrong = NULL;
	uint64_t live = 0;

	(*tables)++;
	if (page_kind(pt_table_page(table)) != PAGE_TABLE)
		return "pt: a frame in the tree is not of kind TABLE";
	for (unsigned i = pt_next_live(table, first, last + 1);
	     i <= last && !wrong; i = pt_next_live(table, i + 1, last + 1)) {
		uint64_t entry = pte_read(&table[i]);

		live++;
		if (pt_is_table(pt->format, entry, level))
			wrong = check_table(pt, pt_table(entry), level - 1, 0,
					    PT_ENTRIES - 1, tables);
		else if (level > 1)
			wrong = "pt: a leaf larger than 2 MiB";
	}
	if (!wrong && live != pt_live(pt_table_page(table)))
		wrong = "pt: a table's live count is wrong";
	return wrong;
}

/* Return true if the leaf table that the tree remembers is the one that a walk finds. */
static bool near_is_linked(struct pt *pt)
{
	uint64_t near = READ_ONCE(pt->near);
	/* pt_near_key() backwards; what lies above bit 47 is bottom's. */
	va_t va = ((near >> 27 | near << 37) & GENMASK(47, 21)) |
		  (pt->bottom & ~GENMASK(47, 0));
	unsigned level;

	if (!near)
		return true;
	return pt_lookup(pt, va, 0, &level) ==
		       phys_to_virt(near ^ pt_near_key(va)) &&
	       !level;
}

const char *pt_check(struct pt *pt)
{
	unsigned level = pt->levels - 1;
	uint64_t tables = 0;
	const char *wrong =
		check_table(pt, pt->root, level, pt_index(pt->bottom, level),
			    pt_index(pt->top - 1, level), &tables);

	if (!wrong && tables != pt->tables)
		wrong = "pt: the number of tables is wrong";
	if (!wrong && !near_is_linked(pt))
		wrong = "pt: the remembered leaf table is not in the tree";
	return wrong;
}
