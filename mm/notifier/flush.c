/* SPDX-License-Identifier: MIT */
/*
 * flush.c - the part of a flush that is not inline: shootdown, then notifiers
 */
#include "mm/notifier/flush.h"
#include "arch/tlb.h"
#include "kernel/probe.h"

/* Statistics only: relaxed, and exact at quiet points. */
static _Atomic uint64_t flushes;

uint64_t tlb_flush_count(void)
{
	return atomic_load_explicit(&flushes, memory_order_relaxed);
}

void tlb_flush_slow(struct mm *mm, uint64_t cpus, va_t start, va_t end)
{
	uint64_t loaded = cpus & MM_CPUS;

	if (loaded) {
		PROBE(tlb_flush, mm, start);
		atomic_fetch_add_explicit(&flushes, 1, memory_order_relaxed);
		tlb_shootdown(loaded, start, end);
	}
	if (cpus & MM_NOTIFY_RANGE) //: flush-tells-everybody
		mmu_notifier_invalidate_range(mm, start, end);
}
