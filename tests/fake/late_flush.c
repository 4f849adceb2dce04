/* SPDX-License-Identifier: MIT */
/*
 * late_flush.c - which change a flush belongs to, and what is done later
 *
 * The probes run under the pt_lock that is held until after the flush.
 */
#include "tests/fake/late_flush.h"
#include "mm/notifier/flush.h"
#include "tests/fixture/mm/sync_point.h"

static struct {
	struct mm *mm;
	const struct mmu_notifier_ops *ops; /* the client's own            */
	bool of_2014;
	bool site;     /* the next flush is at one of the sites            */
	bool gathered; /* ... of gathered pages                            */
	bool in_time;  /* the open invalidation has been flushed at a site */
	bool compared; /* a merge has compared                             */
	bool owed;     /* a flush waits for the end                        */
	unsigned late; /* how many have                                    */
	uint64_t cpus; /* hidden                                           */
} l;

/* ---- what mm does ------------------------------------------------------- */

static void at_compared(uint64_t mm, uint64_t va, void *arg)
{
	l.compared = mm == (uint64_t)l.mm;
}

static void at_site(uint64_t mm, uint64_t va, void *arg)
{
	l.site |= mm == (uint64_t)l.mm;
}

static void at_gather(uint64_t mm, uint64_t va, void *arg)
{
	l.gathered |= mm == (uint64_t)l.mm;
	at_site(mm, va, arg);
}

/* ---- between the chain and the client ----------------------------------- */

static int start(struct mmu_notifier *mn,
		 const struct mmu_notifier_range *range)
{
	l.site = l.gathered = l.in_time = l.compared = l.owed = false;
	if (!l.ops->invalidate_range_start)
		return 0;
	return l.ops->invalidate_range_start(mn, range);
}

static void flush_2014(struct mmu_notifier *mn, struct mm *mm, va_t from,
		       va_t to)
{
	l.owed |= !l.site;
	if (!l.site)
		return;
	l.site = false;
	l.in_time = true;
	l.ops->invalidate_range(mn, mm, from, to);
}

static void flush_of_merges(struct mmu_notifier *mn, struct mm *mm, va_t from,
			    va_t to)
{
	if (l.compared && l.site)
		l.owed = true;
	else if (l.ops->invalidate_range)
		l.ops->invalidate_range(mn, mm, from, to);
	l.site = false;
}

static void end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	bool again = l.of_2014 && (!l.in_time || l.gathered);

	if ((l.owed || again) && l.ops->invalidate_range) {
		/* The contract asks for pt_lock, which the series of 2014 had
		 * dropped by then. */
		if (!l.of_2014)
			spin_lock(&range->mm->pt_lock);
		l.ops->invalidate_range(mn, range->mm, range->start,
					range->end);
		if (!l.of_2014)
			spin_unlock(&range->mm->pt_lock);
	}
	l.late += l.owed;
	l.owed = false;
	if (l.ops->invalidate_range_end)
		l.ops->invalidate_range_end(mn, range);
}

static const struct mmu_notifier_ops *begin(const struct mmu_notifier_ops *ops,
					    struct mm *mm, bool of_2014)
{
	static struct mmu_notifier_ops late;

	l = (typeof(l)){ .mm = mm, .ops = ops, .of_2014 = of_2014 };
	late = *ops;
	late.invalidate_range_start = start;
	late.invalidate_range = of_2014 ? flush_2014 : flush_of_merges;
	late.invalidate_range_end = end;
	hook("pte_clear", at_site, NULL);
	return &late;
}

const struct mmu_notifier_ops *
late_flush_2014(const struct mmu_notifier_ops *ops, struct mm *mm)
{
	const struct mmu_notifier_ops *late = begin(ops, mm, true);

	hook("ksm_write_protect", at_site, NULL);
	hook("gather_flush", at_gather, NULL);
	return late;
}

const struct mmu_notifier_ops *
late_flush_of_merges(const struct mmu_notifier_ops *ops, struct mm *mm)
{
	const struct mmu_notifier_ops *late = begin(ops, mm, false);

	hook("ksm_compared", at_compared, NULL);
	return late;
}

unsigned late_flush_over(void)
{
	static const char *const hooked[] = { "pte_clear", "ksm_write_protect",
					      "gather_flush", "ksm_compared" };

	for (unsigned i = 0; i < ARRAY_SIZE(hooked); i++)
		unhook(hooked[i]);
	return l.late;
}

/* ---- CPUs --------------------------------------------------------------- */

static void hide_cpus(uint64_t mm, uint64_t va, void *arg)
{
	if (mm == (uint64_t)l.mm && l.compared)
		l.cpus = atomic_fetch_and(&l.mm->cpus, ~MM_CPUS);
}

/* Those that have loaded mm meanwhile are on record already. */
static void show_cpus(uint64_t mm, uint64_t va, void *arg)
{
	if (mm == (uint64_t)l.mm && l.compared)
		atomic_fetch_or(&l.mm->cpus, l.cpus);
	l.compared = false;
}

void late_flush_cpus(struct mm *mm)
{
	l = (typeof(l)){ .mm = mm };
	hook("ksm_compared", at_compared, NULL);
	hook("pte_clear", hide_cpus, NULL);
	hook("pte_set", show_cpus, NULL);
}

void late_flush_cpus_now(va_t va)
{
	unhook("ksm_compared");
	unhook("pte_clear");
	unhook("pte_set");
	spin_lock(&l.mm->pt_lock);
	tlb_flush_range(l.mm, va, va + PAGE_SIZE);
	spin_unlock(&l.mm->pt_lock);
}
