/* SPDX-License-Identifier: MIT */
/*
 * protect.c - change the rights of a range
 *
 * An entry follows its region in one compare-and-swap, because the CPU may set
 * A and D in it at any moment.  Rights that go are flushed before mm_protect()
 * returns; a right that comes is not: the CPU finds it by itself, or by a fault
 * that finds the entry in order.  W comes back only to exclusive pages; the
 * rest waits for the write fault that copies.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/mm_priv.h"

#define RIGHTS (PTE_P | PTE_W | PTE_U | PTE_NX | ENTRY_NOACCESS)

/* Give the entry the region's rights.  Returns true if it lost any. */
static inline bool entry_protect(uint64_t *slot, uint64_t e, enum prot prot)
{
	struct page *page = entry_page(e);
	uint64_t new;

	do {
		new = (e & ~RIGHTS) |
		      entry_rights(prot, page_writable(page, prot));
	} while (!pte_cmpxchg(slot, &e, new));
	return ((e & ~new) & (PTE_P | PTE_W)) | ((new & ~e) & PTE_NX);
}

static void protect_region(struct region *r, enum prot prot)
{
	struct mm *mm = r->mm;
	struct pt_run run;
	va_t va = r->start;

	while (pt_next_run(&mm->pt, &va, r->end, &run)) {
		bool lost = false;

		spin_lock(&mm->pt_lock);
		for (unsigned i = 0; i < run.count; i++) {
			uint64_t e = pte_read(&run.slots[i]);

			if (entry_mapped(e))
				lost |= entry_protect(&run.slots[i], e, prot);
		}
		PROBE(pte_protect, mm, run.va);
		if (lost)
			tlb_flush_range(mm, run.va,
					run.va + run.count * PAGE_SIZE);
		spin_unlock(&mm->pt_lock);
	}
}

int mm_protect(struct mm *mm, va_t start, va_t end, enum prot prot)
{
	struct region *r;
	int ret = 0;

	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	if (!region_covers(mm, start, end))
		ret = err(ENOENT);
	if (!ret)
		ret = region_cut(mm, start, end);
	if (!ret) {
		for_each_region (r, mm, start, end) {
			r->prot = prot;
			protect_region(r, prot);
		}
		region_join(mm, start, end);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}
