/* SPDX-License-Identifier: MIT */
/*
 * migrate_pages.c - the steps of migrate_page(), each for a batch of pages
 *
 * An entry becomes one that names the new frame in the store that clears it.  It is
 * visible before the flush, but pt_lock is held from that store to the end of the
 * flush: a thread that finds it under the lock knows that no MMU has the old one.
 */
#include "mm/move/migrate_pages.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/object.h"
#include "mm/frame/moving.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/swap/swap.h"

/* The table of level 0 that was found last. */
struct near {
	va_t base; /* the first address that it serves                      */
	uint64_t *slots;
};

/* A run of the list: pages of one owner. */
struct batch {
	struct page_move *list;
	unsigned n;
	uint64_t live;        /* of page i: it is on its way                */
	uint64_t first, last; /* their numbers in the owner                 */
};

#define for_each_live(i, b)                   \
	for (unsigned i = 0; i < (b)->n; i++) \
		if ((b)->live & BIT(i))

/* Return whether the page can be in a batch.  A block's head is split first, a merged page
 * has many owners, and a page in the memory of a device does not concern a CPU. */
static bool batchable(const struct page_move *m)
{
	enum page_kind kind = page_kind(m->page);

	return (kind == PAGE_ANON || kind == PAGE_OBJECT) &&
	       !page_order(m->page) && !page_is_device(m->to);
}

/* Make a batch of the first pages of a list of n. */
static void batch_find(struct batch *b, struct page_move *list, unsigned n)
{
	const struct page *page = list->page;

	*b = (struct batch){
		.list = list, .n = 1, .first = page->index, .last = page->index
	};
	for (; b->n < n && b->n < MOVE_BATCH; b->n++) {
		const struct page *next = list[b->n].page;
		uint64_t first = next->index, last = next->index;

		if (!batchable(&list[b->n]) ||
		    page_kind(next) != page_kind(page) ||
		    next->mapping.next != page->mapping.next)
			break;
		first = first < b->first ? first : b->first;
		last = last > b->last ? last : b->last;
		if (last - first >= BLOCK_PAGES)
			break;
		b->first = first;
		b->last = last;
	}
}

/* Mark the pages that may move. */
static void batch_begin(struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct page_move *m = &b->list[i];

		assert(page_kind(m->to) == PAGE_KERNEL &&
		       page_count(m->to) == PAGE_REF);
		m->ret = 0;
		if (page_pins(m->page) || page_cached(m->page) ||
		    !moving_begin(m->page)) {
			m->ret = err(EBUSY);
			continue;
		}
		page_set(m->to,
			 PG_MOVING | (page_flags(m->page) & PG_EXCLUSIVE));
		b->live |= BIT(i);
	}
}

/* Return the slot of the entry of 4 KiB at va, or NULL: most are in the table of the one
 * before.  Context: mm->pt_lock held since the first call. */
static inline uint64_t *slot_near(struct mm *mm, struct near *near, va_t va)
{
	require(spin_held(&mm->pt_lock));
	if (unlikely(!near->slots || va - near->base >= BLOCK_SIZE)) {
		uint64_t *slot = pt_slot(&mm->pt, va, 0, false);

		near->base = ALIGN_DOWN(va, BLOCK_SIZE);
		near->slots = slot ? slot - pt_index(va, 0) : NULL;
		return slot;
	}
	return near->slots + pt_index(va, 0);
}

/* ---- unmap ----------------------------------------------------------------- */

/* Let the entry at slot name the new frame; of an object's page it becomes a hole.
 * Returns whether it mapped the page: its count changes after the flush.
 * Context: mm->pt_lock held. */
static bool entry_leave(const struct page_move *m, struct mm *mm, va_t va,
			uint64_t *slot)
{
	bool shared = page_kind(m->page) == PAGE_OBJECT;
	uint64_t old = pte_read(slot), next = 0;

	require(spin_held(&mm->pt_lock));
	if (!shared)
		page_get(m->to);
	do
		if (!shared)
			next = entry_make_moving(m->to, old,
						 entry_dirty(mm, old));
	while (!pte_cmpxchg(slot, &old, next));
	if (!entry_mapped(old)) {
		page_put(m->page);
		return false;
	}
	PROBE(pte_clear, mm, va);
	if (entry_dirty(mm, old))
		page_set_dirty(m->page);
	if (shared)
		pt_count(&mm->pt, slot, -1);
	mm->mapped--;
	return true;
}

/* Take one page out of the region's table.  Returns whether it was mapped there.
 * Context: mm->pt_lock held. */
static bool page_leave(struct page_move *m, struct region *region, va_t va,
		       struct near *near)
{
	bool stays = READ_ONCE(region->flags) & MAP_LOCKED;
	struct mm *mm = region->mm;
	uint64_t *slot = slot_near(mm, near, va);

