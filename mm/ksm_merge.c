/* SPDX-License-Identifier: MIT */
/*
 * ksm_merge.c - make an entry lead to another frame of the same content
 *
 *   start                                                            end
 *   ---+------------------------------------------------------------+--->
 *      | pt_lock  W off, flush | alone? equal? | clear, flush, set  |
 *                   all MMUs   ^ nobody can write from here on
 *
 * Everything between the write-protection and the new entry happens in one hold
 * of pt_lock, so what was compared is what is replaced: no CPU can fault its W
 * back, fork takes mm->lock, which is held, and a pin, which pt_lock keeps out,
 * is a reference too many.  A device that walks this table has been flushed, one
 * with a table of its own is kept out by the window (B45, B47).
 *
 * Who fails gets its rights back as they were.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/ksm_priv.h"

int pages_compare(const struct page *a, const struct page *b)
{
	const uint64_t *p = page_va(a), *q = page_va(b);
	uint64_t n = PAGE_SIZE / 8;
	bool equal;

	__asm__ volatile("repe cmpsq"
			 : "+S"(p), "+D"(q), "+c"(n), "=@ccz"(equal)
			 :
			 : "memory");
	if (equal)
		return 0;
	return p[-1] < q[-1] ? -1 : 1;
}

/* The slot that maps a private page at va, or NULL.  Context: pt_lock held. */
static uint64_t *anon_slot(struct mm *mm, va_t va, struct page **page)
{
	uint64_t *slot = pt_slot(&mm->pt, va, 0, false);
	uint64_t e = slot ? pte_read(slot) : 0;

	if (!entry_mapped(e))
		return NULL;
	*page = entry_page(e);
	return page_kind(*page) == PAGE_ANON ? slot : NULL;
}

struct page *spot_page(struct mm *mm, va_t va, pfn_t pfn)
{
	struct page *page = NULL;

	spin_lock(&mm->pt_lock);
	if (!anon_slot(mm, va, &page) || (pfn && pfn_of(page) != pfn))
		page = NULL;
	if (page)
		page_get(page);
	spin_unlock(&mm->pt_lock);
	return page;
}

static void spot_start(const struct ksm_spot *spot,
		       struct mmu_notifier_range *range)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, spot->mm, spot->va,
				spot->va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(range);
}

/* Whoever had the right to write has it again. */
static void spot_thaw(const struct ksm_spot *spot, uint64_t *slot, uint64_t was)
{
	if (!(was & PTE_W))
		return;
	pte_or(slot, ENTRY_W);
	PROBE(ksm_thawed, spot->mm, spot->va);
	tlb_upgrade_range(spot->mm, spot->va, spot->va + PAGE_SIZE);
}

/* Nobody has a reference on the page but entries, and us. */
static bool page_alone(const struct page *page)
{
	uint64_t count = page_count(page);

	return !page_pins(page) && PAGE_REFS(count) == PAGE_MAPS(count) + 1;
}

/*
 * From its return on the spot's page cannot be written by anybody; the entry's
 * slot and what it was.  NULL, with nothing changed, if the page is another or
 * somebody uses its frame.  Context: pt_lock held until the decision is carried
 * out.
 */
static uint64_t *spot_freeze(const struct ksm_spot *spot, uint64_t *was)
{
	struct mm *mm = spot->mm;
	struct page *page;
	uint64_t *slot = anon_slot(mm, spot->va, &page);

	if (!slot || page != spot->page)
		return NULL;
	*was = pte_read(slot);
	if (*was & PTE_W) {
		pte_and(slot, ~ENTRY_W);
		PROBE(ksm_protect, mm, spot->va);
		tlb_flush_range_notify(mm, spot->va, spot->va + PAGE_SIZE);
		*was = pte_read(slot) | (*was & ENTRY_W); /* D, at last */
	}
	PROBE(ksm_frozen, mm, spot->va);
	/* Asked after the flush: before it, a device might still be at it. */
	if (page_alone(page))
		return slot;
	spot_thaw(spot, slot, *was);
	return NULL;
}

/* The entry for kpage, which counts it. */
static uint64_t entry_merged(const struct ksm_spot *spot, struct page *kpage)
{
	if (kpage == zero_page) {
		ksm_zero_count(1);
		spot->mm->mapped--;
		return page_pa(zero_page) | PTE_D |
		       entry_rights(spot->region->prot, false);
	}
	page_map_add(kpage);
	return entry_make(kpage, spot->region->prot);
}

