/* SPDX-License-Identifier: MIT */
/*
 * ksm_stable.c - the stable tree and the stable nodes of merged frames
 *
 * The frame's last reference frees the stable node at once, in whatever context
 * that happens (stable_lock is a spin lock).  A frame gets a stable node, or loses
 * it and lives on, only while it is frozen: then only the scanner and the one entry
 * have a reference, and none can be taken.  So there are no stale nodes, and a
 * reference on the frame, however it was taken, keeps node and links.  Linux's
 * stable node may outlive its page and is pruned when it is next met.
 */
#include "kernel/probe.h"
#include "mm/ksm/ksm_priv.h"
#include "mm/rmap/migrate.h"

#define DUPS_TRIED 16 /* stable nodes of a chain asked for room a search     */

/* The count of a frame that becomes merged, or private again: one entry, whose
 * pt_lock is held, and the scanner's reference. */
#define STABLE_NODE_COUNT (PAGE_MAP + PAGE_REF)

static struct pool stable_node_pool, chain_pool;

/* ---- stable nodes --------------------------------------------------------------- */

void stable_node_discard(struct ksm_stable_node *node)
{
	rmap_links_free(node->links);
	if (node->chain)
		pool_free(&chain_pool, node->chain);
	pool_free(&stable_node_pool, node);
}

struct ksm_stable_node *stable_node_new(void)
{
	struct ksm_stable_node *node = pool_alloc(&stable_node_pool);

	if (!node)
		return NULL;
	node->chain = pool_alloc(&chain_pool);
	node->links = rmap_link_new();
	if (node->chain && node->links)
		return node;
	stable_node_discard(node);
	return NULL;
}

static struct ksm_stable_chain *chain_of(struct ktree_node *node)
{
	return container_of(node, struct ksm_stable_chain, node);
}

/* ktree_compare: a page with a chain.  All frames of a chain have one content. */
static int chain_compare(struct ktree_node *node, void *arg)
{
	struct ksm_stable_node *first = TAILQ_FIRST(&chain_of(node)->nodes);

	require(spin_held(&ksm.stable_lock) && first);
	return memcmp_pages(arg, first->page);
}

/* Inserts a stable node, with the chain that it brings or into the one that has its
 * content.  Returns the chain that is not needed, or NULL. */
static struct ksm_stable_chain *stable_tree_insert(struct ksm_stable_node *node,
						   uint32_t sum)
{
	struct ksm_stable_chain *own = node->chain, *chain = own;
	struct ktree_place place;
	struct ktree_node *found =
		ktree_find(&ksm.stable, sum, chain_compare, node->page, &place);

	require(spin_held(&ksm.stable_lock) && node->chain);
	if (found) {
		chain = chain_of(found);
		ksm.long_chains += chain->node.word == 1;
		ksm.long_dups += chain->node.word == 1 ? 2 : 1;
	} else {
		own->node.sum = sum;
		TAILQ_INIT(&own->nodes);
		ktree_insert(&ksm.stable, &own->node, &place);
		ksm.chains++;
	}
	node->chain = chain;
	chain->node.word++;
	TAILQ_INSERT_HEAD(&chain->nodes, node, dup);
	ksm.nodes++;
	return found ? own : NULL;
}

/* Removes a stable node.  Returns its chain if that is empty now, and out of the
 * tree; else NULL. */
static struct ksm_stable_chain *stable_tree_remove(struct ksm_stable_node *node)
{
	struct ksm_stable_chain *chain = node->chain;

	require(spin_held(&ksm.stable_lock) && chain->node.word);
	TAILQ_REMOVE(&chain->nodes, node, dup);
	ksm.nodes--;
	if (--chain->node.word) {
		ksm.long_chains -= chain->node.word == 1;
		ksm.long_dups -= chain->node.word == 1 ? 2 : 1;
		return NULL;
	}
	ktree_remove(&ksm.stable, &chain->node);
	ksm.chains--;
	return chain;
}

bool stable_node_attach(struct ksm_stable_node *node, struct page *page,
			uint32_t sum)
{
	struct ksm_stable_chain *spare;

	require(rw_held_write(&ksm.lock));
	if (!page_freeze(page, STABLE_NODE_COUNT))
		return false;
	PROBE(ksm_attach, page, node);
	node->page = page;
	node->links->anon_vma = page->mapping.anon_vma;
	node->links->index = page->index;
	node->n_links = 1;
	spin_lock(&ksm.stable_lock);
	ksm.links++;
	spare = stable_tree_insert(node, sum);
	spin_unlock(&ksm.stable_lock);
	page_clear_exclusive(page);
	page_set_dirty(page);
	page_change_kind(page, PAGE_ANON, PAGE_KSM, node, 0);
	page_unfreeze(page, STABLE_NODE_COUNT);
	if (spare)
		pool_free(&chain_pool, spare);
	return true;
}

