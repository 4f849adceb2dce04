/* SPDX-License-Identifier: MIT */
/*
 * pt.h - one radix walker for every page-table format
 *
 *    va 47     39 38     30 29     21 20     12 11        0
 *      +---------+---------+---------+---------+-----------+
 *      | index 3 | index 2 | index 1 | index 0 |  offset   |   pt_index(va, n)
 *      +----|----+----|----+----|----+----|----+-----------+
 *           v         v         v         v
 *      +--------+  +-------+  +-------+  +------+
 *      | table -|->| table-|->| table-|->| leaf |--> frame, 4 KiB
 *      |        |  |       |  | leaf -|--|------|--> frame, 2 MiB
 *      | hole   |  | hole  |  | hole  |  | hole |
 *      +--------+  +-------+  +-------+  +------+
 *      pt->root     level 2    level 1    level 0      pt_slot(pt, va, 0, ...)
 *
 * Terms: a *table* is one page of 512 entries; a *slot* is the address of an
 * entry, an *entry* its value; level 0 is the *leaf table*, so that levels keep
 * their number when a deeper root is put on top; a *leaf* entry translates, a
 * *table* entry leads to the table below, a *hole* does neither.  An entry that
 * is not zero is *live*, even if it is a hole (an evicted page).
 *
 * A format is described by struct pt_format: a few masks and two functions.
 *
 * The walker only computes.  It flushes nothing, takes no lock, and allocates
 * tables with the function passed to pt_init().  The caller serialises changes
 * of one tree: with the lock that protects it (struct pt, O), or because no
 * other thread knows it yet.  Each table's number of live entries is kept in its
 * struct page (index), so that "empty" is a comparison; code that stores through
 * a slot keeps that number true with pt_count(), or stores with pt_set().
 *
 * Addresses and lengths are in bytes; ranges are half-open, and an end of 0
 * means 2^64.
 */
#pragma once

#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/layout.h"
#include "arch/pte.h"
#include "arch/types.h"
#include "mm/frame/page.h"

#define PT_BITS       9
#define PT_ENTRIES    512u
#define PT_MAX_LEVELS 6
#define PT_USUAL      4               /* depth of walks that are unrolled    */
#define PT_ADDRESS    GENMASK(51, 12) /* of a table or a frame, all formats  */

/* Rights that an access needs or an entry grants.  A format ignores those that
 * its entries cannot express. */
enum prot {
	PROT_NONE = 0,
	PROT_R = 1,
	PROT_W = 2,
	PROT_X = 4,
	PROT_USER = 8,      /* the user half                               */
	PROT_GLOBAL = 16,   /* stays in the TLB when CR3 is loaded         */
	PROT_UNCACHED = 32, /* device registers                            */
	PROT_TRACK = 64,    /* of a region: W, when the page was noted
			     * (mm/core/track.h)                           */
};

enum pt_kind {
	PT_HOLE,
	PT_TABLE,
	PT_LEAF
};

/*
 * A page-table format.  An entry e at level n leads to a table iff n > 0 and
 * (e & table_mask) == (table_bits[n] & table_mask); otherwise it is a leaf iff
 * e has a bit of present.
 */
struct pt_format {
	const char *name;
	unsigned min_levels, max_levels;    /* depth of the tree           */
	uint64_t present;                   /* else hardware ignores the rest */
	uint64_t table_mask;                /* decides "leads to a table"  */
	uint64_t table_bits[PT_MAX_LEVELS]; /* of a new table entry at n   */
	/* Make a leaf entry at level 0 or 1. */
	uint64_t (*leaf)(pa_t frame, enum prot prot, unsigned level);
	/* Return what a leaf entry grants. */
	enum prot (*prot)(uint64_t entry);
};

/* Key: (I) immutable after pt_init()  (O) the owner's lock
 * (A) atomic: readers of one tree race to store it */
