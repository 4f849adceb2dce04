/* SPDX-License-Identifier: MIT */
/*
 * ksm_scan.c - scan pages in batches and compute their checksums
 *
 * The cursor goes through address spaces, regions and pages in order.  A pass ends
 * after the last; the next begins with an empty unstable tree: its pages are not
 * write-protected, so its order degrades as they change.
 *
 * A batch is the entries of one chunk.  All are examined in one hold of pt_lock:
 * those that were written lose D, with one flush for all, so that at the next scan
 * an entry without D says that no CPU has written the page since *before* its
 * checksum was computed.  D says nothing about an mm that has notifiers, for other
 * MMUs write without setting it: its pages get a checksum at every scan.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/core/entry.h"
#include "mm/ksm/ksm_priv.h"
#include "mm/notifier/flush.h"

enum verdict {
	VERDICT_SKIP,      /* cannot be merged, or not in this pass          */
	VERDICT_UNCHANGED, /* not written since its checksum                 */
	VERDICT_CHECKSUM,  /* to be computed; in page[], with a reference    */
};

/* The batch being scanned.  Protected by ksm.lock; too large for a stack. */
static struct batch {
	struct mm *mm;
	struct region *region;
	struct ksm_chunk *chunk; /* NULL: none exists yet                */
	struct ktree_node
		*rmap_items; /* of run.slots[0]                      */
	struct pt_run run;
	unsigned scanned;
	uint8_t verdict[CHUNK_PAGES];
	struct page *page[CHUNK_PAGES];
} batch;

/* ---- choose entries --------------------------------------------------------- */

/* Does pt_next_run() without huge entries, which are not merged. */
static bool small_run(struct mm *mm, va_t va, va_t end, struct pt_run *run)
{
	while (pt_next_run(&mm->pt, &va, end, run))
		if (!run->level)
			return true;
	return false;
}

/* Finds the next entries from the cursor on that lie in one table, region and chunk,
 * at most budget.  Returns false if mm has no more. */
static bool batch_find(struct batch *b, struct mm *mm, unsigned budget)
{
	struct region *r;

	require(rw_held_write(&ksm.lock) && rw_held(&mm->lock) && budget);
	for_each_region (r, mm, ksm.cursor.va, USER_END) {
		va_t va = ksm.cursor.va > r->start ? ksm.cursor.va : r->start;

		if (!mergeable(r) || !small_run(mm, va, r->end, &b->run))
			continue;
		va = ALIGN_DOWN(b->run.va, CHUNK_BYTES) + CHUNK_BYTES;
		if (b->run.count > (va - b->run.va) >> PAGE_SHIFT)
			b->run.count = (va - b->run.va) >> PAGE_SHIFT;
		if (b->run.count > budget)
			b->run.count = budget;
		b->mm = mm;
		b->region = r;
		b->scanned = 0;
		return true;
	}
	return false;
}

static void batch_set_chunk(struct batch *b, struct ksm_chunk *chunk)
{
	b->chunk = chunk;
	if (chunk)
		b->rmap_items = chunk->rmap_items +
				((b->run.va - chunk->node.start) >> PAGE_SHIFT);
}

/* ---- examine entries ------------------------------------------------------- */

/* Examines the entry of a private page.  Sets *flush if the entry lost D and a TLB
 * may still hold it. */
static enum verdict examine_anon(struct batch *b, unsigned i, uint64_t e,
				 bool *flush)
{
	struct ktree_node *rmap_item = &b->rmap_items[i];
	struct page *page = entry_page(e);

	require(spin_held(&b->mm->pt_lock));
	if (page_pins(page)) {
		/* A device may write it and sets no D: leave D set. */
		rmap_item_clear(rmap_item);
		return VERDICT_SKIP;
	}
	if (!mm_has_notifiers(b->mm)) {
		if (!(e & PTE_D) && rmap_item->word &&
		    rmap_item_pfn(rmap_item) == pfn_of(page))
			return VERDICT_UNCHANGED;
		if (e & PTE_D) {
			pte_and(&b->run.slots[i], ~PTE_D);
			page_set_dirty(page);
			*flush |= (e & PTE_W) != 0;
		}
	}
	page_get(page);
	b->page[i] = page;
	return VERDICT_CHECKSUM;
}

static enum verdict examine_entry(struct batch *b, unsigned i, bool *flush)
{
	uint64_t e = pte_read(&b->run.slots[i]);
	enum page_kind kind =
		entry_mapped(e) ? page_kind(entry_page(e)) : PAGE_FREE;

	require(spin_held(&b->mm->pt_lock));
	b->scanned += kind == PAGE_ANON || kind == PAGE_KSM;
	if (!b->chunk)
		return VERDICT_SKIP; /* the page appeared after batch_has_anon() */
	if (kind == PAGE_ANON)
		return examine_anon(b, i, e, flush);
	rmap_item_clear(&b->rmap_items[i]);
	return VERDICT_SKIP;
}

/* Returns whether any entry maps a private page, which makes a chunk worth having. */
static bool batch_has_anon(const struct batch *b)
{
	for (unsigned i = 0; i < b->run.count; i++) {
		uint64_t e = pte_read(&b->run.slots[i]);

		if (entry_mapped(e) && page_kind(entry_page(e)) == PAGE_ANON)
			return true;
	}
	return false;
}