/* Removes a stable node from the tree and frees it; the caller frees its links. */
static void stable_node_remove(struct ksm_stable_node *node)
{
	struct ksm_stable_chain *chain;

	require(node->page && !spin_held(&ksm.stable_lock));
	spin_lock(&ksm.stable_lock);
	ksm.links -= node->n_links;
	chain = stable_tree_remove(node);
	spin_unlock(&ksm.stable_lock);
	if (chain)
		pool_free(&chain_pool, chain);
	pool_free(&stable_node_pool, node);
}

void stable_node_detach(struct page *page)
{
	struct ksm_stable_node *node;
	struct ksm_rmap_link *link;

	require(rw_held_write(&ksm.lock));
	if (!page_freeze(page, STABLE_NODE_COUNT))
		return;
	node = page_stable_node(page);
	link = node->links;
	PROBE(ksm_detach, page, node);
	stable_node_remove(node);
	page_change_kind(page, PAGE_KSM, PAGE_ANON, link->anon_vma,
			 link->index);
	page_unfreeze(page, STABLE_NODE_COUNT);
	link->anon_vma = NULL; /* the reference is the page's now */
	rmap_links_free(link);
}

/*
 * Destructor of a merged frame: frees its stable node.
 * Context: any in which a lock of RANK_STABLE may be taken.
 */
static void ksm_page_gone(struct page *page)
{
	struct ksm_stable_node *node = page_stable_node(page);
	struct ksm_rmap_link *links = node->links;

	require(locks_below(RANK_STABLE) && node->page == page);
	PROBE(ksm_page_gone, page, node);
	stable_node_remove(node);
	rmap_links_free(links);
}

/* The owner of merged pages changes the frame: a reader of node->page, under
 * stable_lock, gets a reference on the one or none on the other (H24). */
static void ksm_page_moved(struct page *from, struct page *to)
{
	struct ksm_stable_node *node = page_stable_node(from);

	require(locks_below(RANK_STABLE) && node->page == from);
	spin_lock(&ksm.stable_lock);
	node->page = to;
	spin_unlock(&ksm.stable_lock);
}

/* ---- search --------------------------------------------------- */

/* Returns a frame of the chain that has room for an entry, with a reference, or
 * NULL.  Moves full ones to the end, so that later searches try the others.
 * Linux: stable_node_dup(). */
static struct page *chain_find_room(struct ksm_stable_chain *chain)
{
	struct ksm_stable_node *node;

	require(spin_held(&ksm.stable_lock));
	for (unsigned i = 0; i < DUPS_TRIED && i < chain->node.word; i++) {
		node = TAILQ_FIRST(&chain->nodes);
		if (page_maps(node->page) < ksm_knobs.max_page_sharing &&
		    page_try_get(node->page))
			return node->page;
		TAILQ_REMOVE(&chain->nodes, node, dup);
		TAILQ_INSERT_TAIL(&chain->nodes, node, dup);
	}
	return NULL;
}

bool stable_tree_has(uint32_t sum)
{
	bool has;

	require(rw_held_write(&ksm.lock));
	/* Only the scanner inserts, and the scanner is the caller: NULL stays NULL. */
	if (!data_race(ksm.stable.root))
		return false;
	spin_lock(&ksm.stable_lock);
	has = ktree_has(&ksm.stable, sum);
	spin_unlock(&ksm.stable_lock);
	return has;
}

struct page *stable_tree_search(uint32_t sum, const struct page *page)
{
	struct ktree_place place;
	struct ktree_node *found;
	struct page *kpage = NULL;
	unsigned bound = ksm_knobs.max_page_sharing;

	require(rw_held_write(&ksm.lock) && may_sleep());
	spin_lock(&ksm.stable_lock);
	found = ktree_find(&ksm.stable, sum, chain_compare, (void *)page,
			   &place);
	if (found)
		kpage = chain_find_room(chain_of(found));
	spin_unlock(&ksm.stable_lock);
	if (!kpage || page_stable_node(kpage)->n_links < bound)
		return kpage;
	/* Links without an entry: worth the walk if an eighth of them can go. */
	if (page_maps(kpage) < bound - bound / 8)
		rmap_links_prune(kpage);
	if (page_stable_node(kpage)->n_links < bound)
		return kpage;
	page_put(kpage);
	return NULL;
}

/* ---- init ------------------------------------------------------------------ */

void ksm_stable_init(void)
{
	pool_init(&stable_node_pool, "ksm_stable_node",
		  sizeof(struct ksm_stable_node));
	pool_init(&chain_pool, "ksm_stable_chain",
		  sizeof(struct ksm_stable_chain));
	page_set_destructor(PAGE_KSM, ksm_page_gone);
	migrate_set_mover(PAGE_KSM, ksm_page_moved);
}
