/* SPDX-License-Identifier: MIT */
/*
 * fault_huge.c - make an entry of 2 MiB, and give it W or split it
 *
 *   entry       read fault        write fault
 *   no table    small zero page   block of zeroes, or one small page
 *   shared      -                 split, then copy 4 KiB         (COW)
 *   last owner  -                 gains W
 *   exclusive   -                 gains W
 */
#include "mm/huge/fault_huge.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"

/* Return true if a first write to va should make a huge entry.  In an address space
 * with a limit it would not: a fault makes room for one page.
 * Context: mm->lock held. */
static bool huge_wanted(const struct region *r, va_t va)
{
	va_t start = ALIGN_DOWN(va, BLOCK_SIZE);

	require(rw_held(&r->mm->lock));
	return r->flags & MAP_HUGE && !r->object && start >= r->start &&
	       start + BLOCK_SIZE <= r->end && !READ_ONCE(r->mm->limit);
}

/* Allocate a block of zeroes and the table that its split will need.  Returns the
 * block, or NULL without memory. */
static struct page *block_alloc(struct page **table)
{
	struct page *block = pages_alloc_bare(BLOCK_ORDER);

	if (!block)
		return NULL;
	*table = page_alloc();
	if (!*table) {
		page_put(block);
		return NULL;
	}
	pages_zero(block, BLOCK_ORDER);
	return block;
}

/* Map the block at slot, or a new one if it is NULL, if no entry and no table is there
 * yet.  Returns 0, -EAGAIN, or -ENOMEM if a table above is missing.
 * Context: mm->lock and pt_lock held. */
static int block_map(struct region *r, va_t va, uint64_t *slot,
		     struct page *block, struct page *table)
{
	struct mm *mm = r->mm;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	if (!slot)
		slot = pt_slot(&mm->pt, va, 1, true);
	if (!slot)
		return err(ENOMEM);
	if (pte_read(slot))
		return -EAGAIN;
	page_set_anon(block, r, va);
	page_ref_to_map(block);
	pt_set(&mm->pt, slot,
	       entry_make(block, r->prot) | PTE_PS | PTE_A | PTE_D);
	huge_deposit(mm, table);
	mm->mapped += BLOCK_PAGES;
	PROBE(pte_set, mm, va);
	return 0;
}

/*
 * Make a huge entry with a zeroed block, at slot, or NULL if the table of level 1 is
 * missing.  Context: mm->lock held, so that no table is freed; may sleep.
 * Returns 0; -EAGAIN if another thread has made an entry or a table; -ENOMEM.
 */
static int huge_new(struct region *r, va_t va, uint64_t *slot)
{
	va_t start = ALIGN_DOWN(va, BLOCK_SIZE);
	struct page *block, *table;
	int ret = -ENOMEM;

	require(rw_held(&r->mm->lock) && may_sleep());
	block = block_alloc(&table);
	if (block) {
		PROBE(fault_fresh, r->mm, start);
		spin_lock(&r->mm->pt_lock);
		ret = block_map(r, start, slot, block, table);
		spin_unlock(&r->mm->pt_lock);
		if (ret) {
			page_put(block);
			page_put(table);
		}
	}
	if (ret != -EAGAIN)
		huge_count_fault(!ret);
	return ret;
}

/* Serve a fault at the huge entry in slot.  Context: mm->lock and pt_lock held.
 * Returns 0, or -EAGAIN after a split. */
static int huge_mapped(struct region *r, va_t va, uint64_t *slot,
		       enum want want)
{
	va_t start = ALIGN_DOWN(va, BLOCK_SIZE);
	uint64_t e = pte_read(slot);
	struct page *head = entry_page(e);
	struct mm *mm = r->mm;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	assert(e & PTE_P);
	if (want == WANT_READ) {
		pte_or(slot, PTE_A);
		return 0;
	}
	if (!page_exclusive(head)) {
		if (!block_sole(head)) {
			huge_split(mm, va);
			return -EAGAIN;
		}
		page_set_exclusive(head);
	}
	if (want == WANT_UNSHARE)
		return 0;
	pte_or(slot, ENTRY_W | PTE_A | PTE_D);
	PROBE(pte_upgrade, mm, start);
	tlb_upgrade_range(mm, start, start + BLOCK_SIZE);
	return 0;
}

/* Serve the fault by a huge entry.  Context: mm->lock held, so that no table is freed.
 * Returns 0, -EAGAIN, or -ENOMEM if there is none and none was made. */
static int fault_huge(struct region *r, va_t va, enum want want)
{
	uint64_t *slot = pt_slot(&r->mm->pt, va, 1, false);
	int ret = -ENOMEM;

	require(rw_held(&r->mm->lock));
	/* This look needs no lock: block_map() and fault_table() look again. */
	if (!slot || !pte_read(slot))
		return want == WANT_WRITE && huge_wanted(r, va)
			       ? huge_new(r, va, slot)
			       : -ENOMEM;
	spin_lock(&r->mm->pt_lock);
	if (entry_huge(pte_read(slot)))
		ret = huge_mapped(r, va, slot, want);
	spin_unlock(&r->mm->pt_lock);
	return ret;
}

uint64_t *fault_table(struct region *r, va_t va, enum want want, int *ret)
{
	struct mm *mm = r->mm;
	uint64_t *slot;

	require(rw_held(&mm->lock) && may_sleep());
	*ret = fault_huge(r, va, want);
	if (*ret != -ENOMEM)
		return NULL;
	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, true);
	if (!slot && huge_slot(mm, va))
		*ret = -EAGAIN; /* another thread was faster */
	else if (!slot)
		*ret = err(ENOMEM);
	spin_unlock(&mm->pt_lock);
	return slot;
}
