/* SPDX-License-Identifier: MIT */
/*
 * gather.c - the flush, and what waits for it
 *
 * B2: a page goes to the free list only after every TLB that may hold it has
 * been flushed and the completion was seen.  B39: the mapping leaves
 * page_maps() only after the flush too, so that a count of 1 proves that no
 * one else can still write.
 */
#include "mm/gather.h"
#include "arch/cpu.h"
#include "arch/tlb.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/pmm.h"

/* Statistics only: relaxed, and exact at quiet points. */
static _Atomic uint64_t flushes;

uint64_t tlb_flush_count(void)
{
	return atomic_load_explicit(&flushes, memory_order_relaxed);
}

void tlb_flush_slow(struct mm *mm, uint64_t who, va_t start, va_t end,
		    bool site)
{
	uint64_t cpus = who & ~MM_NOTIFIED;

	if (cpus) {
		PROBE(tlb_flush, mm, start);
		atomic_fetch_add_explicit(&flushes, 1, memory_order_relaxed);
		tlb_shootdown(cpus, start, end);
	}
	if (who & MM_NOTIFIED) //: flush-tells-everybody
		mmu_notifier_invalidate_range(mm, start, end, site);
}

void gather_init(struct gather *gather, struct mm *mm)
{
	gather->mm = mm;
	gather->start = ~UINT64_C(0);
	gather->end = 0;
	gather->count = 0;
	gather->tables = NULL;
}

void gather_span(struct gather *gather, va_t start, va_t end)
{
	if (start < gather->start)
		gather->start = start;
	if (end > gather->end)
		gather->end = end;
}

void gather_table(struct gather *gather, struct page *table)
{
	table->mapping = (uintptr_t)gather->tables;
	gather->tables = table;
}

static void tables_free(struct gather *gather)
{
	while (gather->tables) {
		struct page *table = gather->tables;

		gather->tables = (struct page *)table->mapping;
		table->mapping = 0;
		PROBE(table_free, gather->mm, page_pa(table));
		page_put(table);
	}
}

static void pages_free(struct gather *gather)
{
	for (unsigned i = 0; i < gather->count; i++) {
		struct page *page = gather->pages[i];

		if (!page_count_add(page, -PAGE_MAP))
			page_free(page);
	}
	gather->count = 0;
}

void gather_full(struct gather *gather, va_t va)
{
	tlb_flush_range_notify(gather->mm, gather->start, va);
	pages_free(gather);
	gather->start = va;
}

void gather_flush(struct gather *gather)
{
	if (gather->end == 0)
		return;
	if (gather->start < gather->end)
		tlb_flush_range_notify(gather->mm, gather->start, gather->end);
	pages_free(gather);
	tables_free(gather);
	gather_init(gather, gather->mm);
}
