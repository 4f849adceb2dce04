/* SPDX-License-Identifier: MIT */
/*
 * late_flush.h - clients that flush at another time than mm asks for
 *
 * mm has one flush, and calls invalidate_range() in it.  What would happen if it
 * came later is shown by a client that puts it off: these callbacks stand between
 * the chain and a client's own, and learn from the probes of mm which change the
 * flush belongs to.
 *
 *	ops = late_flush_2014(client.mn.ops, mm);
 *	... register the client with ops, change mm ...
 *	late_flush_over();
 *
 * One client at a time, and one thread that changes mm.
 */
#pragma once

#include "mm/notifier/mmu_notifier.h"

/*
 * As the series of 2014 had it.  The flush reaches the client where that series
 * called invalidate_range(): before a replaced or write-protected entry is used
 * (copy, eviction, merge: pte_clear, ksm_write_protect), and before gathered pages
 * are freed (gather_flush).  Of other changes it learns from the end of their
 * invalidation, after pt_lock has been dropped, and of a change without one never.
 * The end of an unmap flushes once more.
 */
const struct mmu_notifier_ops *
late_flush_2014(const struct mmu_notifier_ops *ops, struct mm *mm);

/*
 * All flushes in time but one: that of an entry which a merge has replaced waits
 * for the end of the invalidation (B11).
 */
const struct mmu_notifier_ops *
late_flush_of_merges(const struct mmu_notifier_ops *ops, struct mm *mm);

/* End the experiment.  How many flushes were put off to an end? */
unsigned late_flush_over(void);

/*
 * The same for CPUs, which have no callback: from the pte_clear of the next merge
 * in mm to its pte_set no CPU is on record as having mm loaded, so the flush leaves
 * them out.  late_flush_cpus_now() makes up for it, before the old frame is free.
 */
void late_flush_cpus(struct mm *mm);
void late_flush_cpus_now(va_t va);
