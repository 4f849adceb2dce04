/* SPDX-License-Identifier: MIT */
/*
 * zap.c - clear entries for unmap, discard and exit; free pages after the flush
 */
#include "mm/space/zap.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/rmap/huge.h"
#include "mm/space/gather.h"
#include "mm/swap/swap.h"

/* Handle an entry that was cleared, of the zero page or not mapped: gather what it
 * keeps.  Context: pt_lock held. */
static noinline void zap_special(struct gather *gather, va_t va, uint64_t e)
{
	require(spin_held(&gather->mm->pt_lock));
	if (entry_swapped(e)) {
		swap_drop(entry_swp(e));
		return;
	}
	if (entry_mapped(e)) {
		if (e & PTE_D)
			zero_merged_add(-1);
		return;
	}
	/* Handle an evicted one as if it were mapped: freed after the flush. */
	page_ref_to_map(entry_page(e));
	gather_add(gather, va, entry_page(e));
}

/* Clear huge entries and gather their blocks.  Context: pt_lock held. */
static noinline void zap_huge(struct gather *gather, const struct pt_run *run)
{
	uint64_t *slot = run->slots, *end = slot + run->count;
	struct mm *mm = gather->mm;

	require(spin_held(&mm->pt_lock));
	gather_span(gather, run->va, run->va + run->count * BLOCK_SIZE);
	mm->mapped -= huge_counted(mm, slot, run->count);
	for (; slot < end; slot++) {
		uint64_t e = pte_xchg(slot, 0);

		assert(entry_huge(e));
		if (entry_dirty(mm, e))
			block_set_dirty(entry_page(e));
		gather_block(gather, entry_page(e), huge_withdraw(mm));
	}
	pt_count(&mm->pt, run->slots, -(int64_t)run->count);
	PROBE(pte_clear, mm, run->va);
}

/* Clear the entries of one leaf table.  Context: pt_lock held. */
static void zap_run(struct gather *gather, const struct pt_run *run)
{
	unsigned i = pt_next_live(run->slots, 0, run->count);
	uint64_t *slot = run->slots + i, *end = run->slots + run->count;
	va_t start = run->va + i * PAGE_SIZE, va = start;
	unsigned cleared, holes = 0, special = 0;
	struct mm *mm = gather->mm;

	require(spin_held(&mm->pt_lock));
	assert(run->level == 0);
	if (slot == end)
		return;
	while (!READ_ONCE(end[-1]))
		end--;
	cleared = (unsigned)(end - slot);
	gather_span(gather, start, start + cleared * PAGE_SIZE);
	for (; slot < end; slot++, va += PAGE_SIZE) {
		struct page *page;
		uint64_t e;

		if (!READ_ONCE(*slot)) {
			holes++;
			continue;
		}
		e = pte_xchg(slot, 0);
		if (unlikely(!entry_mapped(e)) ||
		    unlikely((page = entry_page(e)) == zero_page)) {
			special++;
			zap_special(gather, va, e);
			continue;
		}
		if (entry_dirty(mm, e))
			page_set_dirty(page);
		gather_add(gather, va, page);
	}
	cleared -= holes;
	mm->mapped -= cleared - special;
	pt_count(&mm->pt, run->slots, -(int64_t)cleared);
	if (gather_pending(gather)) /* else all were flushed when it was full */
		PROBE(pte_clear, mm, start);
}

void zap_entries(struct gather *gather, va_t start, va_t end)
{
	struct mm *mm = gather->mm;
	unsigned passed = 0;
	struct pt_run run;
	va_t va = start;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	/* Tables are added under pt_lock, and removed only with mm->lock held
	 * to write. */
	while (pt_next_run(&mm->pt, &va, end, &run)) {
		if (likely(!run.level)) {
			zap_run(gather, &run);
		} else if (run.va >= start && run.va + BLOCK_SIZE <= end) {
			huge_run_widen(&run, &va, end);
			zap_huge(gather, &run);
		} else {
			huge_split(mm, run.va);
			va = run.va < start ? start : run.va;
			continue;
		}
		if (++passed % ZAP_TABLES == 0)
			gather_flush(gather);
		if (gather_pending(gather))
			continue;
		/* A thread that waits for the lock should not wait for the
		 * whole range. */
		spin_unlock(&mm->pt_lock);
		spin_lock(&mm->pt_lock);
	}
}

/* Gather an unlinked table: a pt_release_fn. */
static void table_release(struct page *table, void *arg)
{
	struct gather *gather = arg;

	gather_table(gather, table);
}

void zap_range(struct mm *mm, va_t start, va_t end)
{
	require(rw_held_write(&mm->lock));
	GATHER(gather, mm);
	spin_lock(&mm->pt_lock);
	zap_entries(&gather, start, end);
	pt_prune(&mm->pt, start, end, table_release, &gather);
	if (gather.tables)
		gather_span(&gather, start, end);
	gather_flush(&gather);
	spin_unlock(&mm->pt_lock);
}
