/* SPDX-License-Identifier: MIT */
/*
 * ksm_priv.h - the scanner's rmap_items, and the stable node of a merged frame
 *
 *   mm --- chunk --- rmap_item rmap_item ...   one a page, 32 bytes each
 *            |         |
 *            |         +-- in the unstable tree, until the end of the pass
 *
 *   stable tree --- chain --- stable_node --- rmap_link rmap_link ...
 *                     |           |           (anon_vma, page number): every
 *                     |           |           entry of the frame is found by one
 *                     |           +-- frame; page->mapping leads back
 *                     +---------- stable_node ...  more frames (dups) of the
 *                                                  same content, each with its
 *                                                  bound
 *
 * An rmap_item holds no reference on a frame.  A stable_node lives as long as its
 * frame has references, or until the frame is private again; neither holds the
 * other.
 */
#pragma once

#include "kernel/panic.h"
#include "mm/ksm/ksm.h"
#include "mm/ksm/ksm_tree.h"
#include "mm/space/mm_priv.h"

/* ---- rmap_items ---------------------------------------------------------- */

/*
 * An rmap_item is a struct ktree_node: sum is the checksum, word holds the number
 * of the frame that it was computed of and two bits; word is 0 in an empty one.
 * RMAP_ITEM_PASS equals ksm.pass if the page was scanned in this pass: at its end
 * all others are cleared, so flipping ksm.pass begins the next one.
 * RMAP_ITEM_UNSHARED marks an rmap_item whose last scan put it into the unstable
 * tree; it is in the tree if that scan was in this pass.
 */
#define RMAP_ITEM_PASS      1u
#define RMAP_ITEM_UNSHARED  2u
#define RMAP_ITEM_PFN_SHIFT 2

#define CHUNK_PAGES ((unsigned)(PAGE_SIZE / sizeof(struct ktree_node)))
#define CHUNK_BYTES (CHUNK_PAGES * PAGE_SIZE)

/* The rmap_items of CHUNK_PAGES consecutive pages; they fill one frame. */
struct ksm_chunk {
	struct itree_node node; /* in mm->ksm.chunks, by first and last byte */
	struct mm *mm;
	struct ktree_node
		*rmap_items; /* page->mapping of its frame leads here */
};

/* ---- the stable tree ----------------------------------------------------- */

/*
 * An anon_vma in whose regions entries of the frame may be found, at this page
 * number.  Links of one root and page number are a group: neighbours in the list.
 */
struct ksm_rmap_link {
	struct ksm_rmap_link *next;
	struct anon_vma *anon_vma; /* with a reference                      */
	uint64_t index;
};

/* One content in the stable tree, with the stable nodes of its frames. */
struct ksm_stable_chain {
	struct ktree_node node; /* word: number of stable nodes               */
	TAILQ_HEAD(, ksm_stable_node)
	nodes; /* first: those that may have room */
};

/* Key: (S) stable_lock   (L) links_lock, to write   (I) immutable */
struct ksm_stable_node {
	struct page *page;                /* (I) without a reference         */
	struct ksm_stable_chain *chain;   /* (S)                             */
	TAILQ_ENTRY(ksm_stable_node) dup; /* (S)                             */
	struct ksm_rmap_link *links;      /* (L)                             */
	unsigned n_links;                 /* (L)                             */
};

/* Where the scan continues.  Linux: struct ksm_scan. */
struct ksm_cursor {
	struct mm *mm; /* (Q) NULL: all mms have been scanned in this pass   */
	va_t va;       /* pages of mm below va have been scanned             */
};

/* Key: (S) stable_lock   (Q) list_lock   (R) run_lock; all others: ksm.lock */
struct ksm {
	struct rwsem lock;           /* RANK_KSM                             */
	struct rwsem links_lock;     /* RANK_LINKS: lists of rmap_links      */
	struct spinlock stable_lock; /* RANK_STABLE                          */
	struct ktree stable;         /* (S)                                  */
	uint64_t chains, nodes, links; /* (S)                                */
	uint64_t long_chains; /* (S) chains of several stable nodes         */
	uint64_t long_dups;   /* (S) the stable nodes of those              */

