/* SPDX-License-Identifier: MIT */
/*
 * mkclean.c - make the next write to a page visible: W and D off in every entry
 */
#include "kernel/probe.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"

/* Take W and D from the entry at slot.  Returns whether the page may have been written
 * through it.  Context: mm->pt_lock held. */
static bool entry_clean(struct mm *mm, va_t va, uint64_t *slot)
{
	uint64_t old = pte_read(slot);

	require(spin_held(&mm->pt_lock));
	if (!(old & (ENTRY_W | PTE_D)))
		return false;
	while (!pte_cmpxchg(slot, &old, old & ~(ENTRY_W | PTE_D)))
		; /* the CPU has set A or D */
	PROBE(pte_protect, mm, va);
	tlb_flush_range(mm, va, va + PAGE_SIZE); //: mkclean-flush
	return entry_dirty(mm, old);
}

/* rmap_visit: clean the entry of one region. */
static bool clean_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	bool *dirty = arg;
	uint64_t *slot;

	mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_PAGE, mm, va,
				va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	huge_split(mm, va);
	slot = rmap_entry(page, region, va);
	if (slot && entry_clean(mm, va, slot))
		*dirty = true;
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return true;
}

bool page_mkclean(struct page *page)
{
	bool dirty = false;

	require(may_sleep() && locks_below(RANK_LINKS));
	rmap_walk(page, clean_visit, &dirty);
	dirty |= page_test(page, PG_DIRTY);
	/* Of an object's page the mark also says that its swap slot is old. */
	if (page_kind(page) == PAGE_OBJECT && page_swp(page))
		page_set(page, dirty ? PG_DIRTY : 0);
	else
		page_clear(page, PG_DIRTY);
	return dirty;
}
