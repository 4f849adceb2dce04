/* SPDX-License-Identifier: MIT */
/*
 * gather.h - unmap, flush, and only then free
 *
 *    entry cleared      entry cleared         one flush        freed
 *   ------+-----------------+--- ... ------------+---------------+----> time
 *         |  the page is still allocated: a stale translation    |
 *         |  may read or write it without harm                   |
 *
 * A gather collects the pages (and page-table pages) that cleared entries named,
 * and the span of these entries.  When it is full or finished it flushes the span
 * once and then frees the pages: one shootdown for GATHER_PAGES pages, and one
 * more where a walk has passed ZAP_TABLES tables with fewer.
 *
 * What takes a single entry (a copy, a merge, an eviction) flushes it
 * (mm/notifier/flush.h) and then drops the page.
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/frame/page.h"

#define GATHER_PAGES 64
#define ZAP_TABLES   64 /* passed under pt_lock, at most, with pages gathered */

struct gather {
	struct mm *mm;
	va_t start, end; /* span of cleared entries; empty if end == 0 */
	unsigned count;  /* used slots of pages[]                    */
	struct page *pages[GATHER_PAGES];
	struct page *tables; /* unlinked table pages, linked by mapping  */
	struct page *blocks; /* of huge entries: the deposit's tables, linked
			      * by mapping; index: the block's frame number */
};

/*
 * Begin a gather on the stack.  In the checking build the end of its scope panics
 * if something is gathered that gather_flush() has not freed.
 */
#define GATHER(name, mm)                                          \
	struct gather name __attribute__((cleanup(gather_done))); \
	gather_init(&(name), mm)

/* Initialise an empty gather.  Any context. */
void gather_init(struct gather *gather, struct mm *mm);

/*
 * Flush the span up to va and free the gathered pages; the rest of the span stays
 * to be flushed.  Context: mm->pt_lock held.
 */
void gather_full(struct gather *gather, va_t va);

/*
 * Gather page after its entry at va, inside the span, was cleared.  The mapping
 * is dropped after the flush.  Flushes when full.  Context: mm->pt_lock held.
 */
static inline void gather_add(struct gather *gather, va_t va, struct page *page)
{
	require(spin_held(&gather->mm->pt_lock));
	gather->pages[gather->count++] = page;
	if (gather->count == GATHER_PAGES)
		gather_full(gather, va + PAGE_SIZE);
}

/* Extend the span by [start, end), in bytes, after its entries have changed.
 * Context: mm->pt_lock held. */
void gather_span(struct gather *gather, va_t start, va_t end);

/* Gather a table that was unlinked inside the span.  Context: mm->pt_lock held. */
void gather_table(struct gather *gather, struct page *table);

/*
 * Gather the block that a huge entry mapped, after the entry, inside the span, was
 * cleared, and the table that the mm kept for it.  Context: mm->pt_lock held.
 */
static inline void gather_block(struct gather *gather, struct page *head,
				struct page *table)
{
	require(spin_held(&gather->mm->pt_lock));
	table->index = pfn_of(head);
	table->mapping.next = gather->blocks;
	gather->blocks = table;
}

/* Flush the span, free what was gathered, and begin anew.
 * Context: mm->pt_lock held. */
void gather_flush(struct gather *gather);

/* Return true if gather_flush() has something to flush. */
static inline bool gather_pending(const struct gather *gather)
{
	return gather->start < gather->end;
}

/* Check that nothing is left in a gather at the end of its scope: see GATHER(). */
static inline void gather_done(struct gather *gather)
{
	require(!gather_pending(gather) && !gather->count && !gather->tables &&
		!gather->blocks);
}
