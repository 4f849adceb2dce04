/* SPDX-License-Identifier: MIT */
/*
 * hugetlb.c - fill a region with blocks of the fixed pool
 *
 * First all that can fail: blocks, tables above, and the tables that each huge entry
 * keeps (huge.h), although no entry here is ever split: so that a zap handles it as any
 * other.  Then the entries.
 */
#include "mm/huge/hugetlb.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/frame/huge_pool.h"
#include "mm/rmap/huge.h"

/* Give back the blocks of a list. */
static void give_back(struct page *list)
{
	while (list) {
		struct page *next = list->mapping.next;

		list->mapping.next = NULL;
		page_put(list);
		list = next;
	}
}

/* Take n blocks, linked by mapping.next.  Returns NULL without them. */
static struct page *take(unsigned n)
{
	struct page *list = NULL;

	while (n--) {
		struct page *block = huge_pool_take();

		if (!block) {
			give_back(list);
			return NULL;
		}
		block->mapping.next = list;
		list = block;
	}
	return list;
}

/* Return the block at va of an address space that has one there. */
static struct page *block_at(struct mm *mm, va_t va)
{
	struct page *block;

	spin_lock(&mm->pt_lock);
	block = entry_page(pte_read(huge_slot(mm, va)));
	spin_unlock(&mm->pt_lock);
	return block;
}

/* Give the blocks of a list their content. */
static void fill(struct page *list, va_t va, struct mm *from)
{
	for (; list; list = list->mapping.next, va += BLOCK_SIZE) {
		struct page *old = from ? block_at(from, va) : NULL;

		if (!old)
			pages_zero(list, BLOCK_ORDER);
		for (unsigned i = 0; old && i < BLOCK_PAGES; i++)
			page_copy(list + i, old + i);
	}
}

/* Make the tables for [start, end).  Context: mm->pt_lock held.  Returns 0 or -ENOMEM. */
static int make_tables(struct mm *mm, va_t start, va_t end)
{
	require(spin_held(&mm->pt_lock));
	for (va_t va = start; va < end; va += BLOCK_SIZE)
		if (!pt_slot(&mm->pt, va, 1, true))
			return err(ENOMEM);
	return huge_deposit_new(mm, (unsigned)((end - start) / BLOCK_SIZE));
}

/* Store the entries.  Context: mm->pt_lock held, the tables made. */
static void attach(struct mm *mm, va_t va, struct page *list, enum prot prot)
{
	require(spin_held(&mm->pt_lock));
	while (list) {
		struct page *block = list;

		list = block->mapping.next;
		block->mapping.next = NULL;
		page_ref_to_map(block);
		pt_set(&mm->pt, pt_slot(&mm->pt, va, 1, false),
		       entry_make(block, prot) | PTE_PS | PTE_A);
		PROBE(pte_set, mm, va);
		va += BLOCK_SIZE;
	}
}

int hugetlb_populate(struct mm *mm, va_t start, va_t end, enum prot prot,
		     struct mm *from)
{
	struct page *list = take((unsigned)((end - start) / BLOCK_SIZE));
	int ret;

	require(may_sleep());
	if (!list)
		return err(ENOMEM);
	fill(list, start, from);
	atomic_store(&huge_uncounted, true);
	spin_lock(&mm->pt_lock);
	ret = make_tables(mm, start, end);
	if (!ret)
		attach(mm, start, list, prot);
	spin_unlock(&mm->pt_lock);
	if (ret)
		give_back(list);
	return ret;
}

bool hugetlb_meets_slow(struct mm *mm, va_t start, va_t end)
{
	struct region *r;

	require(rw_held(&mm->lock));
	for_each_region (r, mm, start, end)
		if (r->flags & MAP_HUGETLB)
			return true;
	return false;
}
