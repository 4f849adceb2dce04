/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - walk from a page to its entries, and what is done there
 *
 * The walk itself knows nothing of entries; its users take the page-table lock
 * of each region they visit and look whether the entry maps the page.  In the
 * users the order is everywhere the same: clear the entry, flush the CPUs (and
 * in time every other MMU), set what takes its place, and only then let the
 * page's counts show it.
 */
#include "mm/rmap.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/anon_vma.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/ksm.h"
#include "mm/object.h"

static struct rwsem *region_rmap_lock(struct region *region)
{
	return region->object ? &region->object->lock
			      : &region->anon_vma->root->lock;
}

void rmap_lock_write(struct region *region)
{
	rw_write_lock(region_rmap_lock(region));
}

void rmap_unlock_write(struct region *region)
{
	rw_write_unlock(region_rmap_lock(region));
}

void rmap_insert(struct region *region)
{
	uint64_t first = region->pgoff;
	uint64_t last = region_pgoff(region, region->end) - 1;
	struct anon_vma_chain *chain;

	assert(rw_held_write(region_rmap_lock(region)));
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

void rmap_remove(struct region *region)
{
	struct anon_vma_chain *chain;

	assert(rw_held_write(region_rmap_lock(region)));
	if (region->object) {
		itree_remove(&region->object->regions, &region->share);
		return;
	}
	LIST_FOREACH (chain, &region->chains, same_region)
		itree_remove(&chain->anon_vma->chains, &chain->node);
}

void page_leave_family(struct page *page)
{
	if (page_kind(page) == PAGE_ANON)
		anon_vma_put((struct anon_vma *)page->mapping);
	else if (page_kind(page) == PAGE_OBJECT)
		object_unref((struct object *)page->mapping);
	else if (page_kind(page) == PAGE_KSM)
		ksm_page_gone(page);
	page->mapping = 0;
}

static va_t region_va(const struct region *region, uint64_t index)
{
	return region->start + ((index - region->pgoff) << PAGE_SHIFT);
}

static void walk_anon(struct page *page, rmap_visit *visit, void *arg)
{
	struct anon_vma *av = (struct anon_vma *)page->mapping;
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

static void walk_object(struct page *page, rmap_visit *visit, void *arg)
{
	struct object *object = (struct object *)page->mapping;
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

void rmap_walk(struct page *page, rmap_visit *visit, void *arg)
{
	assert(page_refs(page) > 0);
	if (page_kind(page) == PAGE_ANON)
		walk_anon(page, visit, arg);
	else if (page_kind(page) == PAGE_OBJECT)
		walk_object(page, visit, arg);
	else if (page_kind(page) == PAGE_KSM)
		ksm_rmap_walk(page, visit, arg);
}
