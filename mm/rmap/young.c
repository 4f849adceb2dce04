/* SPDX-License-Identifier: MIT */
/*
 * young.c - find out whether a page was used, by a CPU or by a secondary MMU
 *
 * The accessed bit of an entry is set by the CPU only.  A device with a table of
 * its own never sets it, and its pages would look idle.  So the notifiers of the
 * mm are called too, and one use is enough (docs/invariants.md, B36).
 */
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/rmap.h"

struct aging {
	unsigned used;
	bool flush; /* the next use must be seen */
};

/* Clear the accessed bit of the entry, and flush if asked.  Returns true if it was
 * set.  The CPU may set A and D at any moment: one locked AND.
 * Context: mm->pt_lock held. */
static bool clear_young_cpu(struct mm *mm, const struct rmap_leaf *leaf,
			    bool flush)
{
	require(spin_held(&mm->pt_lock));
	if (!(pte_read(leaf->slot) & PTE_A))
		return false;
	pte_and(leaf->slot, ~PTE_A);
	PROBE(pte_young, mm, leaf->start);
	if (flush)
		tlb_flush_range(mm, leaf->start, leaf->end);
	return true;
}

/* Clear the accessed bits of the secondary MMUs.  Returns true if one was set.
 * Context: mm->pt_lock held. */
static bool clear_young_secondary(struct mm *mm, const struct rmap_leaf *leaf,
				  bool flush)
{
	va_t start = leaf->start, end = leaf->end;

	require(spin_held(&mm->pt_lock));
	if (likely(!mm_has_notifiers(mm)))
		return false;
	return flush ? mmu_notifier_clear_flush_young(mm, start, end)
		     : mmu_notifier_clear_young(mm, start, end);
}

/* Count and clear the use of one mapping: an rmap_visit. */
static bool aging_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct mm *mm = region->mm;
	struct aging *aging = arg;
	struct rmap_leaf leaf;

	spin_lock(&mm->pt_lock);
	leaf = rmap_leaf(page, region, va);
	if (leaf.slot) {
		bool used = clear_young_cpu(mm, &leaf, aging->flush);

		/* Each bit is cleared, even if the first one was set. */
		used |= clear_young_secondary(mm, &leaf, aging->flush);
		aging->used += used;
	}
	spin_unlock(&mm->pt_lock);
	return true;
}

unsigned page_referenced(struct page *page)
{
	struct aging aging = { 0, true };

	require(may_sleep() && locks_below(RANK_LINKS));
	rmap_walk(page, aging_visit, &aging);
	return aging.used;
}

unsigned page_mark_idle(struct page *page)
{
	struct aging aging = { 0, false };

	require(may_sleep() && locks_below(RANK_LINKS));
	rmap_walk(page, aging_visit, &aging);
	return aging.used;
}

/* Return true if a secondary MMU has used a page of the leaf.
 * Context: mm->pt_lock held. */
static bool young_secondary(struct mm *mm, const struct rmap_leaf *leaf)
{
	bool young = false;

	require(spin_held(&mm->pt_lock));
	if (likely(!mm_has_notifiers(mm)))
		return false;
	for (va_t va = leaf->start; !young && va < leaf->end; va += PAGE_SIZE)
		young = mmu_notifier_test_young(mm, va);
	return young;
}

/* Test the use of one mapping: an rmap_visit. */
static bool young_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct mm *mm = region->mm;
	struct rmap_leaf leaf;
	bool *young = arg;

	spin_lock(&mm->pt_lock);
	leaf = rmap_leaf(page, region, va);
	if (leaf.slot)
		*young = (pte_read(leaf.slot) & PTE_A) ||
			 young_secondary(mm, &leaf);
	spin_unlock(&mm->pt_lock);
	return !*young;
}

bool page_young(struct page *page)
{
	bool young = false;

	require(may_sleep() && locks_below(RANK_LINKS));
	rmap_walk(page, young_visit, &young);
	return young;
}
