/* SPDX-License-Identifier: MIT */
/*
 * evict.c - evict a page from all tables that map it: try_to_unmap(), swap_out(),
 * evict_to(); and a batch of pages, swap_out_batch()
 *
 * At each mapping the order is the same: clear the entry, flush every MMU that may
 * have cached it, store what replaces it, and only then change the page's counts
 * (docs/invariants.md, B9 and B39).  swap_out() writes the page to its swap slot
 * when no entry is left: after all of these flushes, so that what is written has
 * the last write of every MMU (B42).  A page of an object is marked before, as one that
 * migrates, and frozen while it is written: a thread that wants it waits.
 *
 * A batch does each of these steps for all of its entries, which are of one mm, before
 * the next step, under one hold of pt_lock: clear all, flush once, store and count
 * all.  So no thread finds an entry that is cleared and not flushed (C31, H39, H40).
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/object.h"
#include "mm/frame/moving.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"

/* Return a swapped entry for page, and count it as a user of the slot.
 * Context: the entry's pt_lock. */
static noinline uint64_t entry_swap(struct page *page, swp_t swp)
{
	swap_hold(swp);
	return entry_make_swapped(swp, page_exclusive(page));
}

/* Return the entry that replaces a mapping of page; 0 for a page of an object, which
 * keeps it.  Context: the entry's pt_lock. */
static inline uint64_t entry_without(struct page *page, swp_t swp,
				     struct page *to)
{
	if (page_kind(page) == PAGE_OBJECT)
		return 0;
	if (to) {
		page_get(to);
		return entry_make_evicted(to);
	}
	return unlikely(swp) ? entry_swap(page, swp) : entry_make_evicted(page);
}

/* Replace old, an entry of page at slot that was cleared and flushed, and change the
 * page's counts.  Context: mm->pt_lock held. */
static always_inline void entry_replace(struct page *page, struct mm *mm,
					va_t va, uint64_t *slot, uint64_t old,
					swp_t swp, struct page *to)
{
	uint64_t next = entry_without(page, swp, to);

	require(spin_held(&mm->pt_lock));
	if (entry_dirty(mm, old))
		page_set_dirty(page);
	if (next && to)
		next = entry_make_moving(to, old, entry_dirty(mm, old));
	if (next)
		pte_write(slot, next);
	else
		pt_count(&mm->pt, slot, -1);
	mm->mapped--;
	PROBE(pte_set, mm, va);

	/* An evicted entry keeps the mapping's reference, but does not map.  For
	 * a swapped one the cache has a reference, and one that waits for
	 * another frame has one on that. */
	if (unlikely(swp) && next)
		page_clear_exclusive(page);
	if (likely(next && !swp && !to))
		page_map_to_ref(page);
	else
		page_map_drop(page);
}

/* Evict page from the entry at slot, which maps it.  Context: mm->pt_lock held. */
static always_inline void entry_evict(struct page *page, struct mm *mm, va_t va,
				      uint64_t *slot, swp_t swp,
				      struct page *to)
{
	uint64_t old;

	require(spin_held(&mm->pt_lock));
	old = pte_xchg(slot, 0);
	PROBE(pte_clear, mm, va);
	tlb_flush_range(mm, va, va + PAGE_SIZE);
	entry_replace(page, mm, va, slot, old, swp, to);
}

/* Turn an evicted entry of page, which nothing translates, into a swapped one, or
 * into one that names `to`.  Context: mm->pt_lock held. */
static noinline void entry_change_evicted(struct page *page, struct mm *mm,
					  va_t va, swp_t swp, struct page *to)
{
	uint64_t *slot = pt_slot(&mm->pt, va, 0, false);

	require(spin_held(&mm->pt_lock));
	if (!slot || !entry_evicted(pte_read(slot)) ||
	    !entry_names(pte_read(slot), page))
		return;
	if (to) {
		page_get(to);
		pte_write(slot, entry_make_moving(to, pte_read(slot),
						  pte_read(slot) & PTE_D));
	} else {
		pte_write(slot, entry_swap(page, swp));
		page_clear_exclusive(page);
	}
	page_put(page);
}

/* Return whether the region's pages stay in place. */
static inline bool region_locked(const struct region *region)
{
	return READ_ONCE(region->flags) & MAP_LOCKED;
}

/* Split the huge entry that maps page at va, if there is one.  Returns the entry of
 * page; NULL: none, or with *ret -EBUSY one that must stay.
 * Context: mm->pt_lock held. */