/*
 * The old entry is read-only and of the same content, so that it does no harm
 * who still uses it: its flush may wait, as long as the frame does (B11).
 */
static void entry_lead_to(const struct ksm_spot *spot, uint64_t *slot,
			  struct page *kpage)
{
	struct mm *mm = spot->mm;
	uint64_t e = entry_merged(spot, kpage) | (pte_read(slot) & PTE_A);

	if (!ksm_knobs.late_flush) {
		pte_xchg(slot, 0);
		PROBE(pte_clear, mm, spot->va);
		tlb_flush_range_notify(mm, spot->va, spot->va + PAGE_SIZE);
	}
	if (unlikely(mm_has_notifiers(mm)))
		mmu_notifier_change_pte(mm, spot->va, e);
	pte_write(slot, e);
	PROBE(pte_set, mm, spot->va);
	if (!ksm_knobs.late_flush)
		page_map_drop(spot->page);
}

/* What entry_lead_to() has left undone; the caller still holds the frame. */
static void flush_late(const struct ksm_spot *spot)
{
	spin_lock(&spot->mm->pt_lock);
	tlb_flush_range(spot->mm, spot->va, spot->va + PAGE_SIZE);
	page_map_drop(spot->page);
	spin_unlock(&spot->mm->pt_lock);
}

int merge_into(const struct ksm_spot *spot, struct page *kpage)
{
	struct mmu_notifier_range range;
	struct mm *mm = spot->mm;
	uint64_t *slot, was;
	bool merged;

	/* In the reverse map before the entry exists. */
	if (kpage != zero_page && link_add(kpage, spot->region, spot->va))
		return err(ENOMEM);
	spot_start(spot, &range);
	spin_lock(&mm->pt_lock);
	slot = spot_freeze(spot, &was);
	merged = slot && !pages_compare(spot->page, kpage);
	PROBE(ksm_compared, mm, spot->va);
	if (merged)
		entry_lead_to(spot, slot, kpage);
	else if (slot)
		spot_thaw(spot, slot, was);
	spin_unlock(&mm->pt_lock);
	PROBE(unptl, mm, spot->va);
	mmu_notifier_invalidate_range_only_end(&range);
	if (merged && ksm_knobs.late_flush)
		flush_late(spot);
	ksm.merged += merged;
	return merged;
}

/* Is sum, computed some time ago, still true of the frozen page? */
static bool sum_holds(const struct ksm_spot *spot, uint64_t was, uint32_t sum)
{
	if (spot->known && !(was & PTE_D) && !mm_has_notifiers(spot->mm))
		return true;
	return ksm_knobs.sum(page_va(spot->page)) == sum;
}

/* The spot's frame becomes a merged one, with one entry. */
static bool spot_convert(const struct ksm_spot *spot, struct ksm_node *node,
			 uint32_t sum)
{
	struct mmu_notifier_range range;
	uint64_t *slot, was;
	bool done = false;

	spot_start(spot, &range);
	spin_lock(&spot->mm->pt_lock);
	slot = spot_freeze(spot, &was);
	if (slot && page_maps(spot->page) == 1 && sum_holds(spot, was, sum)) {
		node_attach(node, spot->page, sum);
		done = true;
	} else if (slot) {
		spot_thaw(spot, slot, was);
	}
	spin_unlock(&spot->mm->pt_lock);
	mmu_notifier_invalidate_range_only_end(&range);
	PROBE(ksm_converted, spot->mm, spot->va);
	return done;
}

/* Nobody came to share it: private again, if it is still ours alone.  The entry
 * stays read-only until somebody writes. */
static void spot_revert(const struct ksm_spot *spot)
{
	struct mm *mm = spot->mm;
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, spot->va, 0, false);
	if (slot && entry_mapped(pte_read(slot)) &&
	    entry_page(pte_read(slot)) == spot->page &&
	    page_count(spot->page) == PAGE_MAP + PAGE_REF)
		node_detach(spot->page);
	spin_unlock(&mm->pt_lock);
}

int merge_two(const struct ksm_spot *stay, const struct ksm_spot *go,
	      uint32_t sum)
{
	struct ksm_node *node = node_new();
	int ret;

	if (!node)
		return err(ENOMEM);
	if (!spot_convert(stay, node, sum)) {
		node_discard(node);
		return 0;
	}
	ret = merge_into(go, stay->page);
	if (ret != 1)
		spot_revert(stay);
	return ret;
}
