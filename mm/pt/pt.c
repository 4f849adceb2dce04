/* SPDX-License-Identifier: MIT */
/*
 * pt.c - add tables, iterate, map one leaf, unmap, prune; pt_map.c maps ranges
 *
 * Inside this file addresses are compared as [first, last], both inclusive, so
 * that the end of the kernel half, 2^64, needs no special case.  In the interface
 * ranges are half-open as everywhere, and an end of 0 means 2^64.
 *
 *        pt_slot_slow          pt_prune
 *      3 [  ......X...... ]    3 [  ......X...... ]   3. unlink 2's table
 *                 |  last                 |
 *      2 [  .*.........   ]    2 [  .*.........   ]   2. unlink 1's table
 *            |  second               |
 *      1 [    ..*......   ]    1 [    ..*......   ]   1. unlink the leaf table
 *               |  first                |
 *      0 [    new         ]    0 [    empty       ]
 *
 * pt_slot_slow() links the finished path into the tree by its top entry, last:
 * an MMU that walks the tree at the same time meets all of it or nothing.
 */
#include "mm/pt/pt.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"

/* Return true if the tree covers [first, last]. */
static bool in_bounds(const struct pt *pt, va_t first, va_t last)
{
	return first <= last && first >= pt->bottom && last <= pt->top - 1;
}

/* ---------------------------------------------------------- life of a tree */

/* Allocate an empty table; NULL without memory. */
static struct page *table_make(struct pt *pt)
{
	struct page *table = pt->new_table();

	if (table) {
		page_set_kind(table, PAGE_TABLE);
		assert(!pt_live(table));
	}
	return table;
}

int pt_init(struct pt *pt, const struct pt_format *format, unsigned levels,
	    va_t bottom, va_t top, struct page *(*new_table)(void))
{
	struct page *root;

	assert(levels >= format->min_levels && levels <= format->max_levels);
	pt->format = format;
	pt->levels = levels;
	pt->bottom = bottom;
	pt->top = top;
	pt->new_table = new_table ? new_table : page_alloc_zeroed;
	pt_forget(pt);
	root = table_make(pt);
	if (!root)
		return err(ENOMEM);
	pt->root = page_va(root);
	pt->tables = 1;
	return 0;
}

void pt_destroy(struct pt *pt, pt_release_fn *fn, void *arg)
{
	pt_prune(pt, pt->bottom, pt->top, fn, arg);
	assert(pt->tables == 1 && !pt_live(pt_table_page(pt->root)));
	pt->tables = 0;
	fn(pt_table_page(pt->root), arg);
	pt->root = NULL;
}

/* --------------------------------------------------------------- walking */

/*
 * Do pt_lookup() and return in *entry what ended the walk: no table entry, unless
 * at level least.  Each entry is read once, because a hole may become a table
 * meanwhile.
 */
static inline uint64_t *walk(struct pt *pt, va_t va, unsigned least,
			     unsigned *level, uint64_t *entry)
{
	const struct pt_format *f = pt->format;
	unsigned n = pt->levels - 1;
	uint64_t *slot = &pt->root[pt_index(va, n)], e;

	assert(in_bounds(pt, va, va));
	e = pte_read(slot);
	while (n > least && pt_is_table(f, e, n)) {
		slot = &pt_table(e)[pt_index(va, --n)];
		e = pte_read(slot);
	}
	*entry = e;
	*level = n;
	return slot;
}

uint64_t *pt_lookup(struct pt *pt, va_t va, unsigned least, unsigned *level)
{
	uint64_t entry;

	return walk(pt, va, least, level, &entry);
}

/* Allocate n tables for a path.  Returns false without memory, with none. */
static bool tables_make(struct pt *pt, struct page **fresh, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fresh[i] = table_make(pt);
		if (!fresh[i]) {
			while (i-- > 0)
				page_put(fresh[i]);
			return false;
		}
	}
	return true;
}

/* Make the entry at level n that leads to a table. */
static uint64_t table_entry(const struct pt *pt, const struct page *table,
			    unsigned n)
{
	return page_pa(table) | pt->format->table_bits[n];
}

