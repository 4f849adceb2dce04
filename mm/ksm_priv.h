/* SPDX-License-Identifier: MIT */
/*
 * ksm_priv.h - what the scanner remembers, and what a merged frame knows
 *
 *   mm --- chunk --- item item item ...        one item a page, 32 bytes
 *            |         |
 *            |         +-- in the unstable tree, until the end of the pass
 *
 *   stable tree --- content --- node --- link link link
 *                      |          |         (family, page number): every entry
 *                      |          |         of the frame is found through one
 *                      |          +-- frame; page->mapping leads back
 *                      +--------- node ...  more frames: each has its bound
 *
 * Items are the scanner's (ksm.lock) and know no frame for longer than a look.
 * Nodes live exactly as long as their frame has references: neither holds the
 * other.
 */
#pragma once

#include "mm/ksm.h"
#include "mm/ksm_tree.h"
#include "mm/mm_priv.h"

/* ---- items -------------------------------------------------------------- */

/*
 * node.word of an item: the frame that sum was computed of, above two bits.
 * ITEM_PASS is ksm.pass if the page was seen in this pass: at the end of one
 * all others are forgotten, so the next begins by flipping one bit.  An item
 * that was last put into the unstable tree is UNSHARED; it is in the tree if
 * that was in this pass.
 */
#define ITEM_PASS     1u
#define ITEM_UNSHARED 2u
#define ITEM_SHIFT    2

#define CHUNK_PAGES ((unsigned)(PAGE_SIZE / sizeof(struct ktree_node)))
#define CHUNK_BYTES (CHUNK_PAGES * PAGE_SIZE)

/* The items of a stretch of addresses; they fill one frame. */
struct ksm_chunk {
	struct itree_node node; /* in mm->ksm.chunks, by first and last byte */
	struct mm *mm;
	struct ktree_node *items; /* its frame's page->mapping leads here    */
};

/* ---- nodes -------------------------------------------------------------- */

/* A family in which entries of the frame may be found, and under which page
 * number.  Neighbours in the list if root and number are equal. */
struct ksm_link {
	struct ksm_link *next;
	struct anon_vma *anon_vma; /* holds a reference                     */
	uint64_t index;
};

/* One content; in the stable tree. */
struct ksm_content {
	struct ktree_node node;       /* word: how many nodes               */
	TAILQ_HEAD(, ksm_node) nodes; /* who has room is found at the head   */
};

/* Key: (S) stable_lock   (L) links_lock, to write   (I) immutable */
struct ksm_node {
	struct page *page;           /* (I) holds no reference             */
	struct ksm_content *content; /* (S)                                */
	TAILQ_ENTRY(ksm_node) dup;   /* (S)                                */
	struct ksm_link *links;      /* (L)                                */
	unsigned n_links;            /* (L)                                */
};

struct ksm {
	struct rwsem lock;       /* RANK_KSM: everything but (S), (L), (Q)   */
	struct rwsem links_lock; /* RANK_LINKS                               */
	struct spinlock stable_lock; /* RANK_STABLE                          */
	struct ktree stable; /* (S)                                      */
	uint64_t contents, nodes, chains, dups, links; /* (S)                */
	_Atomic uint64_t zero_pages;

	struct spinlock list_lock; /* RANK_STABLE too                  */
	TAILQ_HEAD(, mm) mms;      /* (Q) list_lock                    */
	struct mm *cursor;         /* (Q) whose pages are next         */
	bool in_pass;              /* (Q)                              */

	va_t va; /* ... from here on                         */
	struct ktree unstable;
	uint32_t pass; /* ITEM_PASS or 0, in turn                  */
	uint64_t items, unshared, chunks;
	uint64_t scanned, merged, full_scans;
	uint32_t zero_sum;
	struct thread *thread;
	_Atomic bool stop;
};

extern struct ksm ksm;

/* The next mm on the list, NULL for the first: nobody leaves it while ksm.lock
 * is held. */
struct mm *ksm_next_mm(struct mm *mm);

