/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - flush translations from the TLBs of CPUs
 *
 * Intel SDM vol. 3, "Propagation of Paging-Structure Changes to Multiple
 * Processors".  An entry that lost its page or a right must be flushed; one
 * that gained a right need not be: the CPU walks again before it faults.
 */
#pragma once

#include "arch/types.h"

/* Above this many pages one CR3 load is cheaper than one INVLPG each. */
#define TLB_FLUSH_PAGES 32

/* Flush this CPU's TLB: one page, or all translations that are not global. */
void tlb_flush_page_local(va_t va);
void tlb_flush_all_local(void);

/*
 * Flush [start, end) on every CPU of the mask; all have done so on return.
 * Context: preemption off, interrupts on.
 */
void tlb_shootdown(uint64_t cpus, va_t start, va_t end);

/* Returns the number of shootdowns that sent IPIs since boot. */
uint64_t tlb_shootdown_count(void);