struct pt {
	const struct pt_format *format;  /* (I) */
	uint64_t *root;                  /* (I) the top table, direct map   */
	unsigned levels;                 /* (I) */
	va_t bottom, top;                /* (I) covers [bottom, top), where
					   *     top 0 means 2^64            */
	uint64_t tables;                 /* (O) pages of tables, with root  */
	struct page *(*new_table)(void); /* (I) a zeroed frame or NULL      */
	uint64_t near;                   /* (A) the leaf table where a walk
					   *     ended last: pt_near_key()    */
};

/*
 * Takes over an emptied table that is no longer reachable from the root.  Each
 * MMU that may still walk it must be flushed before page_put(table).
 */
typedef void pt_release_fn(struct page *table, void *arg);

/*
 * Make an empty tree of levels tables from root to leaf over [bottom, top) and
 * allocate its root.  new_table NULL means page_alloc_zeroed.
 * Returns 0 or -ENOMEM.
 */
must_check int pt_init(struct pt *pt, const struct pt_format *format,
		       unsigned levels, va_t bottom, va_t top,
		       struct page *(*new_table)(void));

/* Unlink all tables and pass each to fn, the root last; no entry is live. */
void pt_destroy(struct pt *pt, pt_release_fn *fn, void *arg);

/* Return the physical address of the top table: what CR3 or a DTE holds. */
static inline pa_t pt_root_pa(const struct pt *pt)
{
	return virt_to_phys(pt->root);
}

/* ------------------------------------------------------------ arithmetic */

/* Return the bytes that one entry at this level covers: 4 KiB, 2 MiB, ... */
static inline uint64_t pt_span(unsigned level)
{
	return PAGE_SIZE << (PT_BITS * level);
}

/* Return the index of va's entry in a table at this level. */
static inline unsigned pt_index(va_t va, unsigned level)
{
	return (va >> (PAGE_SHIFT + PT_BITS * level)) & (PT_ENTRIES - 1);
}

/* Return true if the entry, at this level, leads to a table. */
static inline bool pt_is_table(const struct pt_format *f, uint64_t entry,
			       unsigned level)
{
	return level && !((entry ^ f->table_bits[level]) & f->table_mask);
}

/* Classify an entry at this level. */
static inline enum pt_kind pt_kind(const struct pt_format *f, uint64_t entry,
				   unsigned level)
{
	if (pt_is_table(f, entry, level))
		return PT_TABLE;
	return entry & f->present ? PT_LEAF : PT_HOLE;
}

/* Return the physical address of the table or frame that an entry names. */
static inline pa_t pt_pa(uint64_t entry)
{
	return entry & PT_ADDRESS;
}

/* Return the table that an entry names, in the direct map. */
static inline uint64_t *pt_table(uint64_t entry)
{
	return phys_to_virt(entry & PT_ADDRESS);
}

/* ------------------------------------------------------ counting entries */

/* Return the struct page of the table that a slot lies in. */
static inline struct page *pt_table_page(const uint64_t *slot)
{
	return page_of_va(slot);
}

/* Return the number of live entries of a table. */
static inline uint64_t pt_live(const struct page *table)
{
	return table->index;
}

/*
 * Record that n entries of the slot's table became live (n < 0: became zero).
 * Context: the owner's lock.
 */
static inline void pt_count(struct pt *pt, const uint64_t *slot, int64_t n)
{
	struct page *table = pt_table_page(slot);

	(void)pt;
	table->index += (uint64_t)n;
	assert(table->index <= PT_ENTRIES);
}

/* Store one entry and count it.  A loop counts once a table instead, with
 * pt_count().  Context: the owner's lock. */
static inline void pt_set(struct pt *pt, uint64_t *slot, uint64_t entry)
{
	int n = !!entry - !!pte_read(slot);

	if (n)
		pt_count(pt, slot, n);
	pte_write(slot, entry);
}

/* --------------------------------------------------------------- walking */