	struct spinlock list_lock; /* RANK_STABLE too                        */
	TAILQ_HEAD(, mm) mms;      /* (Q) Linux: the list of mm_slots        */
	struct ksm_cursor cursor;
	bool in_pass; /* (Q)                                                 */

	struct ktree unstable;
	uint32_t pass; /* RMAP_ITEM_PASS and 0 in turn; Linux: seqnr         */
	uint64_t rmap_items, unshared, chunks;
	uint64_t scanned, merged, full_scans;
	uint32_t zero_sum; /* checksum of a page of zeroes                   */

	struct rwsem run_lock; /* RANK_KSM_RUN: held until a stop is complete */
	struct thread *thread; /* (R) NULL while no thread scans             */
	_Atomic bool stop;
};

extern struct ksm ksm;

/*
 * Returns the mm that follows on the list, the first for NULL, NULL after the last.
 * Context: ksm.lock held to write, so that no mm leaves the list.
 */
struct mm *ksm_next_mm(struct mm *mm);

static inline bool mergeable(const struct region *r)
{
	return r && (r->flags & REGION_MERGEABLE);
}

/* A page that may be merged, and where it is mapped.  Valid while mm->lock is
 * held. */
struct ksm_candidate {
	struct mm *mm;
	struct region *region;
	va_t va;
	struct page *page;  /* with a reference; NULL: not looked up yet     */
	bool dirty_tracked; /* a write since its checksum has set D          */
};

/* ---- ksm_rmap_item.c (all: ksm.lock held to write) ------------------------ */

void ksm_rmap_item_init(void);

/* Returns the chunk that covers va, or NULL. */
struct ksm_chunk *chunk_find(struct mm *mm, va_t va);

/* Makes the chunk that covers va, with empty rmap_items.  NULL without memory. */
must_check struct ksm_chunk *chunk_new(struct mm *mm, va_t va);

/* Clears all rmap_items of [start, end); frees the chunks that lie inside. */
void chunks_clear(struct mm *mm, va_t start, va_t end);

/* Ends a pass: clears the rmap_items that were not scanned in it.  Linux:
 * remove_trailing_rmap_items(). */
void chunks_end_pass(struct mm *mm);

struct mm *rmap_item_mm(const struct ktree_node *rmap_item);
va_t rmap_item_va(const struct ktree_node *rmap_item);

static inline pfn_t rmap_item_pfn(const struct ktree_node *rmap_item)
{
	return rmap_item->word >> RMAP_ITEM_PFN_SHIFT;
}

/* Records a page's frame and checksum.  Takes the rmap_item out of the tree. */
void rmap_item_set(struct ktree_node *rmap_item, pfn_t pfn, uint32_t sum);

/* Records that the page was scanned and is unchanged.  Takes the rmap_item out of
 * the tree. */
void rmap_item_set_seen(struct ktree_node *rmap_item);

/* Empties the rmap_item.  Linux: remove_rmap_item_from_tree(), free_rmap_item(). */
void rmap_item_clear(struct ktree_node *rmap_item);

/* Inserts into, removes from the unstable tree.  Only an rmap_item that was
 * scanned in this pass may be inserted. */
void rmap_item_insert(struct ktree_node *rmap_item,
		      const struct ktree_place *place);
void rmap_item_remove(struct ktree_node *rmap_item);

/* Returns whether the page was scanned in this pass. */
static inline bool rmap_item_seen(const struct ktree_node *rmap_item)
{
	return rmap_item->word &&
	       (rmap_item->word & RMAP_ITEM_PASS) == ksm.pass;
}

/* ---- ksm_stable.c ---------------------------------------------------------- */

void ksm_stable_init(void);

/*
 * Allocates a stable node with a chain and its first link, not yet visible to
 * other threads; NULL without memory.  stable_node_discard() frees all three.
 */
must_check struct ksm_stable_node *stable_node_new(void);
void stable_node_discard(struct ksm_stable_node *node);