uint64_t *pt_slot_slow(struct pt *pt, va_t va, unsigned level, bool alloc)
{
	struct page *fresh[PT_MAX_LEVELS];
	unsigned at, missing;
	uint64_t *top = pt_lookup(pt, va, level, &at), *slot;

	if (at == level)
		return top;
	if (!alloc || pte_read(top))
		return NULL; /* no alloc; or a larger leaf, or an evicted one */
	missing = at - level;
	if (!tables_make(pt, fresh, missing))
		return NULL;
	for (unsigned i = 1; i < missing; i++) {
		slot = page_va(fresh[i]);
		slot += pt_index(va, level + i);
		pt_set(pt, slot, table_entry(pt, fresh[i - 1], level + i));
	}
	pt_set(pt, top, table_entry(pt, fresh[missing - 1], at));
	pt->tables += missing;
	slot = page_va(fresh[0]);
	return slot + pt_index(va, level);
}

/* Remember the leaf table of slot, in a tree whose addresses all have the same bits above
 * 47: the key does not tell them apart. */
static inline void near_set(struct pt *pt, va_t va, uint64_t *slot)
{
	if (likely(pt->levels <= PT_USUAL))
		WRITE_ONCE(pt->near, (virt_to_phys(slot) & PT_NEAR_ADDRESS) ^
					     pt_near_key(va));
}

uint64_t *pt_slot_far(struct pt *pt, va_t va, bool alloc)
{
	uint64_t *slot = pt_slot_walk(pt, va, 0, alloc);

	if (slot)
		near_set(pt, va, slot);
	return slot;
}

/* Count the entries from va's to that of last or the end of the table. */
static unsigned run_length(va_t va, va_t last, unsigned level)
{
	uint64_t left = PT_ENTRIES - pt_index(va, level);
	uint64_t want = last / pt_span(level) - va / pt_span(level) + 1;

	return (unsigned)(left < want ? left : want);
}

/* The slots from va's on, to that of last or the end of the leaf table. */
static inline void run_of_leaves(struct pt_run *run, uint64_t *slot, va_t va,
				 va_t last)
{
	run->slots = slot;
	run->va = ALIGN_DOWN(va, PAGE_SIZE);
	run->count = run_length(va, last, 0);
	run->level = 0;
}

bool pt_next_run(struct pt *pt, va_t *va, va_t end, struct pt_run *run)
{
	va_t last = end - 1, at = *va;

	if (*va == end)
		return false;
	assert(in_bounds(pt, at, last));
	for (;;) {
		unsigned level = 0, n, skip = 1;
		uint64_t entry = 0, *slot = NULL;

		/* Most often the table is there: 42 instructions less than a walk(). */
		if (likely(pt->levels == PT_USUAL))
			slot = pt_slot(pt, at, 0, false);
		if (unlikely(!slot))
			slot = walk(pt, at, 0, &level, &entry);
		if (likely(!level)) {
			run_of_leaves(run, slot, at, last);
			break;
		}
		PROBE(pt_no_table, pt, at);
		if (entry) {
			assert(level == 1);
			run->slots = slot;
			run->va = ALIGN_DOWN(at, pt_span(1));
			run->count = 1;
			run->level = 1;
			break;
		}
		n = run_length(at, last, level);
		at = ALIGN_DOWN(at, pt_span(level));
		skip = pt_next_live(slot, skip, n);
		at += skip * pt_span(level);
		if (at - 1 >= last) {
			*va = end;
			return false;
		}
	}
	*va = run->va + run->count * pt_span(run->level);
	if (*va - 1 > last)
		*va = end;
	return true;
}

/* ---------------------------------------------------- mapping and unmapping */

/* Fill the hole. */
static inline void leaf_set(struct pt *pt, uint64_t *slot, pa_t pa,
			    enum prot prot, unsigned level)
{
	pt_count(pt, slot, 1);
	pte_write(slot, pt->format->leaf(pa, prot, level));
}

/* Map what one leaf at this level maps.  Returns 0; -ENOMEM; -EEXIST if an entry or a
 * table is there. */
static int map_leaf(struct pt *pt, va_t va, pa_t pa, enum prot prot,
		    unsigned level)
{
	unsigned at;
	uint64_t entry, *slot = walk(pt, va, level, &at, &entry);

	if (entry)
		return -EEXIST;
	if (at != level)
		slot = pt_slot_slow(pt, va, level, true);
	if (!slot)
		return err(ENOMEM);
	if (!level)
		near_set(pt, va, slot);
	leaf_set(pt, slot, pa, prot, level);
	return 0;
}

/* Do pt_map() by walks. */
static noinline int map_walked(struct pt *pt, va_t va, pa_t pa, uint64_t len,
			       enum prot prot, bool huge)
{
	bool large =
		huge && len == pt_span(1) && IS_ALIGNED(va | pa, pt_span(1));
	int error = -EEXIST;