/*
 * A tree remembers the leaf table where a walk ended: one page after the other is
 * often in one table, and the walk is most of what finding its slot costs.  pt->near
 * is one word, so that threads that race for it read what belongs together: the
 * table's address in bits 47:12, and in the others bits 47:21 of va, by a rotation, and a
 * 1, so that 0 is no table.  The two are combined by an exclusive or: the bits of va above
 * 47, which lie in the address then, go away when a key of the same va is applied.
 * The code that unlinks a leaf table calls pt_forget().
 */
#define PT_NEAR_ADDRESS GENMASK(47, 12)

static inline uint64_t pt_near_key(va_t va)
{
	uint64_t span = va & ~(pt_span(1) - 1);

	return span << 27 | span >> 37 | BIT(11);
}

/* Forget the leaf table of the last walk.  Context: no other thread walks the tree
 * until the table is unlinked. */
static inline void pt_forget(struct pt *pt)
{
	WRITE_ONCE(pt->near, 0);
}

/* Do pt_slot() where a table is missing or the depth is not PT_USUAL. */
uint64_t *pt_slot_slow(struct pt *pt, va_t va, unsigned level, bool alloc);

/* Do pt_slot() by a walk through tables that are there, most often. */
static inline uint64_t *pt_slot_walk(struct pt *pt, va_t va, unsigned level,
				     bool alloc)
{
	const struct pt_format *f = pt->format;
	uint64_t *table = pt->root;

	/* Beyond the tree the index of va would select an unrelated entry. */
	require(va >= pt->bottom && va <= pt->top - 1);
	if (unlikely(pt->levels != PT_USUAL))
		return pt_slot_slow(pt, va, level, alloc);
#pragma GCC unroll 4
	for (unsigned n = PT_USUAL - 1; n > level; n--) {
		uint64_t entry = pte_read(&table[pt_index(va, n)]);

		if (unlikely((entry ^ f->table_bits[n]) & f->table_mask))
			return alloc ? pt_slot_slow(pt, va, level, true) : NULL;
		table = pt_table(entry);
	}
	return &table[pt_index(va, level)];
}

/* Return the slot of va, which the tree covers, at level 0 without a walk, or NULL. */
static inline uint64_t *pt_near_slot(struct pt *pt, va_t va)
{
	uint64_t table = READ_ONCE(pt->near) ^ pt_near_key(va);

	/* Beyond the tree the bits above 47 would select another table, or be lost. */
	require(va >= pt->bottom && va <= pt->top - 1);
	if (unlikely(table & ~PT_NEAR_ADDRESS))
		return NULL;
	require(page_kind(page_of_pa(table)) == PAGE_TABLE);
	return (uint64_t *)phys_to_virt(table) + pt_index(va, 0);
}

/* Do pt_slot() for a leaf table that is not the last one, and remember it. */
uint64_t *pt_slot_far(struct pt *pt, va_t va, bool alloc);

/*
 * Find the slot for va, which the tree covers, in its table at level (0: 4 KiB
 * leaves, 1: 2 MiB leaves).  With alloc missing tables are made: all of a path or
 * none.  Returns NULL when a table is missing without alloc or without memory,
 * or when a larger leaf covers va.
 * Context: the owner's lock, or a tree to which no other thread adds tables.
 */
static inline uint64_t *pt_slot(struct pt *pt, va_t va, unsigned level,
				bool alloc)
{
	uint64_t *slot;

	if (level)
		return pt_slot_walk(pt, va, level, alloc);
	slot = pt_near_slot(pt, va);
	return likely(slot) ? slot : pt_slot_far(pt, va, alloc);
}

/* Return the index of the first live entry in [i, n), or n.  Most entries are
 * zero: eight are tested at once. */
