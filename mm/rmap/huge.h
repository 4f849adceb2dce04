/* SPDX-License-Identifier: MIT */
/*
 * huge.h - entries of 2 MiB in user tables
 *
 * A huge entry is a leaf at level 1.  It lies inside one region, maps a block
 * (mm/rmap/block.h) or the frames that were one, and has the states and rights of any
 * other entry (mm/core/entry.h), plus PTE_PS.
 *
 * For each huge entry the mm keeps an unused table, the deposit: so that a split
 * needs no memory and cannot fail.  Linux: pgtable_trans_huge_deposit().
 *
 * A huge entry is split by any thread that holds pt_lock, also without mm->lock (a
 * pin, a walk of the reverse map).  So code that has found one without pt_lock reads
 * it again under the lock: huge_run_valid().  An entry of 2 MiB is made only
 * where no table is, under pt_lock, with mm->lock held to read.
 */
#pragma once

#include "mm/core/entry.h"
#include "mm/rmap/block.h"

/* Return true if a run that was found without pt_lock is what it was: a huge entry
 * may have been split meanwhile, and the caller walks again from run->va.
 * Context: mm->pt_lock held; mm->lock held, so that no table was freed. */
static inline bool huge_run_valid(struct mm *mm, const struct pt_run *run)
{
	unsigned i = 0;

	require(spin_held(&mm->pt_lock) && rw_held(&mm->lock));
	if (likely(!run->level))
		return true;
	while (i < run->count && entry_huge(pte_read(&run->slots[i])))
		i++;
	return i == run->count;
}

/*
 * Extend a run of pt_next_run() that is one huge entry by the huge entries after it, in
 * the same table, that lie before end, and move *va past them.
 * The caller holds mm->lock, so that no table is freed.
 */
void huge_run_widen(struct pt_run *run, va_t *va, va_t end);

/* Return the slot of the huge entry that covers va, or NULL.
 * Context: mm->pt_lock held. */
uint64_t *huge_slot(struct mm *mm, va_t va);

/*
 * Replace the huge entry that covers va, if there is one, by a table of 512 entries
 * that map the same frames with the same rights, A and D; then flush the 2 MiB, so
 * that no MMU keeps a translation of that size, which a later flush of 4 KiB might not
 * reach.  No access of a CPU or device faults or waits because of it.
 * Linux: __split_huge_pmd().  Context: mm->pt_lock held.
 */
void huge_split(struct mm *mm, va_t va);

/* Do huge_split_at().  Context: as below. */
void huge_split_slow(struct mm *mm, va_t at);

/*
 * Split the huge entry that reaches across the address `at`, if there is one.
 * Context: any that may take RANK_PT; no thread makes a huge entry meanwhile, so that
 * an empty deposit says that there is none.
 */
static inline void huge_split_at(struct mm *mm, va_t at)
{
	require(locks_below(RANK_PT));
	if (unlikely(READ_ONCE(mm->deposit)) && !IS_ALIGNED(at, BLOCK_SIZE))
		huge_split_slow(mm, at);
}

/* Add a table from page_alloc(), content undefined, to the deposit.
 * Context: mm->pt_lock held. */
static inline void huge_deposit(struct mm *mm, struct page *table)
{
	require(spin_held(&mm->pt_lock));
	page_set_kind(table, PAGE_TABLE);
	table->mapping.next = mm->deposit;
	WRITE_ONCE(mm->deposit, table);
}

/* Add n new tables.  Returns 0, or -ENOMEM with nothing changed.
 * Context: mm->pt_lock held. */
must_check int huge_deposit_new(struct mm *mm, unsigned n);

/* Set once a huge entry may map what mm->mapped does not count: the block of zeroes, or
 * one of the fixed pool. */
extern _Atomic bool huge_uncounted;

/* Return how many pages of n huge entries count in mm->mapped.
 * Context: mm->pt_lock held. */
uint64_t huge_counted_slow(struct mm *mm, const uint64_t *slots, unsigned n);

static inline uint64_t huge_counted(struct mm *mm, const uint64_t *slots,
				    unsigned n)
{
	require(spin_held(&mm->pt_lock));
	if (unlikely(atomic_load_explicit(&huge_uncounted,
					  memory_order_relaxed)))
		return huge_counted_slow(mm, slots, n);
	return (uint64_t)n * BLOCK_PAGES;
}

/* Take one from the deposit, for a huge entry that was cleared or is being split.
 * Context: mm->pt_lock held. */
static inline struct page *huge_withdraw(struct mm *mm)
{
	struct page *table = mm->deposit;

	require(spin_held(&mm->pt_lock));
	assert(table);
	WRITE_ONCE(mm->deposit, table->mapping.next);
	table->mapping.next = NULL;
	return table;
}

/* What was counted since boot: exact while no thread changes an mm. */
struct huge_stat {
	uint64_t faults;    /* first writes that made a huge entry         */
	uint64_t fallbacks; /* those that found no block, or no table      */
	uint64_t splits;    /* huge entries that were split                */
	uint64_t collapses; /* huge entries made of 512 small ones ...     */
	uint64_t joins;     /* ... of them without a copy                  */
};

void huge_stat(struct huge_stat *stat);

/* Count one event.  Any context. */
void huge_count_fault(bool made);
void huge_count_collapse(bool joined);
