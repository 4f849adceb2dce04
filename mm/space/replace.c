/* SPDX-License-Identifier: MIT */
/*
 * replace.c - the steps of a COW break, for a page that the caller chooses
 */
#include "mm/space/replace.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/track.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"
#include "mm/space/mm_priv.h"

/* Return whether `to` may be mapped in the region at va. */
static bool page_fits(const struct page *to, const struct region *region,
		      va_t va)
{
	if (page_kind(to) == PAGE_KERNEL)
		return page_count(to) == PAGE_REF && !page_order(to);
	return page_kind(to) == PAGE_ANON &&
	       to->mapping.anon_vma == region->anon_vma &&
	       to->index == region_pgoff(region, va);
}

/* Count the mapping of `to` and return its entry.  Context: pt_lock held. */
static uint64_t entry_of(struct page *to, struct region *region, va_t va)
{
	require(spin_held(&region->mm->pt_lock));
	if (page_kind(to) == PAGE_KERNEL) {
		page_get(to);
		return page_new_anon(to, region, va);
	}
	page_map_add(to);
	return entry_make(to, region->prot) |
	       (page_test(to, PG_DIRTY) ? PTE_D : 0);
}

/* Clear, flush, set.  Context: mm->lock and pt_lock held. */
static void entry_replace(struct region *region, va_t va, uint64_t *slot,
			  struct page *from, struct page *to)
{
	struct mm *mm = region->mm;
	uint64_t e = entry_of(to, region, va), old;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	old = pte_xchg(slot, 0);
	PROBE(pte_clear, mm, va);
	tlb_flush_range(mm, va, va + PAGE_SIZE); //: replace-flush
	if (entry_dirty(mm, old))
		page_set_dirty(from);
	pte_write(slot, e);
	PROBE(pte_set, mm, va);
	page_map_drop(from);
}

/* Do mm_replace_page() in a region.  Context: mm->lock held. */
static int replace_in(struct region *region, va_t va, struct page *from,
		      struct page *to)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	uint64_t *slot;

	require(rw_held(&mm->lock));
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, va,
				va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	huge_split(mm, va);
	slot = rmap_entry(from, region, va);
	if (slot && page_pins(from))
		slot = NULL;
	if (slot) {
		entry_replace(region, va, slot, from, to);
		track_note(mm, va, va + PAGE_SIZE);
	}
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return slot ? 0 : err(EBUSY);
}

int mm_replace_page(struct mm *mm, va_t va, struct page *from, struct page *to)
{
	struct region *region;
	int ret = -EINVAL;

	require(may_sleep());
	va &= PAGE_MASK;
	rw_read_lock(&mm->lock);
	region = region_find(mm, va);
	if (region && !region->object && region->anon_vma &&
	    !(region->flags & MAP_HUGETLB) && page_fits(to, region, va))
		ret = replace_in(region, va, from, to);
	rw_read_unlock(&mm->lock);
	return ret == -EINVAL ? err(EINVAL) : ret;
}