static inline unsigned pt_next_live(const uint64_t *slots, unsigned i,
				    unsigned n)
{
	const volatile uint64_t *s = slots;

	while (i + 8 <= n && !(s[i] | s[i + 1] | s[i + 2] | s[i + 3] |
			       s[i + 4] | s[i + 5] | s[i + 6] | s[i + 7]))
		i += 8;
	while (i < n && !s[i])
		i++;
	return i;
}

/*
 * Return the slot where the walk for va ends, at level least or above: that of
 * a leaf, of the topmost hole, or the one at level least.  *level receives its
 * level.  Never NULL.  Any context: tables may be added meanwhile.
 */
uint64_t *pt_lookup(struct pt *pt, va_t va, unsigned least, unsigned *level);

/* Consecutive slots of one table, or the one slot of a 2 MiB leaf. */
struct pt_run {
	uint64_t *slots; /* the first                                      */
	va_t va;         /* its address, rounded down to the entry's span  */
	unsigned count;  /* how many                                       */
	unsigned level;  /* 0, or 1 with count 1: a leaf of 2 MiB           */
};

/*
 * Find the next run of existing slots in [*va, end), skipping what has no leaf
 * table, and advance *va past it.  Returns false when there is none.  Entries in
 * a run may be zero.  The loop a caller writes:
 *
 *	for (va_t va = start; pt_next_run(pt, &va, end, &run);)
 *		for (unsigned i = 0; i < run.count; i++)
 *			use(run.slots[i], run.va + i * PAGE_SIZE);
 *
 * A leaf of 2 MiB is reported whole even if [*va, end) cuts it; where the tree
 * has none the caller asserts that level is 0.  Another thread may add tables meanwhile
 * (a fault, during mm_discard()): the loop meets them or not, and never takes one
 * for a leaf.
 */
bool pt_next_run(struct pt *pt, va_t *va, va_t end, struct pt_run *run);

/*
 * Map [va, va + len) to frames from pa on, all page-aligned, len not 0; with
 * huge by 2 MiB leaves wherever both addresses allow.  Returns 0; -ENOMEM or
 * -EEXIST (an entry of the range is live) with no leaf changed: tables may have
 * been added.  Context: the owner's lock.
 */
must_check int pt_map(struct pt *pt, va_t va, pa_t pa, uint64_t len,
		      enum prot prot, bool huge);

/* Frames that follow one another in memory: [pa, pa + len), page-aligned, not empty.
 * Linux: struct scatterlist. */
struct segment {
	pa_t pa;
	uint64_t len; /* bytes                                             */
};

/*
 * Map [va, va + len) to the frames of sg, one segment after the other; len is the sum of
 * their lengths.  Segments that follow one another in memory count as one: with huge
 * a leaf of 2 MiB may reach across them.  Errors and context as above.
 */
must_check int pt_map_sg(struct pt *pt, va_t va, const struct segment *sg,
			 uint64_t len, enum prot prot, bool huge);

/*
 * Clear every entry in [start, end), page-aligned; tables stay.  Flushes nothing.
 * Returns 0; -EINVAL, with nothing cleared, when an end of the range cuts a 2 MiB
 * leaf.  Context: the owner's lock.
 */
must_check int pt_unmap(struct pt *pt, va_t start, va_t end);

/*
 * Clear the one entry that covers exactly [start, end).  Returns its table, which may
 * be empty now; NULL, with nothing changed, if no entry does.  Context: the owner's
 * lock.
 */
struct page *pt_unmap_one(struct pt *pt, va_t start, va_t end);

/*
 * Unlink every table without a live entry that the walk of [start, end) meets,
 * bottom up, except the root, and pass each to fn.  Context: the owner's lock,
 * and no other thread holds a slot of such a table.
 */
void pt_prune(struct pt *pt, va_t start, va_t end, pt_release_fn *fn,
	      void *arg);

/*
 * Check every table's live count and kind, and pt->tables, by a full walk.
 * Returns NULL or an error message.  Context: no other thread changes the tree.
 */
const char *pt_check(struct pt *pt);
