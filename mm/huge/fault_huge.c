/* SPDX-License-Identifier: MIT */
/*
 * fault_huge.c - make an entry of 2 MiB, and give it W or split it
 *
 *   entry       read fault              write fault
 *   no table    the block of zeroes,    a block, cleared, or one small page
 *               or the small zero page
 *   zeroes      -                       a block, cleared, or split
 *   shared      -                       split, then copy 4 KiB   (COW)
 *   last owner  -                       gains W
 *   exclusive   -                       gains W
 */
#include "mm/huge/fault_huge.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/track.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/reclaim/compact.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/huge_zero.h"
#include "mm/rmap/rmap.h"

/* Return true if a first access to va should make a huge entry.  In an address space
 * with a limit it would not: a fault makes room for one page.  Nor in a tracked region,
 * where all of it would count as written.
 * Context: mm->lock held. */
static bool huge_wanted(const struct region *r, va_t va)
{
	va_t start = ALIGN_DOWN(va, BLOCK_SIZE);

	require(rw_held(&r->mm->lock));
	return (r->flags & (MAP_HUGE | REGION_TRACKED)) == MAP_HUGE &&
	       !r->object && start >= r->start &&
	       start + BLOCK_SIZE <= r->end && !READ_ONCE(r->mm->limit);
}

/* Allocate a block for a write and the table that its split will need.  Returns the
 * block, cleared, or NULL without memory. */
static struct page *block_alloc(struct page **table)
{
	struct page *block = block_obtain();

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

/* Make the block the region's at va.  Returns the entry that a write needs.
 * Context: pt_lock held. */
static always_inline uint64_t block_adopt(struct region *r, va_t va,
					  struct page *block)
{
	require(spin_held(&r->mm->pt_lock));
	page_set_anon(block, r, va);
	page_ref_to_map(block);
	r->mm->mapped += BLOCK_PAGES;
	return entry_make(block, r->prot) | PTE_PS | PTE_A | PTE_D;
}

/* Return the entry that maps the block of zeroes for a read, counted.
 * Context: pt_lock held. */
static always_inline uint64_t zeroes_adopt(struct region *r,
					   struct page *zeroes)
{
	require(spin_held(&r->mm->pt_lock));
	page_map_add(zeroes);
	return page_pa(zeroes) | entry_rights(r->prot, false) | PTE_PS | PTE_A;
}

/* Map the block, for a read the one of zeroes, at slot, or at a new one if it is NULL,
 * if no entry and no table is there yet.  Returns 0, -EAGAIN, or -ENOMEM if a table above
 * is missing.  Context: mm->lock and pt_lock held. */
static always_inline int block_map(struct region *r, va_t va, uint64_t *slot,
				   struct page *block, struct page *table,
				   bool write)
{
	struct mm *mm = r->mm;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	if (!slot)
		slot = pt_slot(&mm->pt, va, 1, true);
	if (!slot)
		return err(ENOMEM);
	if (pte_read(slot))
		return -EAGAIN;
	pt_set(&mm->pt, slot,
	       write ? block_adopt(r, va, block) : zeroes_adopt(r, block));
	huge_deposit(mm, table);
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
		ret = block_map(r, start, slot, block, table, true);
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

/* Map the block of zeroes for a read.  Context and result: as huge_new(). */
static noinline int huge_zeroes(struct region *r, va_t va, uint64_t *slot)
{
	struct page *zeroes = huge_zero_get(), *table;
	int ret = -ENOMEM;

	require(rw_held(&r->mm->lock) && may_sleep());
	table = zeroes ? page_alloc() : NULL;
	if (table) {
		spin_lock(&r->mm->pt_lock);
		ret = block_map(r, ALIGN_DOWN(va, BLOCK_SIZE), slot, zeroes,
				table, false);
		spin_unlock(&r->mm->pt_lock);
		if (ret)
			page_put(table);
	}
	if (ret == -ENOMEM)
		huge_count_fault(false);
	return ret;
}

/* Put the block where the block of zeroes is: clear, flush, set, so that no MMU writes
 * while another still reads the zeroes.  Returns 0, or -EAGAIN if the entry has
 * changed.  Context: mm->lock and pt_lock held, inside an invalidation. */
static int zeroes_replace(struct region *r, va_t start, struct page *block)
{
	uint64_t *slot = huge_slot(r->mm, start), e;
	struct mm *mm = r->mm;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	if (!slot || !entry_huge_zero(pte_read(slot)))
		return -EAGAIN;
	e = block_adopt(r, start, block);
	pte_xchg(slot, 0);
	PROBE(pte_clear, mm, start);
	tlb_flush_range(mm, start, start + BLOCK_SIZE); //: unzero-flushes
	pte_write(slot, e);
	PROBE(pte_set, mm, start);
	page_map_drop(huge_zero);
	return 0;
}

/* Give a write a block of its own in place of that of zeroes.  Context: mm->lock held;
 * may sleep.  Returns 0, or -EAGAIN, without memory after a split. */
static noinline int huge_unzero(struct region *r, va_t va)
{
	va_t start = ALIGN_DOWN(va, BLOCK_SIZE);
	struct page *block = pages_alloc_bare(BLOCK_ORDER);
	struct mmu_notifier_range range;
	int ret;

	require(rw_held(&r->mm->lock) && may_sleep());
	if (!block) {
		huge_count_fault(false);
		huge_split_slow(r->mm, start);
		return -EAGAIN;
	}
	pages_zero(block, BLOCK_ORDER);
	PROBE(fault_fresh, r->mm, start);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, r->mm, start,
				start + BLOCK_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&r->mm->pt_lock);
	ret = zeroes_replace(r, start, block);
	spin_unlock(&r->mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	if (ret)
		page_put(block);
	else
		huge_count_fault(true);
	return ret;
}

/* Serve a fault at the huge entry in slot.  Context: mm->lock and pt_lock held.
 * Returns 0, -EAGAIN after a split, or -EBUSY if a block must replace that of
 * zeroes. */
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
		if (entry_huge_zero(e) && want == WANT_WRITE &&
		    huge_wanted(r, va))
			return -EBUSY;
		if (!block_sole(head)) {
			huge_split(mm, va);
			return -EAGAIN;
		}
		page_set_exclusive(head);
	}
	if (want == WANT_UNSHARE)
		return 0;
	if (unlikely(r->prot & PROT_TRACK))
		track_note(mm, start, start + BLOCK_SIZE); //: track-huge
	pte_or(slot, ENTRY_W | PTE_A | PTE_D);
	PROBE(pte_upgrade, mm, start);
	tlb_upgrade_range(mm, start, start + BLOCK_SIZE);
	return 0;
}

