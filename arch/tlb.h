/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - make CPUs forget translations
 *
 * Intel SDM vol. 3, "Propagation of Paging-Structure Changes to Multiple
 * Processors".  An entry that lost its page or a right must be flushed; one
 * that gained a right need not be: the CPU walks again before it faults.
 */
#pragma once

#include "arch/types.h"

/* Above this many pages one CR3 load is cheaper than one INVLPG each. */
#define TLB_FLUSH_PAGES 32

/* On this CPU: one page, or all that is not global. */
void tlb_flush_page_local(va_t va);
void tlb_flush_all_local(void);

/*
 * On every CPU of the mask: forget [start, end).  When it returns, all have.
 * Context: preemption off, interrupts on.
 */
void tlb_shootdown(uint64_t cpus, va_t start, va_t end);

/* IPI rounds since boot: what a shootdown costs others. */
uint64_t tlb_shootdown_count(void);
