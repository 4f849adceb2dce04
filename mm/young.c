/* SPDX-License-Identifier: MIT */
/*
 * young.c - was a page used, by a CPU or by anybody else who translates?
 *
 * The CPU's accessed bit tells of the CPU only.  A device that works through a
 * table of its own never sets it, so that its pages would look idle: whoever
 * listens to the mm is asked too, and one yes is enough (B36).
 */
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/rmap.h"

struct aging {
	unsigned used;
	bool flush; /* the next use must be seen */
};

/* Forget the CPU's uses of the entry; were there any?  The CPU sets A and D
 * behind our back: one locked AND. */
static bool forget_cpu(struct mm *mm, va_t va, uint64_t *slot, bool flush)
{
	if (!(pte_read(slot) & PTE_A))
		return false;
	pte_and(slot, ~PTE_A);
	PROBE(pte_young, mm, va);
	if (flush)
		tlb_flush_range(mm, va, va + PAGE_SIZE);
	return true;
}

static bool forget_others(struct mm *mm, va_t va, bool flush)
{
	if (likely(!mm_has_notifiers(mm)))
		return false;
	return flush ? mmu_notifier_clear_flush_young(mm, va, va + PAGE_SIZE)
		     : mmu_notifier_clear_young(mm, va, va + PAGE_SIZE);
}

static bool aging_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct mm *mm = region->mm;
	struct aging *aging = arg;
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = rmap_entry(page, region, va);
	if (slot) {
		bool used = forget_cpu(mm, va, slot, aging->flush);

		/* All are asked, and forget, whatever the first one said. */
		used |= forget_others(mm, va, aging->flush);
		aging->used += used;
	}
	spin_unlock(&mm->pt_lock);
	return true;
}

unsigned page_referenced(struct page *page)
{
	struct aging aging = { 0, true };

	rmap_walk(page, aging_visit, &aging);
	return aging.used;
}

unsigned page_mark_idle(struct page *page)
{
	struct aging aging = { 0, false };

	rmap_walk(page, aging_visit, &aging);
	return aging.used;
}

static bool young_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct mm *mm = region->mm;
	bool *young = arg;
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = rmap_entry(page, region, va);
	if (slot)
		*young = (pte_read(slot) & PTE_A) ||
			 (mm_has_notifiers(mm) &&
			  mmu_notifier_test_young(mm, va));
	spin_unlock(&mm->pt_lock);
	return !*young;
}

bool page_young(struct page *page)
{
	bool young = false;

	rmap_walk(page, young_visit, &young);
	return young;
}
