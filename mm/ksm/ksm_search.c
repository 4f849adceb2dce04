/* SPDX-License-Identifier: MIT */
/*
 * ksm_search.c - find the page that equals a scanned one
 *
 *   a scan:   not written since its checksum? -------------+
 *             else checksum ----- differs? volatile -------|--+
 *                                                          v  |
 *             in the stable tree? ------ merge          <--+--+
 *             in the unstable tree? ---- merge both     <--+
 *             else insert into the unstable tree
 *
 * Checksums say where to search.  Whether two pages are equal is decided by
 * ksm_merge.c, when neither can be written.
 */
#include "mm/ksm/ksm_priv.h"
#include "mm/space/fault.h"

/* Looks the candidate's page up if that has not been done.  Returns false if the
 * entry maps another frame than the one that was scanned. */
static bool candidate_get_page(struct ksm_candidate *c,
			       const struct ktree_node *rmap_item)
{
	if (!c->page)
		c->page = get_mergeable_page(c->mm, c->va,
					     rmap_item_pfn(rmap_item));
	return c->page;
}

/* Merges a page of zeroes with zero_page, if ksm_knobs allow it. */
static int try_merge_zero_page(struct ksm_candidate *c,
			       const struct ktree_node *rmap_item)
{
	if (!ksm_knobs.use_zero_pages || !candidate_get_page(c, rmap_item) ||
	    memcmp_pages(c->page, zero_page))
		return 0;
	return try_to_merge_one_page(c, zero_page);
}

/* Merges with a frame of the stable tree. */
static int try_merge_stable(struct ksm_candidate *c,
			    const struct ktree_node *rmap_item)
{
	struct page *kpage;
	int ret;

	if (!stable_tree_has(rmap_item->sum) ||
	    !candidate_get_page(c, rmap_item))
		return 0;
	kpage = stable_tree_search(rmap_item->sum, c->page);
	if (!kpage)
		return 0;
	ret = try_to_merge_one_page(c, kpage);
	page_put(kpage);
	return ret;
}

/*
 * Merge two equal candidates.  A frame becomes a merged one only while one entry
 * maps it; if forks share both frames the other one is copied first.
 */
static int merge_candidates(struct ksm_candidate *c,
			    struct ksm_candidate *other, uint32_t sum)
{
	int ret;

	require(rw_held(&c->mm->lock) && rw_held(&other->mm->lock));
	if (page_maps(other->page) == 1)
		return try_to_merge_two_pages(other, c, sum);
	if (page_maps(c->page) == 1)
		return try_to_merge_two_pages(c, other, sum);
	ret = fault_own(other->mm, other->region, other->va);
	if (ret)
		return ret;
	page_put(other->page);
	other->dirty_tracked = false;
	other->page = get_mergeable_page(other->mm, other->va, 0);
	return other->page ? try_to_merge_two_pages(other, c, sum) : 0;
}

/*
 * Merge with the page of other_rmap_item, which was found equal in the unstable
 * tree.  Drops the reference on page.
 */
static int merge_with_found(struct ksm_candidate *c,
			    const struct ktree_node *rmap_item,
			    struct ktree_node *other_rmap_item,
			    struct page *page)
{
	struct ksm_candidate other = { .mm = rmap_item_mm(other_rmap_item),
				       .va = rmap_item_va(other_rmap_item),
				       .page = page };
	bool two = other.mm != c->mm;
	int ret = 0;

	other.dirty_tracked = pfn_of(page) == rmap_item_pfn(other_rmap_item);
	/* A lock of the rank that is held is only tried; the next pass tries again. */
	if (!two || rw_read_trylock(&other.mm->lock)) {
		other.region = region_find(other.mm, other.va);
		if (mergeable(other.region))
			ret = merge_candidates(c, &other, rmap_item->sum);
		if (two)
			rw_read_unlock(&other.mm->lock);
	}
	if (other.page)
		page_put(other.page);
	if (ret == 1)
		rmap_item_clear(other_rmap_item);
	return ret;
}

/* A search of the unstable tree. */
struct unstable_search {
	struct ksm_candidate *candidate;
	const struct ktree_node *rmap_item;
	struct page *other; /* the equal page, with a reference           */
	bool gone;          /* the rmap_item found maps no private page   */
};

/* ktree_compare: the candidate's page with that of a node.  Returns 0 also if there
 * is no page to compare. */
static int unstable_tree_compare(struct ktree_node *node, void *arg)
{
	struct unstable_search *s = arg;
	struct page *other;
	int order;

	s->gone = false;
	if (!candidate_get_page(s->candidate, s->rmap_item))
		return 0;
	other = get_mergeable_page(rmap_item_mm(node), rmap_item_va(node), 0);
	s->gone = !other;
	if (!other)
		return 0;
	order = memcmp_pages(s->candidate->page, other);
	/* Two entries of one frame, after a fork, have nothing to gain (C103). */
	if (order || other == s->candidate->page)
		page_put(other);
	else
		s->other = other;
	return order;
}

/* Merges with a page of the unstable tree, or inserts the rmap_item.  Linux:
 * unstable_tree_search_insert(). */
static int unstable_tree_search_insert(struct ksm_candidate *c,
				       struct ktree_node *rmap_item)
{
	struct unstable_search s = { .candidate = c, .rmap_item = rmap_item };
	struct ktree_place place;
	struct ktree_node *found;

	while ((found = ktree_find(&ksm.unstable, rmap_item->sum,
				   unstable_tree_compare, &s, &place)) &&
	       s.gone)
		rmap_item_clear(found);
	if (!found)
		rmap_item_insert(rmap_item, &place);
	return s.other ? merge_with_found(c, rmap_item, found, s.other) : 0;
}

int cmp_and_merge_page(struct ksm_candidate *c, struct ktree_node *rmap_item,
		       bool changed)
{
	int ret = 0;

	require(rw_held_write(&ksm.lock) && rw_held(&c->mm->lock));
	require(may_sleep() && mergeable(c->region) &&
		rmap_item_seen(rmap_item));
	if (rmap_item->sum == ksm.zero_sum)
		ret = try_merge_zero_page(c, rmap_item);
	if (!ret)
		ret = try_merge_stable(c, rmap_item);
	/* A page that changes often would soon be out of order in the tree. */
	if (!ret && !changed)
		ret = unstable_tree_search_insert(c, rmap_item);
	if (ret == 1)
		rmap_item_clear(rmap_item);
	return ret;
}