	assert(in_bounds(pt, va, va + len - 1));
	if (large || len == pt_span(0))
		error = map_leaf(pt, va, pa, prot, large);
	if (error != -EEXIST)
		return error;
	return pt_map_sg(pt, va, &(struct segment){ pa, len }, len, prot, huge);
}

int pt_map(struct pt *pt, va_t va, pa_t pa, uint64_t len, enum prot prot,
	   bool huge)
{
	uint64_t *slot;

	assert(len && IS_ALIGNED(va | pa | len, PAGE_SIZE));
	slot = len == pt_span(0) ? pt_near_slot(pt, va) : NULL;
	if (!slot || pte_read(slot))
		return map_walked(pt, va, pa, len, prot, huge);
	leaf_set(pt, slot, pa, prot, 0);
	return 0;
}

/* Return true if va lies strictly inside a 2 MiB leaf. */
static bool cuts_leaf(struct pt *pt, va_t va)
{
	unsigned level;

	return va != pt->top && !IS_ALIGNED(va, pt_span(1)) &&
	       pte_read(pt_lookup(pt, va, 0, &level)) && level;
}

/* Is [start, end) as long as one leaf? */
static bool is_span(va_t start, va_t end)
{
	return end - start == pt_span(0) || end - start == pt_span(1);
}

struct page *pt_unmap_one(struct pt *pt, va_t start, va_t end)
{
	uint64_t entry, *slot = pt_near_slot(pt, start);
	unsigned level = 0;

	if (slot) {
		entry = pte_read(slot);
	} else {
		slot = walk(pt, start, 0, &level, &entry);
		if (!level)
			near_set(pt, start, slot);
	}
	if (!entry || end - start != pt_span(level) ||
	    !IS_ALIGNED(start, pt_span(level)))
		return NULL;
	pt_count(pt, slot, -1);
	pte_write(slot, 0);
	return pt_table_page(slot);
}

int pt_unmap(struct pt *pt, va_t start, va_t end)
{
	struct pt_run run;

	assert(IS_ALIGNED(start | end, PAGE_SIZE));
	if (is_span(start, end) && pt_unmap_one(pt, start, end))
		return 0;
	if (cuts_leaf(pt, start) || cuts_leaf(pt, end))
		return err(EINVAL);
	for (va_t va = start; pt_next_run(pt, &va, end, &run);) {
		int cleared = 0;

		for (unsigned i = 0; i < run.count; i++) {
			if (!pte_read(&run.slots[i]))
				continue;
			pte_write(&run.slots[i], 0);
			cleared++;
		}
		pt_count(pt, run.slots, -cleared);
	}
	return 0;
}

/* --------------------------------------------------------------- pruning */

struct prune {
	struct pt *pt;
	pt_release_fn *fn;
	void *arg;
};

/* Unlink the empty tables below the entries of table that cover [va, last]. */
static void prune_below(struct prune *p, uint64_t *table, unsigned level,
			va_t va, va_t last)
{
	unsigned n = run_length(va, last, level);
	uint64_t *slot = &table[pt_index(va, level)];

	for (unsigned i = 0; i < n; i++, slot++) {
		uint64_t entry = pte_read(slot);
		va_t end = va | (pt_span(level) - 1);
		struct page *child;

		if (pt_is_table(p->pt->format, entry, level)) {
			child = page_of_pa(pt_pa(entry));
			if (level > 1)
				prune_below(p, pt_table(entry), level - 1, va,
					    end < last ? end : last);
			if (!pt_live(child)) {
				pt_set(p->pt, slot, 0);
				p->pt->tables--;
				pt_forget(p->pt); //: near-forgotten
				p->fn(child, p->arg);
				if (!pt_live(pt_table_page(table)))
					return;
			}
		}
		va = end + 1;
	}
}

/* Is all of [start, last] in one entry, or in one leaf table, of a table that is not
 * empty?  Then no table of it is. */
static bool stays(struct pt *pt, va_t start, va_t last)
{
	unsigned level;
	uint64_t *slot = pt_lookup(pt, start, 0, &level);

	return (start ^ last) < pt_span(level ? level : 1) &&
	       pt_live(pt_table_page(slot));
}

void pt_prune(struct pt *pt, va_t start, va_t end, pt_release_fn *fn, void *arg)
{
	struct prune p = { pt, fn, arg };

	if (start == end)
		return;
	assert(in_bounds(pt, start, end - 1));
	if (is_span(start, end) && stays(pt, start, end - 1))
		return;
	prune_below(&p, pt->root, pt->levels - 1, start, end - 1);
}
