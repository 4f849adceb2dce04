/* SPDX-License-Identifier: MIT */
/*
 * gather.c - the flush, and what waits for it
 *
 * The two invariants (docs/invariants.md): B2, a page is freed only after every
 * TLB that may hold it has been flushed and the flush has completed.  B39, the
 * mapping is subtracted from page_maps() only after the flush, so that a count of
 * 1 proves that no other mapping can still be used to write.
 */
#include "mm/space/gather.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/anon_vma.h"
#include "mm/rmap/block.h"

void gather_init(struct gather *gather, struct mm *mm)
{
	gather->mm = mm;
	gather->start = ~UINT64_C(0);
	gather->end = 0;
	gather->count = 0;
	gather->tables = NULL;
	gather->blocks = NULL;
}

void gather_span(struct gather *gather, va_t start, va_t end)
{
	require(spin_held(&gather->mm->pt_lock) && start < end);
	if (start < gather->start)
		gather->start = start;
	if (end > gather->end)
		gather->end = end;
}

void gather_table(struct gather *gather, struct page *table)
{
	require(spin_held(&gather->mm->pt_lock));
	assert(!pt_live(table));
	table->mapping.next = gather->tables;
	gather->tables = table;
}

/* Drop the mappings of the gathered blocks, after the flush. */
static void blocks_free(struct gather *gather)
{
	if (likely(!gather->blocks))
		return;
	blocks_map_drop(gather->blocks);
	page_free_list(gather->blocks, PAGE_REF);
	gather->blocks = NULL;
}

/* Free the gathered tables, after the flush. */
static void tables_free(struct gather *gather)
{
	while (gather->tables) {
		struct page *table = gather->tables;

		gather->tables = table->mapping.next;
		table->mapping.next = NULL;
		PROBE(table_free, gather->mm, page_pa(table));
		page_put(table);
	}
}

/* Drop the mappings of the gathered pages, after the flush. */
static void pages_free(struct gather *gather)
{
	struct anon_batch batch = { 0 };
	unsigned n = gather->count;

	gather->count = 0;
	if (n == 1) { /* a batch of one costs more than it saves */
		page_map_drop(gather->pages[0]);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		struct page *page = gather->pages[i];

		if (page_count_add(page, -PAGE_MAP))
			continue;
		if (likely(page_single_anon(page)))
			anon_batch_add(&batch, page);
		else
			page_free(page);
	}
	if (batch.dead)
		anon_batch_free(&batch);
}

void gather_full(struct gather *gather, va_t va)
{
	require(spin_held(&gather->mm->pt_lock));
	PROBE(pte_clear, gather->mm, gather->start);
	PROBE(gather_flush, gather->mm, gather->start);
	tlb_flush_range(gather->mm, gather->start, va);
	pages_free(gather);
	gather->start = va;
}

void gather_flush(struct gather *gather)
{
	require(spin_held(&gather->mm->pt_lock));
	if (gather_pending(gather)) {
		PROBE(gather_flush, gather->mm, gather->start);
		tlb_flush_range(gather->mm, gather->start, gather->end);
	}
	pages_free(gather);
	blocks_free(gather);
	tables_free(gather);
	gather_init(gather, gather->mm);
}
