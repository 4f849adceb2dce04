/* SPDX-License-Identifier: MIT */
/*
 * exclusive.c - take the CPU's entry of a page away for a device
 *
 * The entry is checked and replaced in one hold of pt_lock, inside an invalidation: what
 * the fault before it has made may be gone.  The way back is fault_device_exclusive()
 * (mm/rmap/device_in.h).
 */
#include "mm/hmm/exclusive.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"

/* Return the entry of va, NULL if there is no table; a huge one is split.
 * Context: mm->pt_lock held. */
static uint64_t *small_slot(struct mm *mm, va_t va)
{
	uint64_t *slot = pt_slot(&mm->pt, va, 0, false);

	require(spin_held(&mm->pt_lock));
	if (slot)
		return slot;
	huge_split(mm, va);
	return pt_slot(&mm->pt, va, 0, false);
}

/* Return 0 if the device may have the page of the entry; -EAGAIN: a fault is needed;
 * -EPERM.  A device-exclusive entry may be another device's: the invalidation has told
 * that one. */
static int may_take(uint64_t e)
{
	struct page *page;

	if (entry_device_exclusive(e))
		return 0;
	if (!(e & PTE_P) || !(e & PTE_W))
		return -EAGAIN;
	page = entry_page(e);
	return page_kind(page) != PAGE_ANON || page_pins(page) ? err(EPERM) : 0;
}

/* Replace the entry, which maps page.  Context: mm->pt_lock held. */
static void take(struct mm *mm, va_t va, uint64_t *slot, struct page *page)
{
	uint64_t old = pte_xchg(slot, 0);

	require(spin_held(&mm->pt_lock));
	PROBE(pte_clear, mm, va);
	tlb_flush_range(mm, va, va + PAGE_SIZE);
	page_set_dirty(page); /* the device is about to write */
	pte_write(slot, entry_make_device_exclusive(page, old));
	page_map_to_ref(page);
	mm->mapped--;
	PROBE(pte_set, mm, va);
}

/* Take the entry of va away, if it lets a CPU write a private page, or is the device's
 * already.  Returns 0, and the report in *report; -EAGAIN, -EPERM. */
static int try_take(struct mm *mm, va_t va, void *owner, uint64_t *report)
{
	struct mmu_notifier_range range;
	uint64_t *slot, e;
	int ret;

	rw_read_lock(&mm->lock);
	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, mm, va,
				va + PAGE_SIZE);
	range.owner = owner;
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	slot = small_slot(mm, va);
	e = slot ? pte_read(slot) : 0;
	ret = may_take(e);
	if (!ret) {
		if (e & PTE_P)
			take(mm, va, slot, entry_page(e));
		*report = pfn_of(entry_page(e)) | HMM_PFN_VALID | HMM_PFN_WRITE;
	}
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	return ret;
}

/* Do make_device_exclusive() for one page, without a look at the sequence. */
static int take_page(struct mm *mm, va_t va, void *owner, uint64_t *report)
{
	int ret;

	while ((ret = try_take(mm, va, owner, report)) == -EAGAIN) {
		ret = mm_fault(mm, va, PROT_W);
		if (ret)
			return ret;
	}
	return ret;
}

int make_device_exclusive(struct hmm_range *range, void *owner)
{
	struct mmu_interval_notifier *mni = range->notifier;
	uint64_t *report = range->hmm_pfns;
	int ret = 0;

	require(may_sleep());
	if (!hmm_range_fits(range))
		return err(EINVAL);
	for (va_t va = range->start; va < range->end && !ret; va += PAGE_SIZE) {
		ret = take_page(mni->mm, va, owner, report++);
		/* The page may have been shared, or the region have gone. */
		if (mmu_interval_check_retry(mni, range->notifier_seq))
			return err(EBUSY);
	}
	return ret;
}
