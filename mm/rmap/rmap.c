/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - walk from a page to the regions that may map it
 *
 * The walk itself does not read entries.  A visitor takes the page-table lock of
 * the region and checks with rmap_entry() whether the entry maps the page.  The
 * visitors that change entries do it in one order: clear the entry, flush CPUs and
 * secondary MMUs, store what replaces it, and only then change the page's counts.
 */
#include "mm/rmap/rmap.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/object.h"
#include "mm/notifier/notifier_priv.h"
#include "mm/rmap/anon_vma.h"
#include "mm/rmap/huge.h"

/* Return the rmap lock of a region. */
static struct rwsem *region_rmap_lock(struct region *region)
{
	return region->object ? &region->object->lock
			      : &region->anon_vma->root->lock;
}

void rmap_lock_write(struct region *region)
{
	require(may_sleep());
	rw_write_lock(region_rmap_lock(region));
}

void rmap_unlock_write(struct region *region)
{
	rw_write_unlock(region_rmap_lock(region));
}

void rmap_drain(struct mm *mm)
{
	struct region *r;

	require(rw_held_write(&mm->lock) && may_sleep());
	for_each_region (r, mm, USER_START, USER_END) {
		rmap_lock_write(r);
		rmap_unlock_write(r);
	}
}

void rmap_insert(struct region *region)
{
	uint64_t first = region->pgoff;
	uint64_t last = region_pgoff(region, region->end) - 1;
	struct anon_vma_chain *chain;

	require(rw_held_write(region_rmap_lock(region)));
	if (region->object) {
		region->share.start = first;
		region->share.last = last;
		itree_insert(&region->object->regions, &region->share);
		return;
	}
	LIST_FOREACH (chain, &region->chains, same_region) {
		chain->node.start = first;
		chain->node.last = last;
		itree_insert(&chain->anon_vma->chains, &chain->node);
	}
}

void rmap_change(struct region *region)
{
	uint64_t first = region->pgoff;
	uint64_t last = region_pgoff(region, region->end) - 1;
	struct anon_vma_chain *chain;

	require(rw_held_write(region_rmap_lock(region)));
	if (region->object) {
		itree_change(&region->object->regions, &region->share, first,
			     last);
		return;
	}
	LIST_FOREACH (chain, &region->chains, same_region)
		itree_change(&chain->anon_vma->chains, &chain->node, first,
			     last);
}

void rmap_remove(struct region *region)
{
	struct anon_vma_chain *chain;

	require(rw_held_write(region_rmap_lock(region)));
	if (region->object) {
		itree_remove(&region->object->regions, &region->share);
		return;
	}
	LIST_FOREACH (chain, &region->chains, same_region)
		itree_remove(&chain->anon_vma->chains, &chain->node);
}

/* Walk the regions of a private page. */
static void walk_anon(struct page *page, rmap_visit *visit, void *arg)
{
	struct anon_vma *av = page->mapping.anon_vma;
	struct itree_node *node;

	rw_read_lock(&av->root->lock);
	PROBE(rmap_walk, page, av);
	itree_for_each (node, &av->chains, page->index, page->index) {
		struct anon_vma_chain *chain =
			container_of(node, struct anon_vma_chain, node);
		struct region *region = chain->region;

		if (!visit(page, region, region_va(region, page->index), arg))
			break;
	}
	rw_read_unlock(&av->root->lock);
}

/* Walk the regions of an object's page. */
static void walk_object(struct page *page, rmap_visit *visit, void *arg)
{
	struct object *object = page->mapping.object;
	struct itree_node *node;

	rw_read_lock(&object->lock);
	PROBE(rmap_walk, page, object);
	itree_for_each (node, &object->regions, page->index, page->index) {
		struct region *region =
			container_of(node, struct region, share);

		if (!visit(page, region, region_va(region, page->index), arg))
			break;
	}
	rw_read_unlock(&object->lock);
}

void rmap_walk_range(struct page *page, uint64_t first, uint64_t last,
		     rmap_visit_range *visit, void *arg)
{
	bool shared = page_kind(page) == PAGE_OBJECT;
	struct object *object = page->mapping.object;
	struct anon_vma *av = page->mapping.anon_vma;
	struct rwsem *lock = shared ? &object->lock : &av->root->lock;
	struct itree_node *node;

	require(may_sleep() && locks_below(RANK_LINKS));
	assert(shared || page_kind(page) == PAGE_ANON);
	rw_read_lock(lock);
	PROBE(rmap_walk, page, page->mapping.object);
	itree_for_each (node, shared ? &object->regions : &av->chains, first,
			last)
		visit(shared ? container_of(node, struct region, share)
			     : container_of(node, struct anon_vma_chain, node)
				       ->region,
		      arg);
	rw_read_unlock(lock);
}

struct rmap_leaf rmap_leaf(struct page *page, struct region *region, va_t va)
{
	struct mm *mm = region->mm;
	struct rmap_leaf leaf = { rmap_entry(page, region, va), va,
				  va + PAGE_SIZE };
	pa_t in;

	require(spin_held(&mm->pt_lock));
	if (leaf.slot)
		return leaf;
	leaf.slot = huge_slot(mm, va);
	if (!leaf.slot)
		return leaf;
	leaf.start = ALIGN_DOWN(va, BLOCK_SIZE);
	leaf.end = leaf.start + BLOCK_SIZE;
	in = va - leaf.start;
	if (pt_pa(pte_read(leaf.slot)) + in != page_pa(page))
		leaf.slot = NULL;
	return leaf;
}

static rmap_walker *walkers[PAGE_KINDS] = {
	[PAGE_ANON] = walk_anon,
	[PAGE_DEVICE] = walk_anon,
	[PAGE_OBJECT] = walk_object,
};

void rmap_set_walker(enum page_kind kind, rmap_walker *walk)
{
	assert(!walkers[kind]);
	walkers[kind] = walk;
}

void rmap_walk(struct page *page, rmap_visit *visit, void *arg)
{
	rmap_walker *walk = walkers[page_kind(page)];

	require(may_sleep() && locks_below(RANK_LINKS));
	assert(page_refs(page) > 0);
	if (walk)
		walk(page, visit, arg);
}
