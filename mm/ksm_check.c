/* SPDX-License-Identifier: MIT */
/*
 * ksm_check.c - recompute everything from the tables
 *
 * Entries are counted in the tables, frames in the frame array, items in their
 * chunks; then the counters, the trees and the links have to agree.  That each
 * entry of a merged frame is found once is mm_check()'s business, as for any
 * other page.
 */
#include "mm/check.h"
#include "mm/entry.h"
#include "mm/ksm_priv.h"

struct census {
	const char *wrong;
	uint64_t entries, zeroes; /* in all tables, that the scanner made   */
	uint64_t frames, shared;  /* merged frames; with an entry           */
	uint64_t maps;            /* their page_maps()                      */
	uint64_t contents, nodes, chains, dups, links;
	uint64_t chunks, items, unshared, in_tree;
};

/* ---- tables ---------------------------------------------------------------- */

static void check_entry(struct census *c, struct mm *mm, va_t va, uint64_t e)
{
	struct page *page = entry_page(e);
	bool zero = page == zero_page && (e & PTE_D);

	if (page_kind(page) != PAGE_KSM && !zero)
		return;
	c->zeroes += zero;
	c->entries += !zero && entry_mapped(e);
	if (e & ENTRY_W && entry_mapped(e) && (e & PTE_P))
		WRONG(c, "mm %u: %lx may write a merged frame", mm->id, va);
	if (!willing(region_first(mm, va, va + 1)))
		WRONG(c, "mm %u: %lx is merged and never agreed", mm->id, va);
}

static void check_tables(struct mm *mm, void *arg)
{
	struct census *c = arg;
	struct region *r;
	struct pt_run run;

	if (!mm->ksm.listed && !itree_empty(&mm->ksm.chunks))
		WRONG(c, "mm %u: has items and is on no list", mm->id);
	for_each_region (r, mm, USER_START, USER_END)
		if (willing(r) && (r->object || !mm->ksm.listed))
			WRONG(c, "mm %u: the region at %lx cannot be willing",
			      mm->id, r->start);
	for (va_t va = 0; pt_next_run(&mm->pt, &va, USER_END, &run);)
		for (unsigned i = 0; i < run.count; i++)
			if (run.slots[i])
				check_entry(c, mm, run.va + i * PAGE_SIZE,
					    run.slots[i]);
}

/* ---- merged frames ----------------------------------------------------------- */

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
		if (page_node(page)->page != page)
			WRONG(c, "merged frame %lx has another's node", pfn);
	}
}

static void check_links(struct census *c, struct ksm_node *node)
{
	unsigned n = 0;

	for (struct ksm_link *link = node->links; link; link = link->next) {
		n++;
		for (struct ksm_link *other = link->next; other;
		     other = other->next)
			if (other->anon_vma == link->anon_vma &&
			    other->index == link->index)
				WRONG(c, "frame %lx: the same link twice",
				      pfn_of(node->page));
	}
	if (n != node->n_links || n > ksm_knobs.max_page_sharing)
		WRONG(c, "frame %lx: %u links, said to be %u, bound %u",
		      pfn_of(node->page), n, node->n_links,
		      ksm_knobs.max_page_sharing);
	c->links += n;
}

static void check_content(struct census *c, struct ksm_content *content,
			  struct ksm_content *last)
{
	struct ksm_node *first = TAILQ_FIRST(&content->nodes), *node;
	uint32_t sum = content->node.sum, n = 0;

	TAILQ_FOREACH (node, &content->nodes, dup) {
		n++;
		if (node->content != content)
			WRONG(c, "a node has another content");
		if (ksm_knobs.sum(page_va(node->page)) != sum ||
		    pages_compare(node->page, first->page))
			WRONG(c, "merged frame %lx has changed",
			      pfn_of(node->page));
		check_links(c, node);
	}
	if (!n || n != content->node.word)
		WRONG(c, "content %x: %u frames, said to be %u", sum, n,
		      content->node.word);
	if (n && last && last->node.sum == sum &&
	    pages_compare(TAILQ_FIRST(&last->nodes)->page, first->page) >= 0)
		WRONG(c, "contents of checksum %x are out of order", sum);
	c->nodes += n;
	c->chains += n > 1;
	c->dups += n > 1 ? n : 0;
	c->contents++;
}

