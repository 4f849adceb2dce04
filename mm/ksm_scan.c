/* SPDX-License-Identifier: MIT */
/*
 * ksm_scan.c - look at pages, a few at a time, and find their equals
 *
 *   a look:   nothing changed since its checksum? ---------+
 *             else checksum ----- another? volatile -------|--+
 *                                                          v  |
 *             in the stable tree? ------ merge          <--+--+
 *             in the unstable tree? ---- merge both     <--+
 *             else it goes into the unstable tree
 *
 * The scanner goes through address spaces, regions and pages in order.  A pass
 * ends behind the last; the next begins with an empty unstable tree, because
 * the pages in it are nobody's prisoners: they change, and it decays.
 *
 * One turn is what lies in one chunk.  Its entries are looked at in one hold of
 * pt_lock: of those that were written D goes, with one flush for all, so that at
 * the next look an entry without D says that the page has not been written since
 * *before* its checksum was computed.  Of an mm that somebody listens to D tells
 * nothing: its pages are summed at every look.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/entry.h"
#include "mm/fault.h"
#include "mm/gather.h"
#include "mm/ksm_priv.h"

enum look {
	LOOK_SKIP,  /* not a page for us                                  */
	LOOK_KNOWN, /* as it was at its checksum                          */
	LOOK_SUM,   /* in turn->page, with a reference                    */
};

/* (ksm.lock) too large for a stack. */
static struct turn {
	struct mm *mm;
	struct region *region;
	struct ksm_chunk *chunk;  /* NULL: none yet                       */
	struct ktree_node *items; /* of the first entry                   */
	struct pt_run run;
	unsigned looked;
	uint8_t look[CHUNK_PAGES];
	struct page *page[CHUNK_PAGES];
} turn;

/* ---- which pages --------------------------------------------------------- */

/* The entries from ksm.va on that lie in one table, region and chunk. */
static bool turn_find(struct turn *t, struct mm *mm, unsigned budget)
{
	struct region *r;

	for_each_region (r, mm, ksm.va, USER_END) {
		va_t va = ksm.va > r->start ? ksm.va : r->start;

		if (!willing(r) || !pt_next_run(&mm->pt, &va, r->end, &t->run))
			continue;
		va = ALIGN_DOWN(t->run.va, CHUNK_BYTES) + CHUNK_BYTES;
		if (t->run.count > (va - t->run.va) >> PAGE_SHIFT)
			t->run.count = (va - t->run.va) >> PAGE_SHIFT;
		if (t->run.count > budget)
			t->run.count = budget;
		t->mm = mm;
		t->region = r;
		t->looked = 0;
		return true;
	}
	return false;
}

static void turn_chunk(struct turn *t, struct ksm_chunk *chunk)
{
	t->chunk = chunk;
	if (chunk)
		t->items = chunk->items +
			   ((t->run.va - chunk->node.start) >> PAGE_SHIFT);
}

/* ---- what is there ------------------------------------------------------- */

/* A private page; *flush: its entry has lost D. */
static enum look look_anon(struct turn *t, unsigned i, uint64_t e, bool *flush)
{
	struct ktree_node *item = &t->items[i];
	struct page *page = entry_page(e);

	if (page_pins(page)) {
		/* Its user writes without our knowing: D stays. */
		item_forget(item);
		return LOOK_SKIP;
	}
	if (!mm_has_notifiers(t->mm)) {
		if (!(e & PTE_D) && item->word &&
		    item_pfn(item) == pfn_of(page))
			return LOOK_KNOWN;
		if (e & PTE_D) {
			pte_and(&t->run.slots[i], ~PTE_D);
			page_set_dirty(page);
			*flush |= (e & PTE_W) != 0;
		}
	}
	page_get(page);
	t->page[i] = page;
	return LOOK_SUM;
}

static enum look look_entry(struct turn *t, unsigned i, bool *flush)
{
	uint64_t e = pte_read(&t->run.slots[i]);
	enum page_kind kind =
		entry_mapped(e) ? page_kind(entry_page(e)) : PAGE_FREE;

	t->looked += kind == PAGE_ANON || kind == PAGE_KSM;
	if (!t->chunk)
		return LOOK_SKIP; /* a private page has just come: next time */
	if (kind == PAGE_ANON)
		return look_anon(t, i, e, flush);
	item_forget(&t->items[i]);
	return LOOK_SKIP;
}

static bool entries_anon(const struct turn *t)
{
	for (unsigned i = 0; i < t->run.count; i++) {
		uint64_t e = pte_read(&t->run.slots[i]);

		if (entry_mapped(e) && page_kind(entry_page(e)) == PAGE_ANON)
			return true;
	}
	return false;
}

