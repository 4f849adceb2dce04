/* SPDX-License-Identifier: MIT */
/*
 * ksm_rmap.c - the reverse map of a merged frame
 *
 *   frame -> stable_node -> rmap_link (anon_vma, page number) -> regions
 *
 * Linux hangs one rmap_item for each (mm, address) from a stable node.  Here, as in
 * the rest of the reverse map, nothing is stored per entry: a link leads to all
 * regions of an anon_vma, so fork, move and COW of a merged page change no link.
 * In return a link may lead to no entry any more; such links are pruned when room
 * is needed.
 *
 * Two links can lead to one region, if it belongs to two anon_vmas of one root: its
 * parent's, of which it inherited an entry, and its own.  Links of one root and page
 * number are a group of neighbours; only the first of a group that leads to a region
 * visits it, so each entry is visited once (B38).
 *
 * A reference on the frame keeps node and links.  A walk takes links_lock only
 * against rmap_link_add() and rmap_links_prune() (H24).
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/frame/moving.h"
#include "mm/ksm/ksm_priv.h"

static struct pool rmap_link_pool;

struct ksm_rmap_link *rmap_link_new(void)
{
	return pool_alloc(&rmap_link_pool);
}

void rmap_links_free(struct ksm_rmap_link *link)
{
	while (link) {
		struct ksm_rmap_link *next = link->next;

		if (link->anon_vma)
			anon_vma_put(link->anon_vma);
		pool_free(&rmap_link_pool, link);
		link = next;
	}
}

bool rmap_link_same_group(const struct ksm_rmap_link *a,
			  const struct anon_vma *av, uint64_t index)
{
	return a->index == index && a->anon_vma->root == av->root;
}

/* Returns the last link of the first group, after which a link of a new root is
 * inserted, so that no group is split; NULL if there are no links. */
static struct ksm_rmap_link *first_group_end(const struct ksm_stable_node *node)
{
	struct ksm_rmap_link *at = node->links, *next;

	while (at && (next = at->next) &&
	       rmap_link_same_group(at, next->anon_vma, next->index))
		at = next;
	return at;
}

int rmap_link_add(struct page *page, struct region *region, va_t va)
{
	struct ksm_stable_node *node = page_stable_node(page);
	struct anon_vma *av = region->anon_vma;
	uint64_t index = region_pgoff(region, va);
	struct ksm_rmap_link *link, *at = NULL;

	require(rw_held_write(&ksm.lock) && rw_held(&region->mm->lock));
	require(may_sleep() && page_kind(page) == PAGE_KSM && av);
	/* Only the scanner changes links: it may read them without links_lock. */
	for (link = node->links; link; link = link->next) {
		if (likely(link->index != index))
			continue;
		if (link->anon_vma == av)
			return 0;
		if (rmap_link_same_group(link, av, index))
			at = link;
	}
	link = rmap_link_new();
	if (!link)
		return err(ENOMEM);
	anon_vma_get(av);
	link->anon_vma = av;
	link->index = index;
	if (!at)
		at = first_group_end(node);
	rw_write_lock(&ksm.links_lock);
	link->next = at ? at->next : NULL; /* never before the first */
	*(at ? &at->next : &node->links) = link;
	node->n_links++;
	spin_lock(&ksm.stable_lock);
	ksm.links++;
	spin_unlock(&ksm.stable_lock);
	rw_write_unlock(&ksm.links_lock);
	return 0;
}

static va_t rmap_link_va(const struct ksm_rmap_link *link,
			 const struct region *region)
{
	return region->start + ((link->index - region->pgoff) << PAGE_SHIFT);
}

/* Returns whether a link from first on, before link, leads to the region. */
static bool visited_before(const struct ksm_rmap_link *first,
			   const struct ksm_rmap_link *link,
			   const struct region *region)
{
	for (; first != link; first = first->next)
		if (anon_vma_has(first->anon_vma, region))
			return true;
	return false;
}

/* Visits the regions of a link that no link from first on leads to.  Returns false
 * if the visitor ended the walk. */
static bool rmap_link_walk(struct page *page, const struct ksm_rmap_link *first,
			   const struct ksm_rmap_link *link, rmap_visit *visit,
			   void *arg)
{
	struct rwsem *lock = &link->anon_vma->root->lock;
	struct itree_node *at;
	bool more = true;

	require(rw_held(&ksm.links_lock));
	rw_read_lock(lock);
	PROBE(rmap_walk, page, link->anon_vma);
	itree_for_each (at, &link->anon_vma->chains, link->index, link->index) {
		struct region *region =
			container_of(at, struct anon_vma_chain, node)->region;

		if (visited_before(first, link, region))
			continue;
		more = visit(page, region, rmap_link_va(link, region), arg);
		if (!more)
			break;
	}
	rw_read_unlock(lock);
	return more;
}

/*
 * Walker of merged pages, with rmap_walk()'s contract; takes links_lock and the
 * locks of anon_vma roots to read.  Linux: rmap_walk_ksm().
 */
static void ksm_rmap_walk(struct page *page, rmap_visit *visit, void *arg)
{
	const struct ksm_rmap_link *link, *first;

	require(may_sleep() && locks_below(RANK_LINKS));
	rw_read_lock(&ksm.links_lock);
	first = page_stable_node(page)->links;
	for (link = first; link; link = link->next) {
		if (!rmap_link_same_group(link, first->anon_vma, first->index))
			first = link;
		if (!rmap_link_walk(page, first, link, visit, arg))
			break;
	}
	rw_read_unlock(&ksm.links_lock);
}

/* rmap_visit: sets *arg if the entry names the page.  An evicted entry does: the
 * page comes back to it. */
static bool entry_names_page(struct page *page, struct region *region, va_t va,
			     void *arg)
{
	bool *named = arg;
	uint64_t *slot;

	spin_lock(&region->mm->pt_lock);
	slot = pt_slot(&region->mm->pt, va, 0, false);
	*named = slot && entry_names(pte_read(slot), page);
	spin_unlock(&region->mm->pt_lock);
	return !*named;
}

/*
 * No entry appears where the walk has already been: entries are made by the
 * scanner, which is the caller, or copied from one of another region of the same
 * root, which the walk visits later.
 */
void rmap_links_prune(struct page *page)
{
	struct ksm_stable_node *node = page_stable_node(page);
	struct ksm_rmap_link **at = &node->links, *link, *gone = NULL;
	unsigned n = 0;

	require(rw_held_write(&ksm.lock) && may_sleep());
	rw_write_lock(&ksm.links_lock);
	/* Entries that name the frame to which it moves may come back. */
	while (!page_moving(page) && (link = *at)) {
		bool named = false;

		rmap_link_walk(page, link, link, entry_names_page, &named);
		if (named) {
			at = &link->next;
			continue;
		}
		*at = link->next;
		link->next = gone;
		gone = link;
		n++;
	}
	node->n_links -= n;
	spin_lock(&ksm.stable_lock);
	ksm.links -= n;
	spin_unlock(&ksm.stable_lock);
	rw_write_unlock(&ksm.links_lock);
	rmap_links_free(gone);
}

/* ---- init ------------------------------------------------------------------ */

void ksm_rmap_init(void)
{
	pool_init(&rmap_link_pool, "ksm_rmap_link",
		  sizeof(struct ksm_rmap_link));
	rmap_set_walker(PAGE_KSM, ksm_rmap_walk);
}
