/* SPDX-License-Identifier: MIT */
/*
 * range.c - walk the regions and entries of a range, fault, and walk on
 *
 * The walk holds mm->lock to read, which keeps the regions, and pt_lock for one
 * table at a time.  It stops at the first page that lacks what is requested;
 * the fault needs both locks, so the walk lets them go, has that page and the holes
 * after it faulted in, and goes on from there.  What was reported before may be out
 * of date then: the sequence says so.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/core/entry.h"
#include "mm/core/track.h"
#include "mm/frame/moving.h"
#include "mm/hmm/hmm.h"
#include "mm/rmap/block.h"

_Static_assert(HMM_PFN_FRAME == PTE_ADDR >> PAGE_SHIFT &&
		       HMM_PFN_VALID == PTE_P << (64 - PAGE_SHIFT) &&
		       HMM_PFN_WRITE == PTE_W << (64 - PAGE_SHIFT),
	       "report_of() moves all three at once");

/* Where a call stands. */
struct walk {
	struct mm *mm;
	struct hmm_range *range;
	va_t va;        /* the first page that is not reported             */
	uint64_t lacks; /* what it lacks of the request, HMM_PFN_REQ_*     */
	va_t until;     /* the end of the pages known to lack the same     */
	enum prot prot; /* of the region of va                             */
};

static va_t lower(va_t a, va_t b)
{
	return a < b ? a : b;
}

static uint64_t *report_at(const struct walk *w)
{
	return &w->range->hmm_pfns[(w->va - w->range->start) >> PAGE_SHIFT];
}

/* Return the report of an entry that is not present: 0, unless it names a page in the
 * memory of the client's own device.  Context: pt_lock held. */
static noinline uint64_t report_device(const struct walk *w, uint64_t e)
{
	const struct device_memory *own = w->range->dev_private_owner;
	bool write = w->prot & PROT_W;
	struct page *page;

	require(spin_held(&w->mm->pt_lock));
	if (!own || !entry_device(e))
		return 0;
	page = entry_page(e);
	if (device_memory_of(page) != own || page_moving(page))
		return 0;
	return pfn_of(page) | HMM_PFN_VALID |
	       (write && page_exclusive(page) ? HMM_PFN_WRITE : 0);
}

/* Return the report of an entry of 4 KiB. */
static inline uint64_t report_of(const struct walk *w, uint64_t e)
{
	if (unlikely(!(e & PTE_P)))
		return unlikely(e) ? report_device(w, e) : 0;
	return (e >> PAGE_SHIFT | e << (64 - PAGE_SHIFT)) &
	       (HMM_PFN_FRAME | HMM_PFN_VALID | HMM_PFN_WRITE);
}

/* Return what a report lacks of the request; `in` is what hmm_pfns[] holds of it. */
static inline uint64_t lacking(uint64_t fixed, uint64_t mask, uint64_t in,
			       uint64_t report)
{
	uint64_t want = fixed | (in & mask);

	return want & HMM_PFN_REQ_FAULT
		       ? want & ~report & (HMM_PFN_VALID | HMM_PFN_WRITE)
		       : 0;
}

/* Report small pages from w->va on, of the entries at slots, up to the n-th or to the first
 * one that lacks something.  Returns how many. */
static inline unsigned report_entries(struct walk *w, const uint64_t *slots,
				      unsigned n, uint64_t fixed, uint64_t mask)
{
	uint64_t *out = report_at(w);
	unsigned i;

	w->lacks = 0;
#pragma GCC unroll 8
	for (i = 0; i < n; i++) {
		uint64_t report = report_of(w, pte_read(&slots[i]));
		uint64_t lacks = lacking(fixed, mask, out[i], report);

		if (unlikely(lacks)) {
			w->lacks = lacks;
			break;
		}
		out[i] = report;
	}
	return i;
}

/* Report the entries of n small pages from w->va on.  Returns false at the first one
 * that lacks something.  Context: pt_lock held. */
static bool report_small(struct walk *w, const uint64_t *slots, unsigned n)
{
	uint64_t fixed = w->range->default_flags;
	uint64_t mask = w->range->pfn_flags_mask;
	unsigned i, holes = 1;

	require(spin_held(&w->mm->pt_lock));
	/* Without a mask no request is read, and a snapshot compares nothing. */
	if (mask)
		i = report_entries(w, slots, n, fixed, mask);
	else if (fixed)
		i = report_entries(w, slots, n, fixed, 0);
	else
		i = report_entries(w, slots, n, 0, 0);
	w->va += i * PAGE_SIZE;
	if (!w->lacks)
		return true;
	while (!mask && i + holes < n && !pte_read(&slots[i]) &&
	       !pte_read(&slots[i + holes]))
		holes++;
	w->until = w->va + holes * PAGE_SIZE;
	return false;
}

/* Report pages up to end: the first as `report`, each next one `step` more.  Returns
 * false at the first one that lacks something. */
