/* SPDX-License-Identifier: MIT */
/*
 * huge.c - split an entry of 2 MiB, keep the tables for it
 *
 * The split is one compare-and-swap: the CPU may set A and D in the huge entry until
 * then, and a walker meets the huge entry or the whole table, which translate alike.
 * The frames are counted for the 512 entries before that (docs/invariants.md, B39).
 */
#include "mm/rmap/huge.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge_zero.h"

static _Atomic uint64_t faults, fallbacks, splits, collapses, joins;

_Atomic bool huge_uncounted;

uint64_t huge_counted_slow(struct mm *mm, const uint64_t *slots, unsigned n)
{
	uint64_t pages = 0;

	require(spin_held(&mm->pt_lock));
	for (unsigned i = 0; i < n; i++)
		if (page_kind(entry_page(pte_read(&slots[i]))) == PAGE_ANON)
			pages += BLOCK_PAGES;
	return pages;
}

uint64_t *huge_slot(struct mm *mm, va_t va)
{
	uint64_t *slot;

	require(spin_held(&mm->pt_lock));
	slot = pt_slot(&mm->pt, va, 1, false);
	return slot && entry_huge(pte_read(slot)) ? slot : NULL;
}

void huge_run_widen(struct pt_run *run, va_t *va, va_t end)
{
	unsigned most = PT_ENTRIES - pt_index(run->va, 1);

	require(run->level == 1 && run->count == 1);
	while (run->count < most && *va + BLOCK_SIZE <= end &&
	       entry_huge(pte_read(&run->slots[run->count]))) {
		run->count++;
		*va += BLOCK_SIZE;
	}
}

int huge_deposit_new(struct mm *mm, unsigned n)
{
	struct page *tables = mm->deposit;
	int ret;

	require(spin_held(&mm->pt_lock));
	ret = page_alloc_list(&tables, n, PAGE_TABLE);
	if (!ret)
		WRITE_ONCE(mm->deposit, tables);
	return ret;
}

/* Fill a table with entries from e on, whose frames are `step` bytes apart. */
static void fill(uint64_t *small, uint64_t e, uint64_t step)
{
	e &= ~PTE_PS;
#pragma GCC unroll 8
	for (unsigned i = 0; i < PT_ENTRIES; i++, e += step)
		small[i] = e;
}

/* Replace e, in slot, by the table, with what it translates; of the block of zeroes by
 * 512 of zero_page.  Context: mm->pt_lock held. */
static void replace_by(struct mm *mm, struct page *table, uint64_t *slot,
		       uint64_t e, bool zeroes)
{
	uint64_t next = page_pa(table) | mm->pt.format->table_bits[1];

	require(spin_held(&mm->pt_lock));
	do
		if (unlikely(zeroes))
			fill(page_va(table),
			     page_pa(zero_page) | (e & ~PTE_ADDR), 0);
		else
			fill(page_va(table), e, PAGE_SIZE);
	while (!pte_cmpxchg(slot, &e, next));
}

void huge_split(struct mm *mm, va_t va)
{
	va_t start = ALIGN_DOWN(va, BLOCK_SIZE);
	uint64_t *slot = huge_slot(mm, va), e;
	struct page *table;
	bool zeroes;

	require(spin_held(&mm->pt_lock));
	if (!slot)
		return;
	table = huge_withdraw(mm);
	table->index = PT_ENTRIES;
	e = pte_read(slot);
	require(page_kind(entry_page(e)) != PAGE_HUGETLB);
	zeroes = entry_huge_zero(e);
	if (likely(!zeroes))
		block_split(entry_page(e));
	replace_by(mm, table, slot, e, zeroes);
	mm->pt.tables++;
	atomic_fetch_add_explicit(&splits, 1, memory_order_relaxed);
	PROBE(huge_split, mm, start);
	tlb_flush_range(mm, start, start + BLOCK_SIZE); //: split-flushes
	if (unlikely(zeroes))
		page_map_drop(entry_page(e));
}

void huge_split_slow(struct mm *mm, va_t at)
{
	require(locks_below(RANK_PT));
	spin_lock(&mm->pt_lock);
	huge_split(mm, at);
	spin_unlock(&mm->pt_lock);
}

void huge_stat(struct huge_stat *stat)
{
	stat->faults = atomic_load_explicit(&faults, memory_order_relaxed);
	stat->fallbacks =
		atomic_load_explicit(&fallbacks, memory_order_relaxed);
	stat->splits = atomic_load_explicit(&splits, memory_order_relaxed);
	stat->collapses =
		atomic_load_explicit(&collapses, memory_order_relaxed);
	stat->joins = atomic_load_explicit(&joins, memory_order_relaxed);
}

void huge_count_fault(bool made)
{
	atomic_fetch_add_explicit(made ? &faults : &fallbacks, 1,
				  memory_order_relaxed);
}

void huge_count_collapse(bool joined)
{
	atomic_fetch_add_explicit(&collapses, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&joins, joined, memory_order_relaxed);
}
