/* SPDX-License-Identifier: MIT */
/*
 * migrate_block.c - take all access, copy, map the copy
 *
 * The old block keeps its kind and its count of mappings while it is copied, so that a
 * fork, an unmap or a split of an entry does what it does to any other.  Only a change that would
 * give access back waits for the end (block_held()).  A split ends the migration: the
 * entries that are left get their access back.
 */
#include "mm/move/migrate_block.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"

/* What the visitors need. */
struct walk {
	struct page *to;
	int ret;
};

/* Return the slot of the region's huge entry that maps the block at va, or NULL.
 * Context: region->mm->pt_lock held. */
static uint64_t *block_entry(struct page *head, struct region *region, va_t va)
{
	uint64_t *slot;

	require(spin_held(&region->mm->pt_lock));
	slot = IS_ALIGNED(va, BLOCK_SIZE) ? huge_slot(region->mm, va) : NULL;
	return slot && entry_names(pte_read(slot), head) ? slot : NULL;
}

/* Take all access from the entry.  Context: mm->pt_lock held. */
static void entry_hold(struct mm *mm, va_t va, uint64_t *slot)
{
	uint64_t old = pte_read(slot), new;

	require(spin_held(&mm->pt_lock));
	if (!(old & PTE_P))
		return;
	do
		new = (old & ~ENTRY_RIGHTS) | entry_rights(0, false) |
		      (entry_dirty(mm, old) ? PTE_D : 0);
	while (!pte_cmpxchg(slot, &old, new));
	PROBE(pte_protect, mm, va);
	tlb_flush_range(mm, va, va + BLOCK_SIZE); //: block-flush
}

/* rmap_visit: take all access from the entry of one region. */
static bool hold_visit(struct page *head, struct region *region, va_t va,
		       void *arg)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	struct walk *walk = arg;
	uint64_t *slot;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm,
				ALIGN_DOWN(va, BLOCK_SIZE),
				ALIGN_DOWN(va, BLOCK_SIZE) + BLOCK_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	slot = block_entry(head, region, va);
	if (slot && READ_ONCE(region->flags) & MAP_LOCKED)
		walk->ret = err(EBUSY);
	else if (slot)
		entry_hold(mm, va, slot);
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return !walk->ret;
}

/* rmap_visit: let the entry of one region map the new block. */
static bool map_visit(struct page *head, struct region *region, va_t va,
		      void *arg)
{
	struct mm *mm = region->mm;
	struct walk *walk = arg;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = block_entry(head, region, va);
	if (slot && !block_map_move(head, walk->to)) {
		walk->ret = err(EBUSY);
	} else if (slot) {
		e = pte_read(slot);
		pte_write(slot, entry_make(walk->to, READ_ONCE(region->prot)) |
					PTE_PS | (e & (PTE_A | PTE_D)));
		PROBE(pte_set, mm, va);
	}
	spin_unlock(&mm->pt_lock);
	return !walk->ret;
}

/* rmap_visit_range: give back the access that entries of the block have lost, if the region
 * allows it.  An entry that this misses gets it back by the next fault. */
static void return_visit(struct region *region, void *arg)
{
	struct page *head = arg;
	struct mm *mm = region->mm;
	va_t va = region->start;
	struct pt_run run;
	enum prot prot;

	spin_lock(&mm->pt_lock);
	/* Under the lock: mm_protect() stores the rights before it takes it for the
	 * entries, so it changes whatever is given back by older ones. */
	prot = READ_ONCE(region->prot);
	while (prot && pt_next_run(&mm->pt, &va, region->end, &run)) {
		for (unsigned i = 0; i < run.count; i++) {
			uint64_t e = pte_read(&run.slots[i]);

			if (entry_mapped(e) && !(e & PTE_P) &&
			    entry_page(e) - head < (int)BLOCK_PAGES &&
			    entry_page(e) >= head)
				pte_write(&run.slots[i],
					  entry_with_access(e, prot));
		}
		PROBE(pte_set, mm, run.va);
	}
	spin_unlock(&mm->pt_lock);
}

/* Return whether the block is whole and only its entries and the caller use it. */
static bool block_unused(const struct page *head)
{
	return block_whole(head) && !page_pins(head) &&
	       page_refs(head) == page_maps(head) + 1;
}

/* Copy the content: 262,144 moves of 8 bytes. */
static void block_copy(struct page *dst, const struct page *src)
{
	void *to = page_va(dst);
	const void *from = page_va(src);
	uint64_t n = BLOCK_SIZE / 8;

	__asm__ volatile("rep movsq"
			 : "+D"(to), "+S"(from), "+c"(n)
			 :
			 : "memory");
}

/* Make `to` a page like the one that head is, with its content, mapped nowhere. */
static void copy_to(struct page *head, struct page *to)
{
	require(may_sleep());
	block_copy(to, head);
	PROBE(migrate_copied, head, to);
	anon_vma_get(head->mapping.anon_vma);
	if (page_test(head, PG_DIRTY | PG_PARTS))
		page_set_dirty(to);
	page_change_kind(to, PAGE_KERNEL, PAGE_ANON, head->mapping,
			 head->index);
}

/* Make a block of the kernel's of the old one.  Returns 0 or -EBUSY. */
static int block_leave(struct page *head)
{
	struct anon_vma *av = head->mapping.anon_vma;

	require(locks_below(RANK_POOL));
	if (!page_freeze(head, PAGE_REF))
		return err(EBUSY);
	page_change_kind(head, PAGE_ANON, PAGE_KERNEL, (struct page *)NULL, 0);
	page_clear(head, PG_EXCLUSIVE | PG_DIRTY | PG_LAZY);
	page_unfreeze(head, PAGE_REF);
	anon_vma_put(av);
	return 0;
}

/* Do migrate_block() for a block that is marked. */
static int block_move(struct page *head, struct page *to)
{
	struct walk walk = { to, 0 };

	rmap_walk(head, hold_visit, &walk);
	PROBE(migrate_unmapped, head, to);
	/* No MMU has a translation, and there is no other user: the content is
	 * at rest (B43). */
	if (!walk.ret && !block_unused(head))
		walk.ret = err(EBUSY);
	if (walk.ret)
		return walk.ret;
	copy_to(head, to);
	/* A fork may copy an entry to where the walk has been. */
	while (!walk.ret && page_maps(head)) {
		rmap_walk(head, map_visit, &walk);
		if (!block_whole(head))
			return err(EBUSY);
	}
	return walk.ret ? walk.ret : block_leave(head);
}

int migrate_block(struct page *head, struct page *to)
{
	int ret;

	require(may_sleep() && locks_below(RANK_LINKS));
	assert(page_order(to) == BLOCK_ORDER && page_count(to) == PAGE_REF);
	if (!block_whole(head) || page_kind(head) != PAGE_ANON)
		return err(EINVAL);
	if (page_pins(head) || page_swp(head) || !block_hold(head))
		return err(EBUSY);
	page_set(to, PG_MOVING);
	ret = block_move(head, to);
	if (ret)
		rmap_walk_range(head, head->index,
				head->index + BLOCK_PAGES - 1, return_visit,
				head);
	moving_clear(to);
	block_release(head);
	return ret;
}