static bool report_alike(struct walk *w, va_t end, uint64_t report,
			 unsigned step)
{
	uint64_t fixed = w->range->default_flags;
	uint64_t mask = w->range->pfn_flags_mask, *out = report_at(w);
	uint64_t n = (end - w->va) >> PAGE_SHIFT, i = 0;

	w->lacks = mask || !n ? 0 : lacking(fixed, 0, 0, report);
	w->until = end;
	if (!mask && !w->lacks) {
#pragma GCC unroll 16
		for (; i < n; i++, report += step)
			out[i] = report;
	}
	for (; mask && i < n; i++, report += step) {
		w->lacks = lacking(fixed, mask, out[i], report);
		if (w->lacks) {
			w->until = w->va + (i + 1) * PAGE_SIZE;
			break;
		}
		out[i] = report;
	}
	w->va += i * PAGE_SIZE;
	return !w->lacks;
}

/* Report the pages up to end that an entry of 2 MiB at va maps. */
static bool report_huge(struct walk *w, va_t va, va_t end, uint64_t e)
{
	uint64_t report = report_of(w, e & ~PTE_PS);

	if (!report)
		return report_alike(w, end, 0, 0);
	report += (w->va - va) >> PAGE_SHIFT;
	return report_alike(w, end,
			    report | FIELD_PREP(HMM_PFN_ORDER, BLOCK_ORDER), 1);
}

/* Report the next entries of one table, up to end, and the hole before them. */
static bool report_table(struct walk *w, va_t end)
{
	va_t next = w->va, first = end;
	struct pt_run run;
	bool found;

	require(spin_held(&w->mm->pt_lock));
	found = pt_next_run(&w->mm->pt, &next, end, &run);
	if (found)
		first = run.va < w->va ? w->va : run.va;
	if (!report_alike(w, first, 0, 0))
		return false;
	if (!found)
		return true;
	if (run.level)
		return report_huge(w, run.va, lower(next, end),
				   pte_read(run.slots));
	return report_small(w, run.slots, run.count);
}

/* Report the pages of a region up to end.  Returns 0, -EAGAIN at a page that lacks
 * something, -EPERM if a fault cannot help. */
static int walk_region(struct walk *w, const struct region *r, va_t end)
{
	bool all = true;

	w->prot = region_rights(r);
	while (all && w->va < end) {
		spin_lock(&w->mm->pt_lock);
		all = report_table(w, end);
		spin_unlock(&w->mm->pt_lock);
	}
	if (all)
		return 0;
	if (w->lacks & HMM_PFN_REQ_WRITE && !(w->prot & PROT_W))
		return err(EPERM);
	if (r->flags & MAP_HUGE) /* the first fault may map 512 pages */
		w->until = w->va + PAGE_SIZE;
	return -EAGAIN;
}

/* Report pages to the end of the range.  Returns as walk_region(); -EFAULT at a page
 * that is requested and that no access can reach. */
static int walk(struct walk *w)
{
	va_t end = w->range->end;
	int ret = 0;

	require(rw_held(&w->mm->lock));
	while (!ret && w->va < end) {
		struct region *r = region_first(w->mm, w->va, end);
		va_t start = r ? r->start : end;

		if (w->va >= start && r->prot)
			ret = walk_region(w, r, lower(r->end, end));
		else if (!report_alike(
				 w, w->va < start ? start : lower(r->end, end),
				 HMM_PFN_ERROR, 0))
			ret = err(EFAULT);
	}
	return ret;
}

/* Fault in the pages that lack the same.  The next walk reports them. */
static int fault_in(const struct walk *w)
{
	enum prot access = w->lacks & HMM_PFN_REQ_WRITE ? PROT_W : PROT_R;
	int ret = 0;

	for (va_t va = w->va; va < w->until && !ret; va += PAGE_SIZE) {
		PROBE(hmm_fault, w->mm, va);
		ret = mm_fault(w->mm, va, access);
	}
	return ret;
}

bool hmm_range_fits(const struct hmm_range *range)
{
	const struct itree_node *node = &range->notifier->node;

	return range_valid(range->start, range->end) &&
	       range->start >= node->start && range->end - 1 <= node->last;
}

static bool overtaken(const struct hmm_range *range)
{
	return range->notifier &&
	       mmu_interval_check_retry(range->notifier, range->notifier_seq);
}

int hmm_range_report(struct mm *mm, struct hmm_range *range)
{
	struct walk w = { .mm = mm, .range = range, .va = range->start };
	int ret;

	require(may_sleep());
	do {
		if (overtaken(range))
			return err(EBUSY);
		rw_read_lock(&w.mm->lock);
		ret = walk(&w);
		rw_read_unlock(&w.mm->lock);
		PROBE(hmm_walked, w.mm, w.va);
		if (ret != -EAGAIN)
			return ret;
		ret = fault_in(&w);
	} while (!ret);
	/* The region may have gone, or lost a right, since the walk. */
	if (overtaken(range))
		return err(EBUSY);
	return ret;
}

int hmm_range_fault(struct hmm_range *range)
{
	require(may_sleep());
	if (!hmm_range_fits(range))
		return err(EINVAL);
	return hmm_range_report(range->notifier->mm, range);
}
