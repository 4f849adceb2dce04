/* SPDX-License-Identifier: MIT */
/*
 * protect.c - change the rights of a range
 *
 * An entry is changed by compare-and-swap, because the CPU may set A and D in it
 * at any moment.  Rights that are lost are flushed before mm_protect() returns.
 * A right that is gained is not flushed on CPUs: a CPU walks again, or takes a
 * fault that finds the entry in order.  W is given back only to exclusive pages;
 * for the others the next write fault copies.  For a table in which no entry has
 * changed there is neither flush nor notification.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/space/mm_priv.h"

/* Set the rights of one entry, with W if write and its page is exclusive.
 * Returns the bits that have changed. */
static inline uint64_t entry_protect(uint64_t *slot, uint64_t e,
				     uint64_t rights, bool write)
{
	uint64_t new;

	do {
		new = (e & ~ENTRY_RIGHTS) | rights;
		if (write && page_exclusive(entry_page(e)))
			new |= ENTRY_W;
	} while (!pte_cmpxchg(slot, &e, new));
	return e ^ new;
}

/* Set the rights of all entries of a run.  Returns the bits that have changed in
 * one of them.  Context: mm->pt_lock held. */
static always_inline uint64_t run_protect(struct mm *mm,
					  const struct pt_run *run,
					  uint64_t rights, bool write)
{
	uint64_t *end = run->slots + run->count, changed = 0;

	require(spin_held(&mm->pt_lock));
	for (uint64_t *slot = run->slots; slot < end; slot++) {
		uint64_t e = pte_read(slot);

		if (entry_mapped(e))
			changed |= entry_protect(slot, e, rights, write);
	}
	return changed;
}

void run_keep_dirty(struct mm *mm, const struct pt_run *run)
{
	require(spin_held(&mm->pt_lock));
	for (unsigned i = 0; i < run->count; i++)
		if (entry_dirty(mm, pte_read(&run->slots[i])))
			pte_or(&run->slots[i], PTE_D);
}

/*
 * Return the bits that mean a lost right if they change.  All entries get the
 * same rights, so a bit that has changed was lost, or gained, in each entry where
 * it has changed: P that they do not have now, W that is not given, NX that they
 * have.
 */
static uint64_t bits_lost(uint64_t rights, bool write)
{
	return (~rights & PTE_P) | (write ? 0 : PTE_W) | (rights & PTE_NX);
}

/* Flush the run if a right was lost in it; notify of rights that were gained.
 * Context: mm->pt_lock held. */
static void run_flush(struct mm *mm, const struct pt_run *run, uint64_t changed,
		      uint64_t lost)
{
	va_t end = run->va + run->count * pt_span(run->level);

	require(spin_held(&mm->pt_lock));
	if (!changed)
		return;
	PROBE(pte_protect, mm, run->va);
	if (changed & lost)
		tlb_flush_range(mm, run->va, end);
	else
		tlb_upgrade_range(mm, run->va, end);
}

/* Set the rights of a region's entries.  Context: r->mm->lock held to write. */
static void protect_region(struct region *r, enum prot prot)
{
	uint64_t rights = entry_rights(prot, false);
	uint64_t lost = bits_lost(rights, prot & PROT_W);
	struct mm *mm = r->mm;
	struct pt_run run;
	va_t va = r->start;

	require(rw_held_write(&mm->lock));
	while (pt_next_run(&mm->pt, &va, r->end, &run)) {
		struct page *held;
		uint64_t changed;

		if (unlikely(run.level)) {
			huge_run_widen(&run, &va, r->end);
			PROBE(huge_found, mm, run.va);
		}
		spin_lock(&mm->pt_lock);
		if (unlikely(!huge_run_valid(mm, &run))) {
			spin_unlock(&mm->pt_lock);
			va = run.va;
			continue;
		}
		held = run.level ? block_held(run.slots, run.count) : NULL;
		if (unlikely(held)) {
			spin_unlock(&mm->pt_lock);
			moving_wait(held); //: protect-waits
			va = run.va;
			continue;
		}
		if (unlikely(mm_has_notifiers(mm)))
			run_keep_dirty(mm, &run);
		changed = prot & PROT_W ? run_protect(mm, &run, rights, true)
					: run_protect(mm, &run, rights, false);
		run_flush(mm, &run, changed, lost);
		spin_unlock(&mm->pt_lock);
	}
}

/* Return true if a region of the range has other rights than these. */
static bool rights_change(struct mm *mm, va_t start, va_t end, enum prot prot)
{
	struct region *r;

	for_each_region (r, mm, start, end)
		if (r->prot != prot)
			return true;
	return false;
}

/* Set the rights of whole regions in [start, end). */
static void protect_regions(struct mm *mm, va_t start, va_t end, enum prot prot)
{
	struct mmu_notifier_range range;
	struct region *r;

	if (!rights_change(mm, start, end, prot))
		return;
	mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_VMA, mm, start,
				end);
	mmu_notifier_invalidate_range_start(&range);
	for_each_region (r, mm, start, end) {
		if (r->prot == prot)
			continue;
		/* A migration reads it under pt_lock, before the entries here
		 * are changed or after that. */
		WRITE_ONCE(r->prot, prot);
		protect_region(r, prot);
	}
	mmu_notifier_invalidate_range_end(&range);
}

int mm_protect(struct mm *mm, va_t start, va_t end, enum prot prot)
{
	int ret;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = region_cut_out(mm, start, end);
	if (!ret) {
		protect_regions(mm, start, end, prot);
		region_join(mm, start, end);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}