static void check_stable(struct census *c)
{
	const char *why = ktree_check(&ksm.stable, NULL);
	struct ksm_content *last = NULL;

	if (why)
		WRONG(c, "stable tree: %s", why);
	for (struct ktree_node *n = ktree_first(&ksm.stable); n && !c->wrong;
	     n = ktree_next(n)) {
		struct ksm_content *content =
			container_of(n, struct ksm_content, node);

		check_content(c, content, last);
		last = content;
	}
}

/* ---- items ------------------------------------------------------------------- */

static void check_items(struct census *c, struct mm *mm)
{
	struct itree_node *at;

	if (!mm->ksm.listed)
		WRONG(c, "mm %u is on the list and does not know", mm->id);
	itree_for_each (at, &mm->ksm.chunks, 0, ~UINT64_C(0)) {
		struct ksm_chunk *chunk =
			container_of(at, struct ksm_chunk, node);

		c->chunks++;
		if (chunk->mm != mm)
			WRONG(c, "mm %u: a chunk of another", mm->id);
		for (unsigned i = 0; i < CHUNK_PAGES; i++) {
			struct ktree_node *item = &chunk->items[i];
			bool unshared = item->word & ITEM_UNSHARED;

			c->items += item->word != 0;
			c->unshared += unshared;
			c->in_tree += unshared && item_seen(item);
		}
	}
}

static void check_unstable(struct census *c)
{
	const char *why = ktree_check(&ksm.unstable, NULL);

	if (why)
		WRONG(c, "unstable tree: %s", why);
	for (struct ktree_node *n = ktree_first(&ksm.unstable); n && !c->wrong;
	     n = ktree_next(n)) {
		if (!(n->word & ITEM_UNSHARED) || !item_seen(n))
			WRONG(c, "an item is in the tree and does not know");
		c->in_tree--;
	}
	if (c->in_tree)
		WRONG(c, "%ld items believe that they are in the tree",
		      c->in_tree);
}

/* ---- all together -------------------------------------------------------------- */

static void check_counters(struct census *c, const struct ksm_stat *s)
{
	if (c->entries != s->pages_shared + s->pages_sharing ||
	    c->shared != s->pages_shared || c->maps != c->entries)
		WRONG(c,
		      "%lu entries of %lu frames; said: %lu shared, %lu more",
		      c->entries, c->shared, s->pages_shared, s->pages_sharing);
	if (c->zeroes != s->ksm_zero_pages_sharing)
		WRONG(c, "%lu entries led to the zero page, said %lu",
		      c->zeroes, s->ksm_zero_pages_sharing);
	if (c->unshared != s->pages_unshared ||
	    c->items - c->unshared != s->pages_volatile)
		WRONG(c, "%lu items, %lu unshared; said: %lu and %lu", c->items,
		      c->unshared, s->pages_volatile + s->pages_unshared,
		      s->pages_unshared);
	if (c->chains != s->stable_node_chains ||
	    c->dups != s->stable_node_dups)
		WRONG(c, "%lu chains of %lu; said: %lu, %lu", c->chains,
		      c->dups, s->stable_node_chains, s->stable_node_dups);
	if (c->frames != c->nodes || ksm.nodes != c->nodes ||
	    ksm.contents != c->contents || ksm.links != c->links ||
	    ksm.chunks != c->chunks)
		WRONG(c,
		      "%lu merged frames, %lu nodes, %lu contents, %lu links",
		      c->frames, c->nodes, c->contents, c->links);
}

const char *ksm_check(void)
{
	struct census c = { 0 };
	struct ksm_stat stat;

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