	require(spin_held(&mm->pt_lock));
	if (unlikely(!slot)) {
		slot = rmap_leaf(m->page, region, va).slot;
		if (slot && !stays) {
			huge_split(mm, va);
			slot = pt_slot(&mm->pt, va, 0, false);
		}
	} else if (!entry_names(pte_read(slot), m->page)) {
		slot = NULL;
	}
	if (!slot)
		return false;
	if (entry_mapped(pte_read(slot)) && (stays || page_pins(m->page))) {
		m->ret = err(EBUSY);
		return false;
	}
	return entry_leave(m, mm, va, slot);
}

/* Return whether the region has a page with this number. */
static bool region_has(const struct region *region, uint64_t index)
{
	return index >= region->pgoff &&
	       index < region_pgoff(region, region->end);
}

/* Set the range of addresses that the batch has in a region. */
static void batch_range(const struct batch *b, const struct region *region,
			va_t *start, va_t *end)
{
	*start = region_has(region, b->first) ? region_va(region, b->first)
					      : region->start;
	*end = region_has(region, b->last)
		       ? region_va(region, b->last) + PAGE_SIZE
		       : region->end;
}

/* rmap_visit_range: take the batch out of one region's table. */
static void leave_visit(struct region *region, void *arg)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	struct batch *b = arg;
	struct near near = { 0 };
	uint64_t left = 0;
	va_t start, end;

	batch_range(b, region, &start, &end);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	for_each_live(i, b)
	{
		struct page_move *m = &b->list[i];

		if (!m->ret && region_has(region, m->page->index) &&
		    page_leave(m, region, region_va(region, m->page->index),
			       &near))
			left |= BIT(i);
	}
	if (left)
		tlb_flush_range(mm, start, end); //: pages-flush
	for_each_live(i, b)
	{
		if (left & BIT(i)) {
			PROBE(pte_set, mm,
			      region_va(region, b->list[i].page->index));
			page_map_drop(b->list[i].page);
		}
	}
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
}

/* ---- move ------------------------------------------------------------------ */

/* Copy the pages that no entry maps any more, and give back the others. */
static void batch_move(struct batch *b)
{
	for_each_live(i, b)
	{
		struct page_move *m = &b->list[i];

		PROBE(migrate_unmapped, m->page, m->to);
		if (!m->ret && page_maps(m->page))
			m->ret = err(EBUSY); /* a fork, after the walk */
		if (!m->ret)
			m->ret = page_move_frame(m->page, m->to);
		if (m->ret)
			page_move_back(m->page, m->to);
	}
}

/* Let the faults go on. */
static void batch_end(struct batch *b)
{
	for_each_live(i, b)
	{
		moving_clear(b->list[i].to);
		moving_clear(b->list[i].page);
		if (b->list[i].ret)
			b->live &= ~BIT(i);
	}
	moving_wake();
}

/* rmap_visit_range: map the pages that moved where an evicted entry names one. */
static void map_visit(struct region *region, void *arg)
{
	struct near near = { 0 };
	struct mm *mm = region->mm;
	struct batch *b = arg;

	spin_lock(&mm->pt_lock);
	for_each_live(i, b)
	{
		struct page *to = b->list[i].to;
		uint64_t *slot;
		va_t va;

		if (!region_has(region, to->index))
			continue;
		va = region_va(region, to->index);
		slot = slot_near(mm, &near, va);
		if (slot && entry_evicted(pte_read(slot)) &&
		    entry_names(pte_read(slot), to))
			entry_map_evicted(to, region, va, slot);
	}
	spin_unlock(&mm->pt_lock);
}

/* Move the pages of a batch.  Context: an object has a user. */
static void batch_migrate(struct batch *b)
{
	batch_begin(b);
	if (!b->live)
		return;
	rmap_walk_range(b->list->page, b->first, b->last, leave_visit, b);
	batch_move(b);
	batch_end(b);
	for_each_live(i, b)
	{
		struct page *to = b->list[i].to;

		if (page_kind(to) == PAGE_ANON)
			rmap_walk_range(to, b->first, b->last, map_visit, b);
		break; /* the others have its owner */
	}
}

/* Move the first pages of a list of n.  Returns how many it has tried. */
static unsigned some_migrate(struct page_move *list, unsigned n)
{
	struct object *object = NULL;
	struct batch b;

	if (!batchable(list)) {
		list->ret = migrate_page(list->page, list->to);
		return 1;
	}
	batch_find(&b, list, n);
	/* The slots of an object stay while it has a user. */
	if (page_kind(list->page) == PAGE_OBJECT) {
		object = list->page->mapping.object;
		if (!object_try_get(object)) {
			for (unsigned i = 0; i < b.n; i++)
				list[i].ret = err(EBUSY);
			return b.n;
		}
	}
	batch_migrate(&b);
	if (object)
		object_put(object);
	return b.n;
}

unsigned migrate_pages(struct page_move *list, unsigned n)
{
	unsigned moved = 0;

	require(may_sleep() && locks_below(RANK_LINKS));
	for (unsigned i = 0; i < n;)
		i += some_migrate(list + i, n - i);
	for (unsigned i = 0; i < n; i++)
		moved += !list[i].ret;
	return moved;
}