/* False without memory to remember anything. */
static bool turn_look(struct turn *t)
{
	struct mm *mm = t->mm;
	bool flush = false;

	turn_chunk(t, chunk_find(mm, t->run.va));
	if (!t->chunk && entries_anon(t)) {
		turn_chunk(t, chunk_new(mm, t->run.va));
		if (!t->chunk)
			return false;
	}
	PROBE(ksm_look, mm, t->run.va);
	spin_lock(&mm->pt_lock);
	for (unsigned i = 0; i < t->run.count; i++)
		t->look[i] = look_entry(t, i, &flush);
	if (flush)
		tlb_flush_range(mm, t->run.va,
				t->run.va + t->run.count * PAGE_SIZE);
	spin_unlock(&mm->pt_lock);
	PROBE(ksm_looked, mm, t->run.va);
	return true;
}

/* ---- what is equal -------------------------------------------------------- */

static bool have_page(struct ksm_spot *spot, const struct ktree_node *item)
{
	if (!spot->page)
		spot->page = spot_page(spot->mm, spot->va, item_pfn(item));
	return spot->page;
}

static int try_zero(struct ksm_spot *spot, const struct ktree_node *item)
{
	if (!ksm_knobs.use_zero_pages || !have_page(spot, item) ||
	    pages_compare(spot->page, zero_page))
		return 0;
	return merge_into(spot, zero_page);
}

static int try_stable(struct ksm_spot *spot, const struct ktree_node *item)
{
	struct page *kpage;
	int ret;

	if (!stable_has(item->sum) || !have_page(spot, item))
		return 0;
	kpage = stable_find(item->sum, spot->page);
	if (!kpage)
		return 0;
	ret = merge_into(spot, kpage);
	page_put(kpage);
	return ret;
}

/* Both frames are ours to convert only while no fork shares them. */
static int merge_pair(struct ksm_spot *mine, struct ksm_spot *other,
		      uint32_t sum)
{
	int ret;

	if (page_maps(other->page) == 1)
		return merge_two(other, mine, sum);
	if (page_maps(mine->page) == 1)
		return merge_two(mine, other, sum);
	ret = fault_own(other->mm, other->region, other->va);
	if (ret)
		return ret;
	page_put(other->page);
	other->known = false;
	other->page = spot_page(other->mm, other->va, 0);
	return other->page ? merge_two(other, mine, sum) : 0;
}

/* other_item's page, with a reference that is given up here, is as mine. */
static int merge_found(struct ksm_spot *mine, const struct ktree_node *item,
		       struct ktree_node *other_item, struct page *page)
{
	struct ksm_spot other = { .mm = item_mm(other_item),
				  .va = item_va(other_item),
				  .page = page };
	bool two = other.mm != mine->mm;
	int ret = 0;

	other.known = pfn_of(page) == item_pfn(other_item);
	/* Of the same rank as ours: no waiting, there will be other passes. */
	if (!two || rw_read_trylock(&other.mm->lock)) {
		other.region = region_find(other.mm, other.va);
		if (willing(other.region))
			ret = merge_pair(mine, &other, item->sum);
		if (two)
			rw_read_unlock(&other.mm->lock);
	}
	if (other.page)
		page_put(other.page);
	if (ret == 1)
		item_forget(other_item);
	return ret;
}

struct hunt {
	struct ksm_spot *spot;
	const struct ktree_node *item;
	struct page *other; /* equal, with a reference                    */
	bool gone;          /* the item's page is no more                 */
};

static int unstable_compare(struct ktree_node *node, void *arg)
{
	struct hunt *h = arg;
	struct page *other;
	int order;

	h->gone = false;
	if (!have_page(h->spot, h->item))
		return 0;
	other = spot_page(item_mm(node), item_va(node), 0);
	h->gone = !other;
	if (!other)
		return 0;
	order = pages_compare(h->spot->page, other);
	/* A fork's two entries of one frame have nothing to gain (C103). */
	if (order || other == h->spot->page)
		page_put(other);
	else
		h->other = other;
	return order;
}

static int try_unstable(struct ksm_spot *spot, struct ktree_node *item)
{
	struct hunt h = { .spot = spot, .item = item };
	struct ktree_place place;
	struct ktree_node *found;

	while ((found = ktree_find(&ksm.unstable, item->sum, unstable_compare,
				   &h, &place)) &&
	       h.gone)
		item_forget(found);
	if (!found)
		item_insert(item, &place);
	return h.other ? merge_found(spot, item, found, h.other) : 0;
}

