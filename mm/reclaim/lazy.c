/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - give pages up, and drop those that were not written since
 *
 * "Written" is the dirty bit of the entry, and for a device that walks the mm's tables its
 * right to write (entry_dirty(), B33).  So the advice takes W from the entry: the next write
 * of a CPU or a device is a fault, which sets both.  It is asked after the clear and
 * the flush, when no MMU can write any more, and with pt_lock held, so that no thread
 * can pin the page by its entry (H33).
 */
#include "mm/reclaim/lazy.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/track.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"

static _Atomic bool any;

bool lazy_any(void)
{
	return atomic_load_explicit(&any, memory_order_relaxed);
}

/* ---- the advice ------------------------------------------------------------ */

/* Return the page of an entry with a reference, if it may be given up, or NULL.
 * The caller holds the pt_lock of the entry. */
static struct page *owned(uint64_t e)
{
	struct page *page;

	if (!entry_mapped(e))
		return NULL;
	page = entry_page(e);
	if (page_kind(page) != PAGE_ANON || !page_exclusive(page) ||
	    page_pins(page))
		return NULL;
	page_get(page);
	return page;
}

/* Give up the next page of a run, from entry *i on, and move *i behind it.  Returns false
 * at the end of the run.  Context: mm->lock held. */
static bool give_up_next(struct mm *mm, const struct pt_run *run, unsigned *i)
{
	struct page *page = NULL;

	require(rw_held(&mm->lock));
	spin_lock(&mm->pt_lock);
	while (!page && *i < run->count)
		page = owned(pte_read(&run->slots[(*i)++]));
	spin_unlock(&mm->pt_lock);
	if (!page)
		return false;
	page_referenced(page); /* it is old */
	(void)!page_mkclean(page);
	page_set(page, PG_LAZY);
	page_put(page);
	return true;
}

/* Give up the pages of a region.  Context: mm->lock held. */
static void region_give_up(struct region *r, va_t start, va_t end)
{
	struct mm *mm = r->mm;
	struct pt_run run;

	require(rw_held(&mm->lock));
	while (pt_next_run(&mm->pt, &start, end, &run)) {
		unsigned i = 0;

		if (run.level) {
			spin_lock(&mm->pt_lock);
			huge_split(mm, run.va);
			spin_unlock(&mm->pt_lock);
			start = run.va;
			continue;
		}
		while (give_up_next(mm, &run, &i))
			;
	}
}

int mm_free_lazily(struct mm *mm, va_t start, va_t end)
{
	struct region *r;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	any = true;
	rw_read_lock(&mm->lock);
	for_each_region (r, mm, start, end)
		if (!r->object && !(r->flags & (MAP_LOCKED | MAP_HUGETLB)))
			region_give_up(r, start > r->start ? start : r->start,
				       end < r->end ? end : r->end);
	rw_read_unlock(&mm->lock);
	return 0;
}

/* ---- the drop -------------------------------------------------------------- */

/* Clear the entry of a page that was given up; put it back if the page was written, or
 * has another user than it and the reclaiming thread.  Returns whether it is gone.
 * Context: mm->pt_lock held. */
static bool entry_drop(struct page *page, struct mm *mm, va_t va,
		       uint64_t *slot)
{
	uint64_t old;

	require(spin_held(&mm->pt_lock));
	old = pte_xchg(slot, 0);
	PROBE(pte_clear, mm, va);
	tlb_flush_range(mm, va, va + PAGE_SIZE); //: lazy-flush
	if (entry_dirty(mm, old) || page_test(page, PG_DIRTY) ||
	    page_pins(page) || page_count(page) != PAGE_MAP + PAGE_REF) {
		page_clear(page, PG_LAZY);
		pte_write(slot, old);
		PROBE(pte_set, mm, va);
		return false;
	}
	pt_count(&mm->pt, slot, -1);
	mm->mapped--;
	page_map_drop(page);
	track_note(mm, va, va + PAGE_SIZE);
	return true;
}

/* rmap_visit: drop the page where its entry is. */
static bool drop_visit(struct page *page, struct region *region, va_t va,
		       void *dropped)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	uint64_t *slot;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, va,
				va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	slot = rmap_entry(page, region, va);
	if (slot)
		*(bool *)dropped = entry_drop(page, mm, va, slot);
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return !slot;
}

bool page_drop_lazy(struct page *page)
{
	bool dropped = false;

	require(may_sleep() && locks_below(RANK_LINKS));
	if (page_test(page, PG_LAZY) && page_kind(page) == PAGE_ANON &&
	    page_exclusive(page))
		rmap_walk(page, drop_visit, &dropped);
	return dropped;
}
