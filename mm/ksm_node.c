/* SPDX-License-Identifier: MIT */
/*
 * ksm_node.c - the stable tree, and from a merged frame to its entries
 *
 * A merged frame knows its node, the node the families in which entries of the
 * frame are.  As everywhere in the reverse map nothing is stored per entry: a
 * fork or a move of a merged page changes nothing here, and a break neither.  So
 * a link may be in vain, and is dropped when room is needed.
 *
 *   frame -> node -> link (family, number) -> regions -> their tables
 *
 * Two links can lead to one region, when it belongs to two families of one
 * root: of its parent, whose entry it inherited, and its own.  Links of one
 * root and number are neighbours, and only the first that knows a region
 * visits it, so that each entry is visited once (B38).
 *
 * Node and frame: the frame's last reference takes the node with it, at once,
 * wherever that is (stable_lock is a spin lock).  So there are no stale nodes,
 * and who has a reference on the frame has its node (H24 cannot be written).
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/ksm_priv.h"

#define LOOK_AT 16 /* frames of one content, for one with room            */

static struct pool node_pool, content_pool, link_pool;

static void links_free(struct ksm_link *link)
{
	while (link) {
		struct ksm_link *next = link->next;

		if (link->anon_vma)
			anon_vma_put(link->anon_vma);
		pool_free(&link_pool, link);
		link = next;
	}
}

/* ---- nodes --------------------------------------------------------------- */

void ksm_node_init(void)
{
	pool_init(&node_pool, "ksm_node", sizeof(struct ksm_node));
	pool_init(&content_pool, "ksm_content", sizeof(struct ksm_content));
	pool_init(&link_pool, "ksm_link", sizeof(struct ksm_link));
}

void node_discard(struct ksm_node *node)
{
	links_free(node->links);
	if (node->content)
		pool_free(&content_pool, node->content);
	pool_free(&node_pool, node);
}

struct ksm_node *node_new(void)
{
	struct ksm_node *node = pool_alloc(&node_pool);

	if (!node)
		return NULL;
	node->content = pool_alloc(&content_pool);
	node->links = pool_alloc(&link_pool);
	if (node->content && node->links)
		return node;
	node_discard(node);
	return NULL;
}

static struct ksm_content *content_of(struct ktree_node *node)
{
	return container_of(node, struct ksm_content, node);
}

/* All frames of a content are alike, and one with a node has one. */
static int content_compare(struct ktree_node *node, void *arg)
{
	struct ksm_node *first = TAILQ_FIRST(&content_of(node)->nodes);

	return pages_compare(arg, first->page);
}

/* The node's frame is in the tree: with its own content, or with the one that
 * is there.  Returns the content that is not needed, or NULL. */
static struct ksm_content *stable_insert(struct ksm_node *node, uint32_t sum)
{
	struct ksm_content *mine = node->content, *content = mine;
	struct ktree_place place;
	struct ktree_node *found = ktree_find(&ksm.stable, sum, content_compare,
					      node->page, &place);

	if (found) {
		content = content_of(found);
		ksm.chains += content->node.word == 1;
		ksm.dups += content->node.word == 1 ? 2 : 1;
	} else {
		mine->node.sum = sum;
		TAILQ_INIT(&mine->nodes);
		ktree_insert(&ksm.stable, &mine->node, &place);
		ksm.contents++;
	}
	node->content = content;
	content->node.word++;
	TAILQ_INSERT_HEAD(&content->nodes, node, dup);
	ksm.nodes++;
	return found ? mine : NULL;
}

/* Returns the content if that was its last node, out of the tree. */
static struct ksm_content *stable_remove(struct ksm_node *node)
{
	struct ksm_content *content = node->content;

	TAILQ_REMOVE(&content->nodes, node, dup);
	ksm.nodes--;
	if (--content->node.word) {
		ksm.chains -= content->node.word == 1;
		ksm.dups -= content->node.word == 1 ? 2 : 1;
		return NULL;
	}
	ktree_remove(&ksm.stable, &content->node);
	ksm.contents--;
	return content;
}