static inline bool willing(const struct region *r)
{
	return r && (r->flags & REGION_MERGEABLE);
}

/* One page of an mm, while mm->lock is held. */
struct ksm_spot {
	struct mm *mm;
	struct region *region;
	va_t va;
	struct page *page; /* with a reference                              */
	bool known;        /* a write since its checksum would show in D    */
};

/* ---- ksm_item.c (ksm.lock held) ----------------------------------------- */

/* The chunk that covers va, or NULL. */
struct ksm_chunk *chunk_find(struct mm *mm, va_t va);

/* A new one, empty; NULL without memory. */
must_check struct ksm_chunk *chunk_new(struct mm *mm, va_t va);

/* All items of [start, end) are forgotten, and chunks that lie inside. */
void chunks_forget(struct mm *mm, va_t start, va_t end);

/* The end of a pass: who was not seen is forgotten. */
void chunks_end_pass(struct mm *mm);

struct mm *item_mm(const struct ktree_node *item);
va_t item_va(const struct ktree_node *item);

static inline pfn_t item_pfn(const struct ktree_node *item)
{
	return item->word >> ITEM_SHIFT;
}

/* What was seen of the page: its frame and checksum.  The item is not in the
 * tree afterwards. */
void item_set(struct ktree_node *item, pfn_t pfn, uint32_t sum);

/* The page was seen again, unchanged. */
void item_see(struct ktree_node *item);
void item_forget(struct ktree_node *item);

/* In and out of the unstable tree; who goes in has been seen. */
void item_insert(struct ktree_node *item, const struct ktree_place *place);
void item_remove(struct ktree_node *item);

static inline bool item_seen(const struct ktree_node *item)
{
	return item->word && (item->word & ITEM_PASS) == ksm.pass;
}

/* ---- ksm_node.c ---------------------------------------------------------- */

void ksm_node_init(void);
void ksm_item_init(void);

/* A node, its content and its first link, in nobody's hands; NULL without
 * memory.  node_discard() takes them back. */
must_check struct ksm_node *node_new(void);
void node_discard(struct ksm_node *node);

/*
 * page, private, with one entry and one reference beside it, is a
 * merged frame from now on; back again.  Context: the pt_lock of the entry,
 * which is read-only and flushed.
 */
void node_attach(struct ksm_node *node, struct page *page, uint32_t sum);
void node_detach(struct page *page);

/* May there be?  Only the checksum is asked for.  Context: ksm.lock held. */
bool stable_has(uint32_t sum);

/*
 * Is a frame of this content in the stable tree?  One with room for another
 * entry, with a reference for the caller; NULL if there is none.
 * Context: ksm.lock held; may sleep.
 */
struct page *stable_find(uint32_t sum, const struct page *page);

/*
 * Entries of region at va may lead to the merged frame from now on.
 * Context: ksm.lock and region->mm->lock held; may sleep.  -ENOMEM.
 */
must_check int link_add(struct page *page, struct region *region, va_t va);

static inline struct ksm_node *page_node(const struct page *page)
{
	return (struct ksm_node *)page->mapping;
}

/* ---- ksm_merge.c (ksm.lock and the spots' mm->locks held; may sleep) ------ */

/* How the contents of two frames compare: in words, as numbers. */
int pages_compare(const struct page *a, const struct page *b);

/*
 * Make the entry of a spot lead to kpage, merged or the zero page, if the
 * contents are equal when nobody can write the spot's page any more.
 * Returns whether it does; -ENOMEM.
 */
must_check int merge_into(const struct ksm_spot *spot, struct page *kpage);

/*
 * Merge two spots of the same content, whose checksum is sum: the first one's
 * frame is the one that stays.  Returns whether it did; -ENOMEM.
 */
must_check int merge_two(const struct ksm_spot *stay, const struct ksm_spot *go,
			 uint32_t sum);

/* The private page at va, if it is still `pfn` (0: any), with a reference. */
struct page *spot_page(struct mm *mm, va_t va, pfn_t pfn);
