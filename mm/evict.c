/* SPDX-License-Identifier: MIT */
/*
 * evict.c - take a page from everybody who maps it: try_to_unmap()
 *
 * At each mapping the order is the same: clear the entry, flush everybody who
 * may have cached it, set what takes its place, and only then let the page's
 * counts show it (invariants B9, B39).
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/rmap.h"

/* What comes where page was: parked, or nothing if its object keeps it. */
static uint64_t entry_without(struct page *page)
{
	return page_kind(page) == PAGE_OBJECT ? 0 : entry_park(page);
}

/* The entry at slot maps page: take it away.  Context: pt_lock held. */
static void entry_evict(struct page *page, struct mm *mm, va_t va,
			uint64_t *slot)
{
	uint64_t next = entry_without(page), old;

	old = pte_xchg(slot, 0);
	PROBE(pte_clear, mm, va);
	tlb_flush_range_notify(mm, va, va + PAGE_SIZE);
	if (entry_dirty(mm, old))
		page_set_dirty(page);
	if (next)
		pte_write(slot, next);
	else
		pt_count(&mm->pt, slot, -1);
	mm->mapped--;
	PROBE(pte_set, mm, va);

	/* A parked entry keeps the mapping's reference, and nothing else. */
	if (next)
		page_map_to_ref(page);
	else
		page_map_drop(page);
}

static bool unmap_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	int *ret = arg;
	uint64_t *slot;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, va,
				va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	slot = rmap_entry(page, region, va);
	if (slot && ((region->flags & MAP_LOCKED) || page_pins(page)))
		*ret = err(EBUSY);
	else if (slot)
		entry_evict(page, mm, va, slot);
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_only_end(&range);
	return *ret == 0 && page_maps(page) > 0;
}

int try_to_unmap(struct page *page)
{
	int ret = 0;

	rmap_walk(page, unmap_visit, &ret);
	/* A fork may have made a mapping behind the walk's back. */
	if (ret == 0 && page_maps(page) > 0)
		return err(EBUSY);
	return ret;
}
