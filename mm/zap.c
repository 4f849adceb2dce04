/* SPDX-License-Identifier: MIT */
/*
 * zap.c - unmap, discard and exit: entries go, pages follow after the flush
 */
#include "mm/zap.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/ksm.h"

/* Clear one entry that is no hole. */
static void zap_entry(struct gather *gather, va_t va, uint64_t *slot)
{
	uint64_t e = pte_xchg(slot, 0);
	struct page *page = entry_page(e);

	if (unlikely(entry_parked(e))) {
		page_put(page);
		return;
	}
	if (page == zero_page) {
		if (e & PTE_D)
			ksm_zero_count(-1);
		return;
	}
	gather->mm->mapped--;
	if (entry_dirty(gather->mm, e))
		page_set_dirty(page);
	gather_add(gather, va, page);
}

void zap_entries(struct gather *gather, va_t start, va_t end)
{
	struct mm *mm = gather->mm;
	struct pt_run run;
	va_t va = start;

	assert(rw_held(&mm->lock));
	/* Tables come under pt_lock, and go only with mm->lock to write. */
	while (pt_next_run(&mm->pt, &va, end, &run)) {
		int cleared = 0;

		spin_lock(&mm->pt_lock);
		gather_span(gather, run.va, run.va + run.count * PAGE_SIZE);
		for (unsigned i = 0; i < run.count; i++) {
			if (!READ_ONCE(run.slots[i]))
				continue;
			zap_entry(gather, run.va + i * PAGE_SIZE,
				  &run.slots[i]);
			cleared++;
		}
		pt_count(&mm->pt, run.slots, -cleared);
		if (cleared)
			PROBE(pte_clear, mm, run.va);
		else
			gather_init(gather, mm);
		gather_flush(gather);
		spin_unlock(&mm->pt_lock);
	}
}

static void table_release(struct page *table, void *arg)
{
	struct gather *gather = arg;

	gather_table(gather, table);
}

void zap_range(struct mm *mm, va_t start, va_t end)
{
	struct gather gather;

	assert(rw_held_write(&mm->lock));
	gather_init(&gather, mm);
	zap_entries(&gather, start, end);
	spin_lock(&mm->pt_lock);
	gather_span(&gather, start, end);
	pt_prune(&mm->pt, start, end, table_release, &gather);
	if (gather.tables)
		gather_flush(&gather);
	spin_unlock(&mm->pt_lock);
}
