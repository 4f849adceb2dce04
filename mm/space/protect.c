/* SPDX-License-Identifier: MIT */
/*
 * protect.c - change the rights of a range; take W until a write is noted
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
#include "mm/core/track.h"
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
static always_inline void run_flush(struct mm *mm, const struct pt_run *run,
				    uint64_t changed, uint64_t lost)
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
static always_inline void protect_region(struct region *r, enum prot prot)
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

/* Set the rights of a tracked region: its entries lose W until a write is noted.
 * Context: r->mm->lock held to write. */
static noinline void protect_tracked(struct region *r, enum prot rights)
{
	enum prot prot = track_prot(r, rights);

	require(rw_held_write(&r->mm->lock));
	WRITE_ONCE(r->prot, prot);
	protect_region(r, prot);
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
		if (unlikely(r->flags & REGION_TRACKED)) {
			protect_tracked(r, prot);
			continue;
		}
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

/* ---- tracked ranges (mm/core/track.h) --------------------------------------- */

/* Take W from every entry of whole regions in [start, end) until a write is noted.
 * Context: mm->lock held to write. */
static void withhold_w(struct mm *mm, va_t start, va_t end)
{
	struct mmu_notifier_range range;
	struct region *r;

	require(rw_held_write(&mm->lock));
	mmu_notifier_range_init(&range, MMU_NOTIFY_SOFT_DIRTY, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	for_each_region (r, mm, start, end) {
		WRITE_ONCE(r->flags, r->flags | REGION_TRACKED);
		protect_tracked(r, region_rights(r));
	}
	mmu_notifier_invalidate_range_end(&range);
	PROBE(track_withheld, mm, start);
}

/* Return whether the page at va may be written although no entry has W: by its frame, or
 * by the device that has it.  Context: mm->pt_lock held. */
static bool written_unseen(struct mm *mm, va_t va)
{
	unsigned level;
	uint64_t e = pte_read(pt_lookup(&mm->pt, va, 0, &level));

	require(spin_held(&mm->pt_lock));
	if (!e || entry_swapped(e))
		return false;
	return entry_device(e) || entry_device_exclusive(e) ||
	       page_pins(entry_page(e));
}

/* Report the noted pages and forget them, but those that may be written unseen.
 * written: NULL if there is no report.
 * Context: mm->lock held to write; no entry has W. */
static void take_bits(struct mm *mm, struct track *t, va_t start, va_t end,
		      uint64_t *written)
{
	require(rw_held_write(&mm->lock));
	for (va_t va = start; va < end; va += PAGE_SIZE) {
		uint64_t i = (va - start) >> PAGE_SHIFT;
		bool noted = track_noted(t, va);

		if (written && i % 64 == 0)
			written[i / 64] = 0;
		if (!noted)
			continue;
		if (written)
			written[i / 64] |= BIT(i % 64);
		spin_lock(&mm->pt_lock);
		if (!written_unseen(mm, va))
			track_clear(mm, t, va);
		spin_unlock(&mm->pt_lock);
	}
}

/* Do mm_take_written() for a range of t.  Context: mm->lock held to write.
 * Returns 0, or -ENOMEM with nothing changed. */
static int take_written(struct mm *mm, struct track *t, va_t start, va_t end,
			uint64_t *written)
{
	int ret = region_cut(mm, start, end);

	require(rw_held_write(&mm->lock));
	if (ret)
		return ret;
	withhold_w(mm, start, end);
	take_bits(mm, t, start, end, written);
	region_join(mm, start, end);
	return 0;
}

int mm_track_writes(struct mm *mm, va_t start, va_t end)
{
	struct track *t;
	int ret = -EEXIST;

	require(may_sleep());
	if (!range_valid(start, end) ||
	    (end - start) >> PAGE_SHIFT > TRACK_PAGES)
		return err(EINVAL);
	t = track_new(start, end);
	if (!t)
		return err(ENOMEM);
	rw_write_lock(&mm->lock);
	if (!track_find(mm, start, end)) {
		track_insert(mm, t);
		ret = take_written(mm, t, start, end, NULL);
		if (ret)
			track_remove(mm, t);
	}
	rw_write_unlock(&mm->lock);
	if (ret)
		track_free(t);
	return ret == -EEXIST ? err(EEXIST) : ret;
}

int mm_take_written(struct mm *mm, va_t start, va_t end, uint64_t *written)
{
	struct track *t;
	int ret = -ENOENT;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	t = track_find(mm, start, end);
	if (t && t->start <= start && end <= t->end)
		ret = take_written(mm, t, start, end, written);
	rw_write_unlock(&mm->lock);
	return ret == -ENOENT ? err(ENOENT) : ret;
}

int mm_untrack_writes(struct mm *mm, va_t start, va_t end)
{
	struct region *r;
	struct track *t;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	t = track_find(mm, start, end);
	if (t && (t->start != start || t->end != end))
		t = NULL;
	if (t) {
		track_remove(mm, t);
		for_each_region (r, mm, start, end)
			region_untrack(r);
		region_join(mm, start, end);
	}
	rw_write_unlock(&mm->lock);
	if (t)
		track_free(t);
	return t ? 0 : err(ENOENT);
}
