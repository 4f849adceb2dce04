/* SPDX-License-Identifier: MIT */
/*
 * flush.h - make a changed entry known to every MMU
 *
 *    entry changed        CPUs flushed       secondary MMUs notified
 *   ------+-----------------------+-----------------------+----------> time
 *         |  some MMU may still use the old translation   |
 *
 * tlb_flush_range() is the only way to make a changed entry known.  It notifies
 * the secondary MMUs after the CPUs, so no caller can leave them out.
 *
 * Locks: every function needs mm->pt_lock, which orders the flush after the
 * change and before any other change of the entry.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/panic.h"
#include "mm/notifier/mmu_notifier.h"

/* The part that is not inline.  cpus: the value of mm->cpus.  Context as below. */
void tlb_flush_slow(struct mm *mm, uint64_t cpus, va_t start, va_t end);

/*
 * Make every CPU that has mm loaded, and then every secondary MMU, drop its
 * translations of [start, end).  When it returns, accesses that start later use
 * the entries as they are now.
 * Linux: flush_tlb_mm_range(), with arch_invalidate_secondary_tlbs() inside.
 *
 * Context: mm->pt_lock held, interrupts on; spins until all have answered.
 */
static inline void tlb_flush_range(struct mm *mm, va_t start, va_t end)
{
	uint64_t cpus;

	assert(spin_held(&mm->pt_lock));
	/*
	 * The entry is changed before the load of mm->cpus; a CPU sets its bit
	 * there before it walks the table (mm_load()).  Both sides need the full
	 * barrier: without it each could miss the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	cpus = atomic_load_explicit(&mm->cpus, memory_order_relaxed);
	if (cpus)
		tlb_flush_slow(mm, cpus, start, end);
}

/*
 * Entries of [start, end) allow more than before.  A CPU walks again before it
 * faults (SDM vol. 3, 4.10.4.3); an IOMMU keeps refusing by what it has cached
 * until it is notified.  Context as above.
 */
static inline void tlb_upgrade_range(struct mm *mm, va_t start, va_t end)
{
	assert(spin_held(&mm->pt_lock));
	atomic_thread_fence(memory_order_seq_cst); /* as above */
	if (unlikely(mm_notifies(mm, MM_NOTIFY_RANGE)))
		mmu_notifier_invalidate_range(mm, start, end);
}

/* Shootdowns of CPUs since boot: what the tests count. */
uint64_t tlb_flush_count(void);