static void node_kind(struct page *page, enum page_kind from, enum page_kind to)
{
	/* Others change their bits at the same time. */
	atomic_fetch_xor_explicit(&page->flags, (uint32_t)(from ^ to),
				  memory_order_relaxed);
}

void node_attach(struct ksm_node *node, struct page *page, uint32_t sum)
{
	struct ksm_content *spare;

	assert(page_kind(page) == PAGE_ANON && page_maps(page) == 1);
	node->page = page;
	node->links->anon_vma = (struct anon_vma *)page->mapping;
	node->links->index = page->index;
	node->n_links = 1;
	spin_lock(&ksm.stable_lock);
	ksm.links++;
	spare = stable_insert(node, sum);
	page->mapping = (uintptr_t)node;
	page->index = 0;
	page_clear_exclusive(page);
	page_set_dirty(page);
	node_kind(page, PAGE_ANON, PAGE_KSM);
	spin_unlock(&ksm.stable_lock);
	if (spare)
		pool_free(&content_pool, spare);
}

/* Out of the tree and free; the links are the caller's. */
static void node_remove(struct ksm_node *node)
{
	struct ksm_content *content;

	spin_lock(&ksm.stable_lock);
	ksm.links -= node->n_links;
	content = stable_remove(node);
	spin_unlock(&ksm.stable_lock);
	if (content)
		pool_free(&content_pool, content);
	pool_free(&node_pool, node);
}

void node_detach(struct page *page)
{
	struct ksm_node *node = page_node(page);
	struct ksm_link *link = node->links;

	assert(page_maps(page) == 1);
	node_remove(node);
	page->mapping = (uintptr_t)link->anon_vma;
	page->index = link->index;
	link->anon_vma = NULL; /* the page keeps the reference */
	node_kind(page, PAGE_KSM, PAGE_ANON);
	links_free(link);
}

void ksm_page_gone(struct page *page)
{
	struct ksm_node *node = page_node(page);
	struct ksm_link *links = node->links;

	PROBE(ksm_page_gone, page, node);
	node_remove(node);
	links_free(links);
}

/* ---- links ---------------------------------------------------------------- */

static bool link_equal(const struct ksm_link *a, const struct anon_vma *av,
		       uint64_t index)
{
	return a->index == index && a->anon_vma->root == av->root;
}

int link_add(struct page *page, struct region *region, va_t va)
{
	struct ksm_node *node = page_node(page);
	struct anon_vma *av = region->anon_vma;
	uint64_t index = region_pgoff(region, va);
	struct ksm_link *link, *at = NULL;

	/* Only the scanner changes links: it may look without the lock. */
	for (link = node->links; link; link = link->next) {
		if (likely(link->index != index))
			continue;
		if (link->anon_vma == av)
			return 0;
		if (link_equal(link, av, index))
			at = link;
	}
	link = pool_alloc(&link_pool);
	if (!link)
		return err(ENOMEM);
	anon_vma_get(av);
	link->anon_vma = av;
	link->index = index;
	if (!at)
		at = node->links;
	rw_write_lock(&ksm.links_lock);
	link->next = at ? at->next : NULL; /* the first stays the first */
	*(at ? &at->next : &node->links) = link;
	node->n_links++;
	spin_lock(&ksm.stable_lock);
	ksm.links++;
	spin_unlock(&ksm.stable_lock);
	rw_write_unlock(&ksm.links_lock);
	return 0;
}

static va_t link_va(const struct ksm_link *link, const struct region *region)
{
	return region->start + ((link->index - region->pgoff) << PAGE_SHIFT);
}

/* Has a link from first on, before link, led to the region? */
static bool visited_before(const struct ksm_link *first,
			   const struct ksm_link *link,
			   const struct region *region)
{
	for (; first != link; first = first->next)
		if (anon_vma_has(first->anon_vma, region))
			return true;
	return false;
}

