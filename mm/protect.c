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

#define RIGHTS (PTE_P | ENTRY_W | PTE_U | PTE_NX | ENTRY_IR | ENTRY_NOACCESS)

/*
 * Give the entry these rights, and W if it may be had.  Returns bits that, ANDed
 * with LOST, say what the entry now allows less: P and W that went, NX that came.
 */
#define LOST (PTE_P | PTE_W | PTE_NX)

static inline uint64_t entry_protect(uint64_t *slot, uint64_t e,
				     uint64_t rights, bool write)
{
	uint64_t new;

	do {
		new = (e & ~RIGHTS) | rights;
		if (write && page_exclusive(entry_page(e)))
			new |= ENTRY_W;
	} while (!pte_cmpxchg(slot, &e, new));
	return (e ^ new) & (e ^ PTE_NX);
}

/* All entries of a run; the result as above.  Context: pt_lock held. */
static always_inline uint64_t run_protect(const struct pt_run *run,
					  uint64_t rights, bool write)
{
	uint64_t *end = run->slots + run->count, lost = 0;

	for (uint64_t *slot = run->slots; slot < end; slot++) {
		uint64_t e = pte_read(slot);

		if (entry_mapped(e))
			lost |= entry_protect(slot, e, rights, write);
	}
	return lost;
}

void run_keep_dirty(struct mm *mm, const struct pt_run *run)
{
	for (unsigned i = 0; i < run->count; i++)
		if (entry_dirty(mm, pte_read(&run->slots[i])))
			pte_or(&run->slots[i], PTE_D);
}

static void protect_region(struct region *r, enum prot prot)
{
	uint64_t rights = entry_rights(prot, false);
	struct mm *mm = r->mm;
	struct pt_run run;
	va_t va = r->start;

	while (pt_next_run(&mm->pt, &va, r->end, &run)) {
		uint64_t lost;

		spin_lock(&mm->pt_lock);
		if (unlikely(mm_has_notifiers(mm)))
			run_keep_dirty(mm, &run);
		lost = prot & PROT_W ? run_protect(&run, rights, true)
				     : run_protect(&run, rights, false);
		PROBE(pte_protect, mm, run.va);
		if (lost & LOST)
			tlb_flush_range(mm, run.va,
					run.va + run.count * PAGE_SIZE);
		else
			tlb_upgrade_range(mm, run.va,
					  run.va + run.count * PAGE_SIZE);
		spin_unlock(&mm->pt_lock);
	}
}

static void protect_regions(struct mm *mm, va_t start, va_t end, enum prot prot)
{
	struct mmu_notifier_range range;
	struct region *r;

	mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_VMA, mm, start,
				end);
	mmu_notifier_invalidate_range_start(&range);
	for_each_region (r, mm, start, end) {
		r->prot = prot;
		protect_region(r, prot);
	}
	mmu_notifier_invalidate_range_end(&range);
}

int mm_protect(struct mm *mm, va_t start, va_t end, enum prot prot)
{
	int ret;

	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = region_cut_out(mm, start, end);
	if (!ret) {
		protect_regions(mm, start, end, prot);
		region_join(mm, start, end);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}