static noinline uint64_t *entry_split(struct page *page, struct region *region,
				      va_t va, int *ret)
{
	require(spin_held(&region->mm->pt_lock));
	if (!rmap_leaf(page, region, va).slot)
		return NULL;
	if (region_locked(region)) {
		*ret = err(EBUSY);
		return NULL;
	}
	huge_split(region->mm, va);
	return rmap_entry(page, region, va);
}

/* Return whether a walk that has no error has more to do. */
static inline bool unmap_more(const struct page *page, swp_t swp,
			      const struct page *to)
{
	if (to)
		return page_count(page) != page_move_count(page);
	if (swp) /* the caller and the cache or the object, and an evicted entry */
		return page_refs(page) > 2;
	return page_maps(page) > 0;
}

/* Evict the page from one region.  Three copies are compiled: eviction without a swap
 * slot or another frame asks for none. */
static always_inline bool unmap_one(struct page *page, struct region *region,
				    va_t va, int *ret, swp_t swp,
				    struct page *to)
{
	struct mmu_notifier_range range;
	struct mm *mm = region->mm;
	uint64_t *slot;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, va,
				va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	slot = rmap_entry(page, region, va);
	if (unlikely(!slot))
		slot = entry_split(page, region, va, ret);
	if (slot && (region_locked(region) || page_pins(page)))
		*ret = err(EBUSY);
	else if (swp && page_swp(page) != swp)
		*ret = err(EBUSY); /* a fault has taken it from the cache */
	else if (slot)
		entry_evict(page, mm, va, slot, swp, to);
	else if (swp || to)
		entry_change_evicted(page, mm, va, swp, to);
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return *ret == 0 && unmap_more(page, swp, to);
}

static bool unmap_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	return unmap_one(page, region, va, arg, 0, NULL);
}

/* What swap_visit() needs. */
struct swap_walk {
	swp_t swp; /* where the content will be                            */
	int ret;
};

static bool swap_visit(struct page *page, struct region *region, va_t va,
		       void *arg)
{
	struct swap_walk *walk = arg;

	return unmap_one(page, region, va, &walk->ret, walk->swp, NULL);
}

/* What move_visit() needs. */
struct move_walk {
	struct page *to; /* the frame that entries name                     */
	int ret;
};

static bool move_visit(struct page *page, struct region *region, va_t va,
		       void *arg)
{
	struct move_walk *walk = arg;

	return unmap_one(page, region, va, &walk->ret, 0, walk->to);
}

/* Return the result of a walk: a fork or a merge may have made a mapping in a region
 * that it had visited. */
static int walk_result(const struct page *page, int ret)
{
	return ret == 0 && page_maps(page) > 0 ? err(EBUSY) : ret;
}

int try_to_unmap(struct page *page)
{
	int ret = 0;

	require(may_sleep() && locks_below(RANK_LINKS));
	rmap_walk(page, unmap_visit, &ret);
	return walk_result(page, ret);
}

int evict_to(struct page *page, struct page *to)
{
	struct move_walk walk = { to, 0 };

	require(may_sleep() && locks_below(RANK_LINKS));
	rmap_walk(page, move_visit, &walk);
	return walk_result(page, walk.ret);
}

/*
 * Write an object's page that no entry maps, and let its frame leave the object: while it
 * is frozen no thread can get the page, and those that want it wait for the mark.
 * Returns 0; -EBUSY if it has another user; -EIO.
 */
static noinline int object_write(struct page *page, swp_t swp)
{
	uint64_t count = page_move_count(page);
	int ret = 0;

	if (!page_freeze(page, count))
		return err(EBUSY);
	PROBE(swap_frozen, page, swp);
	ret = swap_out_write(page, swp);
	if (ret)
		page_unfreeze(page, count);
	return ret;
}

/* End the swap-out of an object's page, which is frozen if it is stored.  Clears
 * PG_MOVING. */
static noinline void object_end(struct page *page, swp_t swp)
{
	struct object *object = page->mapping.object;

	if (swap_object_end(page, swp)) {
		object_page_leave(object, page->index, page, swp);
		page_unfreeze(page, PAGE_REF);
	}
	moving_end(page);
	object_put(object);
}

/* Mark a page of an object, which gets a user more: its places stay meanwhile.  Returns 0
 * or -EBUSY. */
static noinline int object_begin(struct page *page)
{
	struct object *object = page->mapping.object;

	if (!object_try_get(object))
		return err(EBUSY);
	if (moving_begin(page))
		return 0;
	object_put(object);
	return err(EBUSY);
}

/* Begin the swap-out of a page.  Returns as swap_out(). */
static always_inline int swap_begin(struct page *page, swp_t *swp)
{
	bool shared = page_kind(page) == PAGE_OBJECT;
	int ret = unlikely(shared) ? object_begin(page) : 0;

	if (ret)
		return ret;
	ret = swap_out_begin(page, swp);
	if (!ret) {
		PROBE(swap_begun, page, *swp);
	} else if (shared) {
		moving_end(page);
		object_put(page->mapping.object);
	}
	return ret;
}

