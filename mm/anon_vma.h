/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.h - families of regions that may share private pages
 *
 * A private page belongs to the anon_vma of the region that first held it,
 * for life (page->mapping), under the page number it had there (page->index).
 * A fork gives the child's region an anon_vma of its own for its own pages and
 * a chain to every anon_vma of the parent's region, because the pages of those
 * may be mapped in the child:
 *
 *    grandparent G ---- parent P ---- child C        regions
 *       |               |  |          | | |
 *      [g]<-------------+ [p]<--------+-+ [c]         anon_vmas
 *       ^------------------------------+
 *
 * So a page of [p] is looked for in P and C, and never in G: the walk visits
 * the forks that can map the page, not the family.  As in Linux (mm/rmap.c,
 * anon_vma_clone) a fork takes over an anon_vma that has lost its own regions
 * and has a single branch below, so that a long line of forks whose parents
 * exit does not grow a chain for every generation.
 *
 * Unlike Linux, each page holds a reference on its anon_vma.  Whoever holds a
 * reference on a page may therefore follow page->mapping, with no RCU and no
 * type-stable memory: the bug class of CVE-2022-42703 cannot be written.
 *
 * Locks: the root's lock, RANK_RMAP, protects all trees of the family and the
 * boundaries of the regions in them.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/panic.h"

struct region;

/* Key: (R) root->lock, to write   (M) the region's mm->lock, to write */
struct anon_vma {
	struct anon_vma *root;   /* (I) whose lock the family takes         */
	struct anon_vma *parent; /* (I) holds a reference; NULL for a root  */
	struct rwsem lock;       /* used in the root only                   */
	struct itree chains;     /* (R) by page number, first and last      */
	_Atomic uint32_t refs;   /* pages, chains and children              */
	unsigned children;       /* (R) forks below, plus 1 in the root     */
	unsigned regions;        /* (R) regions whose new pages come here   */
};

/* A region's membership in one anon_vma. */
struct anon_vma_chain {
	struct itree_node node;    /* (R) in anon_vma->chains               */
	struct region *region;     /* (I)                                   */
	struct anon_vma *anon_vma; /* (I) holds a reference                 */
	LIST_ENTRY(anon_vma_chain) same_region; /* (M) region->chains       */
};

/* Must run once before the first region is made. */
void anon_vma_init(void);

/*
 * Give a region without chains a family of its own, with itself in it.
 * Context: mm->lock held to write, or the region not yet published.
 * Returns -ENOMEM with nothing changed.
 */
must_check int anon_vma_prepare(struct region *region);

/*
 * Make dst a member of all that src is in, with src's anon_vma: for a region
 * that is split or moved.  dst is in no tree yet: rmap_insert() puts it there.
 * Context and errors as above.
 */
must_check int anon_vma_clone(struct region *dst, struct region *src);

/*
 * Make the child's region a member of all that parent is in, and give it an
 * anon_vma for its own pages; puts it into the trees.  Takes the root's lock.
 * Errors as above.
 */
must_check int anon_vma_fork(struct region *child, struct region *parent);

/*
 * Take the region, which is in the trees, out of its families.  Its entries
 * are gone already.  Takes the root's lock.
 */
void anon_vma_unlink(struct region *region);

/* Leave all families with a region that is in no tree.  Takes the root's lock. */
void anon_vma_unclone(struct region *region);

/* Is region a member?  Context: mm->lock, or the root's lock, held. */
bool anon_vma_has(const struct anon_vma *av, const struct region *region);

/* Are both regions members of the same anon_vmas, with the same own one? */
bool anon_vma_same(const struct region *a, const struct region *b);

/* One more reference; one less.  Any context. */
static inline void anon_vma_get(struct anon_vma *av)
{
	uint32_t old = atomic_fetch_add(&av->refs, 1);

	assert(old > 0);
}

void anon_vma_put(struct anon_vma *av);
