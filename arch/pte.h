/* SPDX-License-Identifier: MIT */
/*
 * pte.h - one x86-64 page table entry: its bits, and how to touch it
 *
 * Intel SDM vol. 3, "4-Level Paging"; AMD APM vol. 2, "Long-Mode Page
 * Translation".  The CPU walks the tables, and sets A and D in them, at any
 * moment: every access here is one 64-bit access, and what must not lose an A
 * or D bit is one locked instruction.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"

#define PTE_P          BIT(0) /* present: without it the CPU reads nothing else  */
#define PTE_W          BIT(1) /* writable (CR0.WP: for the kernel too)           */
#define PTE_U          BIT(2) /* user half                                       */
#define PTE_PWT        BIT(3)
#define PTE_PCD        BIT(4) /* with PWT: uncached                              */
#define PTE_A          BIT(5) /* accessed, set by the CPU                        */
#define PTE_D          BIT(6) /* dirty, set by the CPU                           */
#define PTE_PS         BIT(7) /* at level 1: a leaf of 2 MiB                     */
#define PTE_G          BIT(8) /* global: survives a CR3 load                     */
#define PTE_NX         BIT(63)
#define PTE_NEXT_LEVEL GENMASK(11, 9) /* ignored here; an IOMMU's           */
#define PTE_ADDR       GENMASK(51, 12)

static inline uint64_t pte_read(const uint64_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

/* Release: a table or page is complete before an entry leads to it. */
static inline void pte_write(uint64_t *slot, uint64_t entry)
{
	__atomic_store_n(slot, entry, __ATOMIC_RELEASE);
}

/* Stores v and returns the old entry, with A and D. */
static inline uint64_t pte_xchg(uint64_t *slot, uint64_t entry)
{
	return __atomic_exchange_n(slot, entry, __ATOMIC_ACQ_REL);
}

/* Keeps only the bits of mask; A and D that the CPU sets meanwhile are kept. */
static inline void pte_and(uint64_t *slot, uint64_t mask)
{
	__atomic_and_fetch(slot, mask, __ATOMIC_ACQ_REL);
}

/* Sets bits. */
static inline void pte_or(uint64_t *slot, uint64_t bits)
{
	__atomic_or_fetch(slot, bits, __ATOMIC_ACQ_REL);
}

/* Stores new if the entry still is *old; otherwise sets *old to the entry. */
static inline bool pte_cmpxchg(uint64_t *slot, uint64_t *old, uint64_t new)
{
	return __atomic_compare_exchange_n(slot, old, new, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