/* Examines all entries of the batch.  Returns false without memory for a chunk. */
static bool batch_examine(struct batch *b)
{
	struct mm *mm = b->mm;
	bool flush = false;

	require(rw_held_write(&ksm.lock) && rw_held(&mm->lock));
	batch_set_chunk(b, chunk_find(mm, b->run.va));
	if (!b->chunk && batch_has_anon(b)) {
		batch_set_chunk(b, chunk_new(mm, b->run.va));
		if (!b->chunk)
			return false;
	}
	PROBE(ksm_batch_start, mm, b->run.va);
	spin_lock(&mm->pt_lock);
	for (unsigned i = 0; i < b->run.count; i++)
		b->verdict[i] = examine_entry(b, i, &flush);
	if (flush)
		tlb_flush_range(mm, b->run.va,
				b->run.va + b->run.count * PAGE_SIZE);
	spin_unlock(&mm->pt_lock);
	PROBE(ksm_batch_end, mm, b->run.va);
	return true;
}

/* Scans one page of the batch, and merges it if an equal one is found.  Returns as
 * cmp_and_merge_page(). */
static int scan_page(struct batch *b, unsigned i)
{
	struct ksm_candidate c = { .mm = b->mm,
				   .region = b->region,
				   .va = b->run.va + i * PAGE_SIZE,
				   .dirty_tracked = true };
	struct ktree_node *rmap_item = &b->rmap_items[i];
	bool changed = false;
	int ret;

	if (b->verdict[i] == VERDICT_CHECKSUM) {
		uint32_t sum;

		c.page = b->page[i];
		sum = ksm_knobs.sum(page_va(c.page));
		changed = !rmap_item->word || rmap_item->sum != sum;
		rmap_item_set(rmap_item, pfn_of(c.page), sum);
		PROBE(ksm_checksummed, b->mm, c.va);
	} else {
		rmap_item_set_seen(rmap_item);
	}
	ret = cmp_and_merge_page(&c, rmap_item, changed);
	if (c.page)
		page_put(c.page);
	return ret;
}

/* ---- the cursor ---------------------------------------------------------- */

/* Ends the pass: clears the rmap_items of pages that it did not meet. */
static void pass_end(void)
{
	require(rw_held_write(&ksm.lock) && ksm.in_pass);
	for (struct mm *mm = ksm_next_mm(NULL); mm; mm = ksm_next_mm(mm))
		chunks_end_pass(mm);
	ksm.full_scans++;
	spin_lock(&ksm.list_lock);
	ksm.in_pass = false;
	spin_unlock(&ksm.list_lock);
	PROBE(ksm_pass, ksm.full_scans, 0);
}

/* Returns the mm to scan next, beginning a pass if none is under way; or NULL.  Sets
 * *ended if all mms of the pass have been scanned.  Linux:
 * scan_get_next_rmap_item(). */
static struct mm *cursor_get(bool *ended)
{
	struct mm *mm = NULL;

	require(rw_held_write(&ksm.lock));
	spin_lock(&ksm.list_lock);
	if (!ksm.in_pass && !TAILQ_EMPTY(&ksm.mms)) {
		ksm.in_pass = true;
		ksm.cursor.mm = TAILQ_FIRST(&ksm.mms);
		ksm.cursor.va = 0;
		ksm.pass ^= RMAP_ITEM_PASS;
		ksm.unstable.root = NULL;
	}
	if (ksm.in_pass)
		mm = ksm.cursor.mm;
	*ended = ksm.in_pass && !mm;
	spin_unlock(&ksm.list_lock);
	return mm;
}

/* Moves the cursor to the mm after this one. */
static void cursor_next_mm(struct mm *mm)
{
	require(rw_held_write(&ksm.lock));
	spin_lock(&ksm.list_lock);
	ksm.cursor.mm = TAILQ_NEXT(mm, ksm.link);
	ksm.cursor.va = 0;
	spin_unlock(&ksm.list_lock);
}

/*
 * Scan one batch of at most budget pages; add their number to *scanned, set *ret to
 * -ENOMEM if memory was missing.  Returns false at the end of a pass, and if no mm
 * is on the list.
 * Context: ksm.lock held to write.
 */
static bool scan_next_batch(unsigned budget, unsigned *scanned, int *ret)
{
	struct batch *b = &batch;
	struct mm *mm;
	bool ended;

	require(rw_held_write(&ksm.lock));
	mm = cursor_get(&ended);
	if (ended)
		pass_end();
	if (!mm)
		return false;
	rw_read_lock(&mm->lock);
	if (!batch_find(b, mm, budget)) {
		rw_read_unlock(&mm->lock);
		cursor_next_mm(mm);
		return true;
	}
	if (!batch_examine(b)) {
		*ret = -ENOMEM;
		b->scanned = b->run.count;
		memset(b->verdict, VERDICT_SKIP, sizeof(b->verdict));
	}
	for (unsigned i = 0; i < b->run.count; i++)
		if (b->verdict[i] != VERDICT_SKIP && scan_page(b, i) < 0)
			*ret = -ENOMEM;
	rw_read_unlock(&mm->lock);
	ksm.cursor.va = b->run.va + b->run.count * PAGE_SIZE;
	ksm.scanned += b->scanned;
	*scanned += b->scanned;
	return true;
}

int ksm_scan(unsigned n)
{
	unsigned scanned = 0;
	bool more = true;
	int ret = 0;

	require(may_sleep() && locks_below(RANK_KSM));
	while (more && scanned < n) {
		rw_write_lock(&ksm.lock);
		more = scan_next_batch(n - scanned, &scanned, &ret);
		rw_write_unlock(&ksm.lock);
	}
	return ret ? ret : (int)scanned;
}

int ksm_full_scan(void)
{
	unsigned scanned = 0;
	bool more = true;
	int ret = 0;

	require(may_sleep() && locks_below(RANK_KSM));
	while (more) {
		rw_write_lock(&ksm.lock);
		more = scan_next_batch(UINT32_MAX, &scanned, &ret);
		rw_write_unlock(&ksm.lock);
	}
	return ret;
}
