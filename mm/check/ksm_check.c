/* SPDX-License-Identifier: MIT */
/*
 * ksm_check.c - recompute from the tables what KSM keeps in counters and trees
 *
 * Entries are counted in the tables, frames in the frame array, items in their
 * chunks; the counters, the trees and the links must agree with them.
 * mm_check() checks that the reverse map finds each entry of a merged frame
 * once, as for any other page.
 */
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/ksm/ksm_priv.h"

struct census {
	const char *wrong;
	uint64_t entries, zeroes; /* in all tables, that the scanner made   */
	uint64_t frames, shared;  /* merged frames; with an entry           */
	uint64_t maps;            /* their page_maps()                      */
	uint64_t chains, nodes, long_chains, long_dups, links;
	uint64_t chunks, rmap_items, unshared, in_tree;
};

/* ---- tables ---------------------------------------------------------------- */

/* Check and count one live entry. */
static void check_entry(struct census *c, struct mm *mm, va_t va, uint64_t e)
{
	struct page *page;
	bool zero;

	if (entry_swapped(e))
		return;
	page = entry_page(e);
	zero = page == zero_page && (e & PTE_D);
	if (page_kind(page) != PAGE_KSM && !zero)
		return;
	c->zeroes += zero;
	c->entries += !zero && entry_mapped(e);
	if (e & ENTRY_W && entry_mapped(e) && (e & PTE_P))
		WRONG(c, "mm %u: %lx maps a merged frame writable", mm->id, va);
	if (!mergeable(region_first(mm, va, va + 1)))
		WRONG(c,
		      "mm %u: %lx is merged, but its region is not mergeable",
		      mm->id, va);
}

/* Check and count the entries of one mm. */
static void check_tables(struct mm *mm, void *arg)
{
	struct census *c = arg;
	struct region *r;
	struct pt_run run;

	if (!mm->ksm.listed && !itree_empty(&mm->ksm.chunks))
		WRONG(c, "mm %u: has items, but is on no list", mm->id);
	for_each_region (r, mm, USER_START, USER_END)
		if (mergeable(r) && (r->object || !mm->ksm.listed))
			WRONG(c,
			      "mm %u: the region at %lx must not be mergeable",
			      mm->id, r->start);
	for (va_t va = 0; pt_next_run(&mm->pt, &va, USER_END, &run);) {
		for (unsigned i = pt_next_live(run.slots, 0, run.count);
		     i < run.count;
		     i = pt_next_live(run.slots, i + 1, run.count))
			check_entry(c, mm, run.va + i * PAGE_SIZE,
				    run.slots[i]);
	}
}

/* ---- merged frames ----------------------------------------------------------- */

/* Check and count the merged frames. */
static void check_frames(struct census *c)
{
	for (pfn_t pfn = 0; pfn < frames_end; pfn += pmm_stride(&frames[pfn])) {
		struct page *page = &frames[pfn];

		if (page_kind(page) != PAGE_KSM)
			continue;
		c->frames++;
		c->maps += page_maps(page);
		c->shared += page_maps(page) > 0;
		if (page_exclusive(page) || page_pins(page))
			WRONG(c, "merged frame %lx is exclusive or pinned",
			      pfn);
		if (page_stable_node(page)->page != page)
			WRONG(c, "merged frame %lx has the node of another",
			      pfn);
	}
}

/* Check the links after one: none is the same, and its group comes first. */
static void check_link(struct census *c, const struct ksm_stable_node *node,
		       const struct ksm_rmap_link *link)
{
	bool left = false; /* the group */

	for (struct ksm_rmap_link *other = link->next; other;
	     other = other->next) {
		bool equal = rmap_link_same_group(link, other->anon_vma,
						  other->index);

		if (equal && other->anon_vma == link->anon_vma)
			WRONG(c, "frame %lx: the same link twice",
			      pfn_of(node->page));
		if (equal && left)
			WRONG(c,
			      "frame %lx: a group of links is not contiguous",
			      pfn_of(node->page));
		left |= !equal;
	}
}

/* Check and count the links of one merged frame. */
static void check_links(struct census *c, struct ksm_stable_node *node)
{
	unsigned n = 0;

	for (struct ksm_rmap_link *link = node->links; link;
	     link = link->next) {
		n++;
		check_link(c, node, link);
	}
	if (n != node->n_links || n > ksm_knobs.max_page_sharing)
		WRONG(c, "frame %lx: %u links, counted as %u, bound %u",
		      pfn_of(node->page), n, node->n_links,
		      ksm_knobs.max_page_sharing);
	c->links += n;
}

/* Check one chain and its nodes; last is the chain before it, or NULL. */
static void check_content(struct census *c, struct ksm_stable_chain *chain,
			  struct ksm_stable_chain *last)
{
	struct ksm_stable_node *first = TAILQ_FIRST(&chain->nodes), *node;
	uint32_t sum = chain->node.sum, n = 0;