/* Do what is left of a swap-out that has begun: evict page from the tables that still
 * have it, if there may be any, write it, and end.  Returns as swap_out(). */
static always_inline int swap_out_rest(struct page *page, swp_t swp, bool more)
{
	bool shared = page_kind(page) == PAGE_OBJECT;
	struct swap_walk walk = { swp, 0 };
	int ret;

	if (more)
		rmap_walk(page, swap_visit, &walk);
	ret = walk_result(page, walk.ret);
	if (!ret) {
		PROBE(swap_unmapped, page, swp);
		ret = shared ? object_write(page, swp)
			     : swap_out_write(page, swp);
	}
	if (shared)
		object_end(page, swp);
	else if (!swap_out_end(page, swp) && !ret)
		ret = err(EBUSY);
	return ret;
}

int swap_out(struct page *page)
{
	swp_t swp;
	int ret;

	require(may_sleep() && locks_below(RANK_LINKS));
	if (!kind_user(page_kind(page)) || page_is_device(page))
		return err(EINVAL);
	ret = swap_begin(page, &swp);
	return ret ? ret : swap_out_rest(page, swp, true);
}

/* ---- a batch --------------------------------------------------------------- */

/* Begin an invalidation for each run of neighbours.  Returns how many there are. */
static unsigned batch_start(struct evict_batch *batch,
			    struct mmu_notifier_range *ranges)
{
	unsigned n = 0, next;

	for (unsigned i = 0; i < batch->count; i = next) {
		va_t start = batch->entries[i].va, end = start;

		for (next = i;
		     next < batch->count && batch->entries[next].va == end;
		     next++)
			end += PAGE_SIZE;
		mmu_notifier_range_init(&ranges[n], MMU_NOTIFY_CLEAR, batch->mm,
					start, end);
		mmu_notifier_invalidate_range_start(&ranges[n++]);
	}
	return n;
}

/* Clear the entry of 4 KiB at entry->va, if it maps the page and may be evicted.  What
 * is left is for the walk.  Context: mm->pt_lock held. */
static bool batch_clear(struct mm *mm, struct evict_entry *entry)
{
	uint64_t *slot = pt_slot(&mm->pt, entry->va, 0, false);

	require(spin_held(&mm->pt_lock));
	entry->slot = NULL;
	if (!entry->swp || page_swp(entry->page) != entry->swp || !slot ||
	    !entry_mapped(pte_read(slot)) ||
	    !entry_names(pte_read(slot), entry->page) || page_pins(entry->page))
		return false;
	entry->slot = slot;
	entry->old = pte_xchg(slot, 0);
	PROBE(pte_clear, mm, entry->va);
	return true;
}

/* Clear the entries, flush them at once, and make them swapped ones.
 * Context: mm->pt_lock held. */
static void batch_evict(struct evict_batch *batch)
{
	struct evict_entry *entry, *end = batch->entries + batch->count;
	va_t first = USER_END, last = 0;
	struct mm *mm = batch->mm;

	require(spin_held(&mm->pt_lock));
	for (entry = batch->entries; entry < end; entry++) {
		if (!batch_clear(mm, entry))
			continue;
		if (entry->va < first)
			first = entry->va;
		if (entry->va >= last)
			last = entry->va + PAGE_SIZE;
	}
	if (!last)
		return;
	tlb_flush_range(mm, first, last);
	for (entry = batch->entries; entry < end; entry++)
		if (entry->slot)
			entry_replace(entry->page, mm, entry->va, entry->slot,
				      entry->old, entry->swp, NULL);
}

unsigned swap_out_batch(struct evict_batch *batch)
{
	struct mmu_notifier_range ranges[EVICT_BATCH];
	struct evict_entry *entry, *end = batch->entries + batch->count;
	unsigned n, freed = 0;

	require(may_sleep() && rw_held(&batch->mm->lock));
	for (entry = batch->entries; entry < end; entry++)
		if (swap_begin(entry->page, &entry->swp))
			entry->swp = 0;
	n = batch_start(batch, ranges);
	spin_lock(&batch->mm->pt_lock);
	batch_evict(batch);
	spin_unlock(&batch->mm->pt_lock);
	while (n)
		mmu_notifier_invalidate_range_end(&ranges[--n]);
	for (entry = batch->entries; entry < end; entry++)
		if (entry->swp)
			freed += !swap_out_rest(
				entry->page, entry->swp,
				unmap_more(entry->page, entry->swp, NULL));
	return freed;
}