/* False: the visitor has seen enough. */
static bool link_walk(struct page *page, const struct ksm_link *first,
		      const struct ksm_link *link, rmap_visit *visit, void *arg)
{
	struct rwsem *lock = &link->anon_vma->root->lock;
	struct itree_node *at;
	bool more = true;

	rw_read_lock(lock);
	PROBE(rmap_walk, page, link->anon_vma);
	itree_for_each (at, &link->anon_vma->chains, link->index, link->index) {
		struct region *region =
			container_of(at, struct anon_vma_chain, node)->region;

		if (visited_before(first, link, region))
			continue;
		more = visit(page, region, link_va(link, region), arg);
		if (!more)
			break;
	}
	rw_read_unlock(lock);
	return more;
}

void ksm_rmap_walk(struct page *page, rmap_visit *visit, void *arg)
{
	const struct ksm_link *link, *first;

	rw_read_lock(&ksm.links_lock);
	first = page_node(page)->links;
	for (link = first; link; link = link->next) {
		if (!link_equal(link, first->anon_vma, first->index))
			first = link;
		if (!link_walk(page, first, link, visit, arg))
			break;
	}
	rw_read_unlock(&ksm.links_lock);
}

/* Does an entry name the page?  A parked one comes back. */
static bool named_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	bool *named = arg;
	uint64_t *slot;

	spin_lock(&region->mm->pt_lock);
	slot = pt_slot(&region->mm->pt, va, 0, false);
	*named = slot && pte_read(slot) && entry_page(pte_read(slot)) == page;
	spin_unlock(&region->mm->pt_lock);
	return !*named;
}

/*
 * Drop links that lead to no entry.  No entry comes up behind the check: one is
 * made by the scanner, which is us, or copied from another of the same family,
 * in the order of the walk.
 */
static void links_prune(struct page *page)
{
	struct ksm_node *node = page_node(page);
	struct ksm_link **at = &node->links, *link, *gone = NULL;
	unsigned n = 0;

	rw_write_lock(&ksm.links_lock);
	while ((link = *at)) {
		bool named = false;

		link_walk(page, link, link, named_visit, &named);
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
	links_free(gone);
}

/* ---- looking for a frame --------------------------------------------------- */

/* One of the content's frames with room, and a reference; those that are full
 * go to the end, so that in time all are asked. */
static struct page *content_room(struct ksm_content *content)
{
	struct ksm_node *node;

	for (unsigned i = 0; i < LOOK_AT && i < content->node.word; i++) {
		node = TAILQ_FIRST(&content->nodes);
		if (page_maps(node->page) < ksm_knobs.max_page_sharing &&
		    page_try_get(node->page))
			return node->page;
		TAILQ_REMOVE(&content->nodes, node, dup);
		TAILQ_INSERT_TAIL(&content->nodes, node, dup);
	}
	return NULL;
}

bool stable_has(uint32_t sum)
{
	bool has;

	/* Nobody but the scanner, who asks, puts anything in. */
	if (!READ_ONCE(ksm.stable.root))
		return false;
	spin_lock(&ksm.stable_lock);
	has = ktree_has(&ksm.stable, sum);
	spin_unlock(&ksm.stable_lock);
	return has;
}

struct page *stable_find(uint32_t sum, const struct page *page)
{
	struct ktree_place place;
	struct ktree_node *found;
	struct page *kpage = NULL;
	unsigned bound = ksm_knobs.max_page_sharing;

	spin_lock(&ksm.stable_lock);
	found = ktree_find(&ksm.stable, sum, content_compare, (void *)page,
			   &place);
	if (found)
		kpage = content_room(content_of(found));
	spin_unlock(&ksm.stable_lock);
	if (!kpage || page_node(kpage)->n_links < bound)
		return kpage;
	/* Links in vain: worth the walk if it frees an eighth of them. */
	if (page_maps(kpage) < bound - bound / 8)
		links_prune(kpage);
	if (page_node(kpage)->n_links < bound)
		return kpage;
	page_put(kpage);
	return NULL;
}
