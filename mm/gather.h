/* SPDX-License-Identifier: MIT */
/*
 * gather.h - unmap, flush, and only then free
 *
 *    entry cleared      entry cleared         one flush        freed
 *   ------+-----------------+--- ... ------------+---------------+----> time
 *         |  the page is still allocated: a stale translation    |
 *         |  may read or write it, and harms nobody              |
 *
 * A gather collects the pages (and page-table pages) whose entries are gone.
 * When it is full or finished it flushes the whole span once and then lets the
 * pages go: at most one shootdown for GATHER_PAGES pages.
 *
 * Who takes a single entry (a copy, a merge, an eviction) flushes it himself and
 * then drops the page.  tlb_flush_range() is the only way to make a changed
 * entry known: whoever else caches translations is told inside it, so that no
 * caller can forget them.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/panic.h"
#include "mm/mmu_notifier.h"

#define GATHER_PAGES 64

struct gather {
	struct mm *mm;
	va_t start, end; /* span of cleared entries; empty if end == 0 */
	unsigned count;  /* used slots of pages[]                    */
	struct page *pages[GATHER_PAGES];
	struct page *tables; /* unhooked table pages, linked by mapping  */
};

/* The longer half: who is mm->cpus, site as below. */
void tlb_flush_slow(struct mm *mm, uint64_t who, va_t start, va_t end,
		    bool site);

static inline void tlb_flush_at(struct mm *mm, va_t start, va_t end, bool site)
{
	uint64_t who;

	assert(spin_held(&mm->pt_lock));
	/*
	 * The entry is changed before we look who has the table loaded; a CPU
	 * says that it has before it walks the table (mm_load()).  Both sides
	 * need the full barrier: without it each could miss the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	who = atomic_load_explicit(&mm->cpus, memory_order_relaxed);
	if (who)
		tlb_flush_slow(mm, who, start, end, site);
}

/*
 * Make every CPU that has mm loaded, and then every other MMU that listens,
 * forget its translations of [start, end).  When it returns, accesses that
 * start later use the entries as they are now.
 * Linux: flush_tlb_mm_range(), with arch_invalidate_secondary_tlbs() inside.
 *
 * Context: mm->pt_lock held, interrupts on; spins until all have answered.
 */
static inline void tlb_flush_range(struct mm *mm, va_t start, va_t end)
{
	tlb_flush_at(mm, start, end, false);
}

/* The same, at one of the sites where the series of 2014 called
 * invalidate_range(): those who listen as then hear it only here. */
static inline void tlb_flush_range_notify(struct mm *mm, va_t start, va_t end)
{
	tlb_flush_at(mm, start, end, true);
}

/*
 * Entries of [start, end) allow more than before.  A CPU walks again before it
 * faults (SDM vol. 3, 4.10.4.3); an IOMMU keeps refusing by what it has cached
 * until it is told.  Context as above.
 */
static inline void tlb_upgrade_range(struct mm *mm, va_t start, va_t end)
{
	assert(spin_held(&mm->pt_lock));
	atomic_thread_fence(memory_order_seq_cst); /* as above */
	if (unlikely(mm_has_notifiers(mm)))
		mmu_notifier_invalidate_range(mm, start, end, false);
}

/* Begin with nothing gathered. */
void gather_init(struct gather *gather, struct mm *mm);

/*
 * Flush what has been gathered up to va, and free it; the rest of the span
 * stays to be flushed.
 */
void gather_full(struct gather *gather, va_t va);

/*
 * The entry at va, inside the span, which mapped page, has been cleared.
 * Flushes when full.  Context: mm->pt_lock held.
 */
static inline void gather_add(struct gather *gather, va_t va, struct page *page)
{
	gather->pages[gather->count++] = page;
	if (gather->count == GATHER_PAGES)
		gather_full(gather, va + PAGE_SIZE);
}

/* Translations of [start, end) have changed: the flush must cover them. */
void gather_span(struct gather *gather, va_t start, va_t end);

/* The table page was unhooked inside a gather_span().  Context as above. */
void gather_table(struct gather *gather, struct page *table);

/* Flush and free what was gathered.  Context: mm->pt_lock held. */
void gather_flush(struct gather *gather);

/* Shootdowns and pages flushed since boot: what the tests and bench count. */
uint64_t tlb_flush_count(void);