	TAILQ_FOREACH (node, &chain->nodes, dup) {
		n++;
		if (node->chain != chain)
			WRONG(c, "a node has another content");
		if (ksm_knobs.sum(page_va(node->page)) != sum ||
		    memcmp_pages(node->page, first->page))
			WRONG(c, "merged frame %lx has changed",
			      pfn_of(node->page));
		check_links(c, node);
	}
	if (!n || n != chain->node.word)
		WRONG(c, "content %x: %u frames, counted as %u", sum, n,
		      chain->node.word);
	if (n && last && last->node.sum == sum &&
	    memcmp_pages(TAILQ_FIRST(&last->nodes)->page, first->page) >= 0)
		WRONG(c, "contents of checksum %x are out of order", sum);
	c->nodes += n;
	c->long_chains += n > 1;
	c->long_dups += n > 1 ? n : 0;
	c->chains++;
}

/* Check the stable tree.  Context: ksm.lock held. */
static void check_stable(struct census *c)
{
	const char *why = ktree_check(&ksm.stable, NULL);
	struct ksm_stable_chain *last = NULL;

	require(rw_held(&ksm.lock));
	if (why)
		WRONG(c, "stable tree: %s", why);
	for (struct ktree_node *n = ktree_first(&ksm.stable); n && !c->wrong;
	     n = ktree_next(n)) {
		struct ksm_stable_chain *chain =
			container_of(n, struct ksm_stable_chain, node);

		check_content(c, chain, last);
		last = chain;
	}
}

/* ---- items ------------------------------------------------------------------- */

/* Check and count the items of one mm.  Context: ksm.lock held. */
static void check_items(struct census *c, struct mm *mm)
{
	struct itree_node *at;

	require(rw_held(&ksm.lock));
	if (!mm->ksm.listed)
		WRONG(c, "mm %u is on the list, but not marked so", mm->id);
	itree_for_each (at, &mm->ksm.chunks, 0, ~UINT64_C(0)) {
		struct ksm_chunk *chunk =
			container_of(at, struct ksm_chunk, node);

		c->chunks++;
		if (chunk->mm != mm)
			WRONG(c, "mm %u: a chunk belongs to another mm",
			      mm->id);
		for (unsigned i = 0; i < CHUNK_PAGES; i++) {
			struct ktree_node *rmap_item = &chunk->rmap_items[i];
			bool unshared = rmap_item->word & RMAP_ITEM_UNSHARED;

			c->rmap_items += rmap_item->word != 0;
			c->unshared += unshared;
			c->in_tree += unshared && rmap_item_seen(rmap_item);
		}
	}
}

/* Check the unstable tree.  Context: ksm.lock held. */
static void check_unstable(struct census *c)
{
	const char *why = ktree_check(&ksm.unstable, NULL);

	require(rw_held(&ksm.lock));
	if (why)
		WRONG(c, "unstable tree: %s", why);
	for (struct ktree_node *n = ktree_first(&ksm.unstable); n && !c->wrong;
	     n = ktree_next(n)) {
		if (!(n->word & RMAP_ITEM_UNSHARED) || !rmap_item_seen(n))
			WRONG(c, "an item is in the tree, but not marked so");
		c->in_tree--;
	}
	if (c->in_tree)
		WRONG(c, "%ld items are marked, but not in the tree",
		      c->in_tree);
}

/* ---- all together -------------------------------------------------------------- */

/* Compare the statistics with what was counted. */
static void check_counters(struct census *c, const struct ksm_stat *s)
{
	if (c->entries != s->pages_shared + s->pages_sharing ||
	    c->shared != s->pages_shared || c->maps != c->entries)
		WRONG(c,
		      "%lu entries of %lu frames; stat: %lu shared, %lu more",
		      c->entries, c->shared, s->pages_shared, s->pages_sharing);
	if (c->zeroes != s->ksm_zero_pages_sharing)
		WRONG(c, "%lu entries merged with the zero page, stat: %lu",
		      c->zeroes, s->ksm_zero_pages_sharing);
	if (c->unshared != s->pages_unshared ||
	    c->rmap_items - c->unshared != s->pages_volatile)
		WRONG(c, "%lu items, %lu unshared; stat: %lu and %lu",
		      c->rmap_items, c->unshared,
		      s->pages_volatile + s->pages_unshared, s->pages_unshared);
	if (c->long_chains != s->stable_node_chains ||
	    c->long_dups != s->stable_node_dups)
		WRONG(c, "%lu chains of %lu; stat: %lu, %lu", c->long_chains,
		      c->long_dups, s->stable_node_chains, s->stable_node_dups);
	if (c->frames != c->nodes || ksm.nodes != c->nodes ||
	    ksm.chains != c->chains || ksm.links != c->links ||
	    ksm.chunks != c->chunks)
		WRONG(c,
		      "%lu merged frames, %lu nodes, %lu contents, %lu links",
		      c->frames, c->nodes, c->chains, c->links);
}

const char *ksm_check(void)
{
	struct census c = { 0 };
	struct ksm_stat stat;

	require(may_sleep());
	ksm_stat(&stat);
	mm_for_each(check_tables, &c);
	check_frames(&c);
	rw_write_lock(&ksm.lock);
	check_stable(&c);
	for (struct mm *mm = ksm_next_mm(NULL); mm; mm = ksm_next_mm(mm))
		check_items(&c, mm);
	check_unstable(&c);
	rw_write_unlock(&ksm.lock);
	check_counters(&c, &stat);
	return c.wrong;
}
