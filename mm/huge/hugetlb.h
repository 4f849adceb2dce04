/* SPDX-License-Identifier: MIT */
/*
 * hugetlb.h - regions whose blocks come from the fixed pool (mm/frame/huge_pool.h)
 *
 * Every entry of such a region is made when the region is: by mm_map() cleared, by
 * mm_fork() with a copy of the parent's.  So memory is short at that moment or never.
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/rmap/huge.h"

/*
 * Make the entries of [start, end) of mm, which has none, with blocks of the pool.
 * They hold zeroes, or what `from` has at the same addresses, in a region of the same
 * kind; of writes of its CPUs and devices meanwhile any part.
 *
 * Context: may sleep; no other thread faults in mm, or changes entries of `from`.
 * Returns 0; -ENOMEM, with no entry made; tables may have been added.
 */
must_check int hugetlb_populate(struct mm *mm, va_t start, va_t end,
				enum prot prot, struct mm *from);

/* Do hugetlb_meets().  Context: as below. */
bool hugetlb_meets_slow(struct mm *mm, va_t start, va_t end);

/* Return true if a region of [start, end) has blocks of the pool.
 * Context: mm->lock held. */
static inline bool hugetlb_meets(struct mm *mm, va_t start, va_t end)
{
	require(rw_held(&mm->lock));
	/* Set before the first region of the pool is there: no search without. */
	return unlikely(atomic_load_explicit(&huge_uncounted,
					     memory_order_relaxed)) &&
	       hugetlb_meets_slow(mm, start, end);
}