/* The page of an item whose checksum is true: 1 merged, 0 not, -ENOMEM. */
static int find_equal(struct ksm_spot *spot, struct ktree_node *item,
		      bool changed)
{
	int ret = 0;

	if (item->sum == ksm.zero_sum)
		ret = try_zero(spot, item);
	if (!ret)
		ret = try_stable(spot, item);
	/* What changes would only decay in the tree. */
	if (!ret && !changed)
		ret = try_unstable(spot, item);
	if (ret == 1)
		item_forget(item);
	return ret;
}

static int turn_page(struct turn *t, unsigned i)
{
	struct ksm_spot spot = { .mm = t->mm,
				 .region = t->region,
				 .va = t->run.va + i * PAGE_SIZE,
				 .known = true };
	struct ktree_node *item = &t->items[i];
	bool changed = false;
	int ret;

	if (t->look[i] == LOOK_SUM) {
		uint32_t sum;

		spot.page = t->page[i];
		sum = ksm_knobs.sum(page_va(spot.page));
		changed = !item->word || item->sum != sum;
		item_set(item, pfn_of(spot.page), sum);
		PROBE(ksm_summed, t->mm, spot.va);
	} else {
		item_see(item);
	}
	ret = find_equal(&spot, item, changed);
	if (spot.page)
		page_put(spot.page);
	return ret;
}

/* ---- where we are ---------------------------------------------------------- */

static void pass_end(void)
{
	for (struct mm *mm = ksm_next_mm(NULL); mm; mm = ksm_next_mm(mm))
		chunks_end_pass(mm);
	ksm.full_scans++;
	spin_lock(&ksm.list_lock);
	ksm.in_pass = false;
	spin_unlock(&ksm.list_lock);
	PROBE(ksm_pass, ksm.full_scans, 0);
}

/* Whose turn it is, or NULL: nobody's, *ended if that ends a pass. */
static struct mm *cursor_mm(bool *ended)
{
	struct mm *mm = NULL;

	spin_lock(&ksm.list_lock);
	if (!ksm.in_pass && !TAILQ_EMPTY(&ksm.mms)) {
		ksm.in_pass = true;
		ksm.cursor = TAILQ_FIRST(&ksm.mms);
		ksm.va = 0;
		ksm.pass ^= ITEM_PASS;
		ksm.unstable.root = NULL;
	}
	if (ksm.in_pass)
		mm = ksm.cursor;
	*ended = ksm.in_pass && !mm;
	spin_unlock(&ksm.list_lock);
	return mm;
}

static void cursor_next(struct mm *mm)
{
	spin_lock(&ksm.list_lock);
	ksm.cursor = TAILQ_NEXT(mm, ksm.link);
	ksm.va = 0;
	spin_unlock(&ksm.list_lock);
}

/* Some pages, at most budget.  False: that was the last of the pass, or there
 * is nobody.  Context: ksm.lock held. */
static bool turn_take(unsigned budget, unsigned *looked, int *ret)
{
	struct turn *t = &turn;
	struct mm *mm;
	bool ended;

	mm = cursor_mm(&ended);
	if (ended)
		pass_end();
	if (!mm)
		return false;
	rw_read_lock(&mm->lock);
	if (!turn_find(t, mm, budget)) {
		rw_read_unlock(&mm->lock);
		cursor_next(mm);
		return true;
	}
	if (!turn_look(t)) {
		*ret = -ENOMEM;
		t->looked = t->run.count;
		memset(t->look, LOOK_SKIP, sizeof(t->look));
	}
	for (unsigned i = 0; i < t->run.count; i++)
		if (t->look[i] != LOOK_SKIP && turn_page(t, i) < 0)
			*ret = -ENOMEM;
	rw_read_unlock(&mm->lock);
	ksm.va = t->run.va + t->run.count * PAGE_SIZE;
	ksm.scanned += t->looked;
	*looked += t->looked;
	return true;
}

int ksm_scan(unsigned n)
{
	unsigned looked = 0;
	bool more = true;
	int ret = 0;

	while (more && looked < n) {
		rw_write_lock(&ksm.lock);
		more = turn_take(n - looked, &looked, &ret);
		rw_write_unlock(&ksm.lock);
	}
	return ret ? ret : (int)looked;
}

int ksm_full_scan(void)
{
	unsigned looked = 0;
	bool more = true;
	int ret = 0;

	while (more) {
		rw_write_lock(&ksm.lock);
		more = turn_take(UINT32_MAX, &looked, &ret);
		rw_write_unlock(&ksm.lock);
	}
	return ret;
}
