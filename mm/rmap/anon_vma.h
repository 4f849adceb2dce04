/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.h - which regions may map the same private pages
 *
 * A private page belongs to the anon_vma of the region in which it was made
 * (page->mapping), under the page number it had there (page->index), until it is
 * freed or merged; a merged page has its stable node instead
 * (mm/ksm/ksm_stable.c).  A fork gives the child's region an anon_vma of its own
 * for its own pages and a chain to every anon_vma of the parent's region,
 * because the pages of those may be mapped in the child:
 *
 *    grandparent G ---- parent P ---- child C        regions
 *       |               |  |          | | |
 *      [g]<-------------+ [p]<--------+-+ [c]         anon_vmas
 *       ^------------------------------+
 *
 * A walk for a page of [p] visits P and C, and never G: only the regions that can
 * map the page, not the whole anon_vma tree.  As in Linux (mm/rmap.c,
 * anon_vma_clone()) a fork takes over an anon_vma that has lost its own regions
 * and has a single branch below, so that in a long line of forks in which each
 * parent exits the chains do not grow by one for every generation.
 *
 * Unlike Linux, each page holds a reference on its anon_vma, and a reference on
 * the page keeps page->mapping: merging changes it only while the frame is frozen
 * (mm/frame/page.h).  A thread that holds a reference may therefore follow
 * page->mapping, with no RCU and no type-stable memory (CVE-2022-42703).
 *
 * Locks: anon_vmas with one root form a tree of forks.  The lock of the root,
 * RANK_RMAP, protects the interval trees of all of them and the boundaries of the
 * regions in these.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "mm/frame/pmm.h"

struct region;

/* Key: (R) root->lock, to write   (M) the region's mm->lock, to write
 *      (I) immutable after creation */
struct anon_vma {
	struct anon_vma *root;   /* (I) has the lock; a root: itself        */
	struct anon_vma *parent; /* (I) holds a reference; NULL for a root  */
	struct rwsem lock;       /* used in the root only                   */
	struct itree chains;     /* (R) by page number, first and last      */
	_Atomic uint32_t refs;   /* pages, chains and children              */
	unsigned children;       /* (R) forks below, plus 1 in the root     */
	unsigned regions;        /* (R) regions that make their pages here  */
};

/* A region's membership in one anon_vma. */
struct anon_vma_chain {
	struct itree_node node;    /* (R) in anon_vma->chains               */
	struct region *region;     /* (I)                                   */
	struct anon_vma *anon_vma; /* (I) holds a reference                 */
	LIST_ENTRY(anon_vma_chain) same_region; /* (M) region->chains       */
};

/* Initialise the pools.  Context: boot, once, before the first region is made. */
void anon_vma_init(void);

/*
 * Give a region without chains an anon_vma of its own, a root, and put the region
 * into its tree.
 * Context: region->mm->lock held to write.
 * Returns 0, or -ENOMEM with nothing changed.
 */
must_check int anon_vma_prepare(struct region *region);

/*
 * Make dst, a part of src that is split off or moved, a member of all anon_vmas
 * of src, with the same one for new pages.  dst is in no interval tree yet:
 * rmap_insert() puts it there.
 * Context: src->mm->lock held to write.
 * Returns 0, or -ENOMEM with nothing changed.
 */
must_check int anon_vma_clone(struct region *dst, struct region *src);

/*
 * Make the child's region a member of all anon_vmas of the parent's region, give
 * it an anon_vma for its own pages, and put it into the interval trees.
 * Context: parent->mm->lock held to write; child's mm is not published yet.
 * Returns 0, or -ENOMEM with nothing changed.
 */
must_check int anon_vma_fork(struct region *child, struct region *parent);

/*
 * Take the region, which has no entries any more, out of the interval trees and
 * out of all its anon_vmas.  Context: region->mm->lock held to write.
 */
void anon_vma_unlink(struct region *region);

/*
 * Undo anon_vma_clone(): take a region that is in no interval tree out of all its
 * anon_vmas.  Context: region->mm->lock held to write.
 */
void anon_vma_unclone(struct region *region);

/*
 * Return true if region is a member of av.
 * Context: the lock of the region's own root held.
 */
bool anon_vma_has(const struct anon_vma *av, const struct region *region);

/*
 * Return true if both regions, of one mm, are members of the same anon_vmas and
 * have the same one for new pages.  Context: mm->lock, or no thread changes mm.
 */
bool anon_vma_same(const struct region *a, const struct region *b);

/* Take n more references; the caller has one.  Any context. */
static inline void anon_vma_get_many(struct anon_vma *av, uint32_t n)
{
	uint32_t old = atomic_fetch_add(&av->refs, n);

	assert(old > 0);
}

/* Take one more reference; the caller has one.  Any context. */
static inline void anon_vma_get(struct anon_vma *av)
{
	anon_vma_get_many(av, 1);
}

/* Drop n references of more than n.  Any context. */
static inline void anon_vma_put_many(struct anon_vma *av, uint32_t n)
{
	uint32_t old = atomic_fetch_sub(&av->refs, n);

	assert(old > n);
}

/* Drop a reference; the last one frees av and drops its parent's.
 * Context: any that may take RANK_POOL. */
void anon_vma_put(struct anon_vma *av);

/* Drop n references, 0 or more, as anon_vma_put() does. */
void anon_vma_put_all(struct anon_vma *av, uint32_t n);

/* Return true for a private page in a single frame, without pins. */
static inline bool page_single_anon(const struct page *page)
{
	uint32_t what = page_flags(page) & (PG_KIND | PG_ORDER | PG_TAIL);

	return !((what ^ PAGE_ANON) | page_pins(page));
}

/*
 * Private pages to free together: pages of one anon_vma, one after the other, drop
 * their references on it at once, and the frames go to the CPU's cache in one go.
 * Starts as { 0 }.
 */
struct anon_batch {
	struct anon_vma *owner; /* of the last n pages                     */
	uint32_t n;
	struct page *dead; /* all pages, linked by page->mapping           */
};

/* Drop the references of the last pages on their owner. */
static inline void anon_batch_disown(struct anon_batch *b)
{
	anon_vma_put_all(b->owner, b->n);
	b->n = 0;
}

/* Add a private page, a single frame, whose count is 0.  Context: as
 * anon_batch_free(). */
static inline void anon_batch_add(struct anon_batch *b, struct page *page)
{
	if (unlikely(page->mapping.anon_vma != b->owner)) {
		anon_batch_disown(b);
		b->owner = page->mapping.anon_vma;
	}
	b->n++;
	page->mapping.next = b->dead;
	b->dead = page;
}

/* Free the pages.  Context: any that may take RANK_POOL and RANK_PMM. */
static inline void anon_batch_free(struct anon_batch *b)
{
	require(locks_below(RANK_POOL));
	anon_batch_disown(b);
	page_free_list(b->dead, 0);
}