/*
 * Make a private page a merged frame with this stable node and insert it into the
 * stable tree.  Returns false, with nothing changed, unless the page has exactly
 * one entry and one more reference, the caller's.  Linux: stable_tree_insert().
 *
 * Context: ksm.lock held to write; under the pt_lock of the entry, which is
 * read-only and flushed.
 */
must_check bool stable_node_attach(struct ksm_stable_node *node,
				   struct page *page, uint32_t sum);

/*
 * Make a merged frame private again and free its stable node.  Does nothing unless
 * the page has exactly one entry and one more reference, the caller's.
 * Context: as stable_node_attach().
 */
void stable_node_detach(struct page *page);

/* Returns whether the stable tree has any chain of this checksum.  Context:
 * ksm.lock held to write. */
bool stable_tree_has(uint32_t sum);

/*
 * Search the stable tree for a merged frame of the same content as page that has
 * room for another entry.  Returns it with a reference, or NULL.
 * Linux: stable_tree_search().
 *
 * Context: ksm.lock held to write; may sleep.
 */
struct page *stable_tree_search(uint32_t sum, const struct page *page);

static inline struct ksm_stable_node *page_stable_node(const struct page *page)
{
	return page->mapping.stable_node;
}

/* ---- ksm_rmap.c ------------------------------------------------------------ */

void ksm_rmap_init(void);

/* Allocates a link that belongs to no list; NULL without memory. */
must_check struct ksm_rmap_link *rmap_link_new(void);

/* Frees a list of links and drops their references on anon_vmas. */
void rmap_links_free(struct ksm_rmap_link *link);

/*
 * Record that entries of region at va may map the merged frame from now on.
 * Context: ksm.lock held to write, region->mm->lock held; may sleep.
 * Returns 0 or -ENOMEM.
 */
must_check int rmap_link_add(struct page *page, struct region *region, va_t va);

/*
 * Drop the links of a merged frame that lead to no entry of it.
 * Context: ksm.lock held to write; takes links_lock to write; may sleep.
 */
void rmap_links_prune(struct page *page);

/* Returns whether a link of av and index belongs to the group of a. */
bool rmap_link_same_group(const struct ksm_rmap_link *a,
			  const struct anon_vma *av, uint64_t index);

/* ---- ksm_merge.c (ksm.lock held to write; may sleep) ----------------------- */

/* Compares the contents of two frames as 8-byte numbers: <0, 0, >0. */
int memcmp_pages(const struct page *a, const struct page *b);

/*
 * Make the entry of a candidate lead to kpage, a merged frame or zero_page, if the
 * contents are equal once no CPU and no device can write the candidate's page.
 * Linux: try_to_merge_one_page().
 *
 * Context: c->mm->lock held.
 * Returns 1 if merged, 0 if not (the entry has its rights back), -ENOMEM.
 */
must_check int try_to_merge_one_page(const struct ksm_candidate *c,
				     struct page *kpage);

/*
 * Merge two candidates of checksum sum: the frame of stay becomes a merged frame,
 * the entry of go is led to it.  Linux: try_to_merge_two_pages().
 *
 * Context: mm->lock of both held.
 * Returns 1 if merged, 0 if not (both pages are private), -ENOMEM.
 */
must_check int try_to_merge_two_pages(const struct ksm_candidate *stay,
				      const struct ksm_candidate *go,
				      uint32_t sum);

/*
 * Returns the private page at va with a reference, or NULL if there is none or its
 * frame is not pfn (0: any).  Linux: get_mergeable_page().
 * Context: mm is on the scanner's list; its lock need not be held.
 */
struct page *get_mergeable_page(struct mm *mm, va_t va, pfn_t pfn);

/* ---- ksm_search.c ----------------------------------------------------------- */

/*
 * Search both trees for a page equal to the candidate, whose rmap_item holds its
 * present checksum, and merge them; if there is none insert the rmap_item into the
 * unstable tree, unless the page changed since the last scan.
 * Linux: cmp_and_merge_page().
 *
 * Context: ksm.lock held to write, c->mm->lock held; may sleep.
 * Returns 1 if merged, 0 if not, -ENOMEM.
 */
must_check int cmp_and_merge_page(struct ksm_candidate *c,
				  struct ktree_node *rmap_item, bool changed);