/* Wait for the block of an entry without access; if it is not on its way any more, give
 * the entry the access that its region allows.  Context: mm->lock held; pt_lock held,
 * dropped.  Returns -EAGAIN. */
static noinline int huge_no_access(struct region *r, va_t va, uint64_t *slot)
{
	struct page *head = entry_page(pte_read(slot));
	struct mm *mm = r->mm;
	bool moving = page_moving(head);

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	if (!moving) {
		pte_write(slot, entry_with_access(pte_read(slot), r->prot));
		PROBE(pte_set, mm, ALIGN_DOWN(va, BLOCK_SIZE));
	}
	spin_unlock(&mm->pt_lock);
	if (moving)
		moving_wait(head); //: huge-fault-waits
	return -EAGAIN;
}

/* Serve the fault by a huge entry.  Context: mm->lock held, so that no table is freed.
 * Returns 0, -EAGAIN, or -ENOMEM if there is none and none was made. */
static int fault_huge(struct region *r, va_t va, enum want want)
{
	uint64_t *slot = pt_slot(&r->mm->pt, va, 1, false);
	int ret = -ENOMEM;

	require(rw_held(&r->mm->lock));
	/* This look needs no lock: block_map() and fault_table() look again. */
	if (!slot || !pte_read(slot)) {
		if (want == WANT_UNSHARE || !huge_wanted(r, va))
			return -ENOMEM;
		return want == WANT_WRITE ? huge_new(r, va, slot)
					  : huge_zeroes(r, va, slot);
	}
	spin_lock(&r->mm->pt_lock);
	if (unlikely((pte_read(slot) & (PTE_P | PTE_PS)) == PTE_PS))
		return huge_no_access(r, va, slot);
	if (entry_huge(pte_read(slot)))
		ret = huge_mapped(r, va, slot, want);
	spin_unlock(&r->mm->pt_lock);
	return ret == -EBUSY ? huge_unzero(r, va) : ret;
}

uint64_t *fault_table(struct region *r, va_t va, enum want want, int *ret)
{
	struct mm *mm = r->mm;
	uint64_t *slot;

	require(rw_held(&mm->lock) && may_sleep());
	*ret = fault_huge(r, va, want);
	/* A region of the fixed pool has all its entries. */
	require(!(r->flags & MAP_HUGETLB && *ret));
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
