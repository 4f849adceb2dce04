/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - unmap, freeze, copy, change the owner, map again
 *
 * The entries of a private page name the new frame from the moment of their flush on,
 * and have a reference on it: so the old frame's count says whether anybody else uses
 * the page, and fork, unmap, exit, protect and move treat the entries as evicted ones.
 * PG_MOVING makes faults wait.  At its end the entries are those of an evicted
 * page, and the walk that maps them only saves faults.
 *
 * One of the two may be a page in the memory of a device: then the device copies, and
 * the entries that name it are device entries, which are evicted ones in all of this.
 */
#include "mm/rmap/migrate.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/object.h"
#include "mm/core/device.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/swap/swap.h"

/* An object's slot leads to the new frame. */
static void object_moved(struct page *from, struct page *to)
{
	object_page_move(to->mapping.object, to->index, from, to);
}

static page_mover *movers[PAGE_KINDS] = { [PAGE_OBJECT] = object_moved };

void migrate_set_mover(enum page_kind kind, page_mover *fn)
{
	assert(!movers[kind]);
	movers[kind] = fn;
}

/* ---- entries --------------------------------------------------------------- */

/* Return the slot of the region's evicted entry that names page, or NULL.
 * Context: region->mm->pt_lock held. */
static uint64_t *evicted_entry(struct page *page, struct region *region,
			       va_t va)
{
	uint64_t *slot = pt_slot(&region->mm->pt, va, 0, false), e;

	require(spin_held(&region->mm->pt_lock));
	e = slot ? pte_read(slot) : 0;
	return entry_evicted(e) && entry_names(e, page) ? slot : NULL;
}

/* rmap_visit of the page, after an error: map it where an entry names the frame to
 * which it did not move. */
static bool return_visit(struct page *page, struct region *region, va_t va,
			 void *arg)
{
	struct page *to = arg;
	struct mm *mm = region->mm;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = evicted_entry(to, region, va);
	if (slot) {
		/* A fork has met the entry. */
		if (!page_exclusive(to))
			page_clear_exclusive(page);
		e = entry_make_moving(page, pte_read(slot),
				      pte_read(slot) & PTE_D);
		if (page_is_device(page)) {
			page_get(page);
		} else {
			page_map_add(page);
			mm->mapped++;
			e = entry_unevict(e, READ_ONCE(region->prot));
		}
		pte_write(slot, e);
		PROBE(pte_set, mm, va);
		page_put(to);
	}
	spin_unlock(&mm->pt_lock);
	return page_refs(to) > 1;
}

/* rmap_visit: map the page where an evicted entry names it. */
static bool map_visit(struct page *page, struct region *region, va_t va,
		      void *arg)
{
	struct mm *mm = region->mm;
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = evicted_entry(page, region, va);
	if (slot)
		entry_map_evicted(page, region, va, slot);
	spin_unlock(&mm->pt_lock);
	return page_refs(page) > page_maps(page) + 1;
}

/* ---- the frame ------------------------------------------------------------- */

/* Return the kind of a page without an owner: of RAM, or of a device's memory. */
static enum page_kind kind_idle(const struct page *page)
{
	return page_is_device(page) ? PAGE_VRAM : PAGE_KERNEL;
}

/* Return the kind of a page of this kind when it is in frame `to`. */
static enum page_kind kind_in(enum page_kind kind, const struct page *to)
{
	if (page_is_device(to))
		return PAGE_DEVICE;
	return kind == PAGE_DEVICE ? PAGE_ANON : kind;
}

void page_move_owner(struct page *page, struct page *to)
{
	enum page_kind kind = page_kind(page);

	/* A page of an object keeps its slot. */
	page_set(to, page_flags(page) & (PG_DIRTY | PG_SWAP));
	if (!page_exclusive(page))
		page_clear_exclusive(to);
	page_change_kind(to, kind_idle(to), kind_in(kind, to), page->mapping,
			 page->index);
	if (movers[kind])
		movers[kind](page, to);
	page_change_kind(page, kind, kind_idle(page), (struct page *)NULL, 0);
	page_clear(page, PG_EXCLUSIVE | PG_DIRTY | PG_LAZY | PG_SWAP);
}

int page_move_content(struct page *to, struct page *page)
{
	struct page *device = page_is_device(to) ? to : page;
	struct device_memory *dm;

	require(may_sleep());
	if (likely(!page_is_device(device))) {
		page_copy(to, page); //: migrate-copies
		return 0;
	}
	dm = device_memory_of(device);
	return dm->ops->copy(dm, to, page);
}

/* Do page_move_frame(). */
static always_inline int move_frame(struct page *page, struct page *to)
{
	uint64_t count = page_move_count(page);
	int ret;

	/* The caller may have the last reference on a block of 2 MiB. */
	if (page_order(page) || !page_freeze(page, count))
		return err(EBUSY);
	assert(!page_cached(page));
	PROBE(migrate_frozen, page, to);
	/* The last write of every MMU is in the frame: all were flushed (B42), and
	 * no thread can get a reference, and with it a new mapping. */
	ret = page_move_content(to, page);
	PROBE(migrate_copied, page, to);
	if (ret) {
		page_unfreeze(page, count);
		return ret;
	}
	if (page_kind(page) == PAGE_OBJECT)
		page_get(to);
	page_move_owner(page, to);
	page_unfreeze(page, PAGE_REF);
	return 0;
}

int page_move_frame(struct page *page, struct page *to)
{
	require(may_sleep());
	return move_frame(page, to);
}

/* A fork may copy an entry to where the walk has been, so it ends when only the caller
 * has a reference on `to`. */
void page_move_back(struct page *page, struct page *to)
{
	require(may_sleep() && locks_below(RANK_LINKS));
	while (page_refs(to) > 1)
		rmap_walk(page, return_visit, to);
	page_clear_exclusive(to);
}

/* Do migrate_page() for a page that is marked. */
static int move_page(struct page *page, struct page *to)
{
	int ret;

	ret = evict_to(page, to);
	PROBE(migrate_unmapped, page, to);
	if (!ret)
		ret = move_frame(page, to);
	if (ret)
		page_move_back(page, to);
	return ret;
}

/* Do migrate_page() for a page that the caller has marked with moving_begin(). */
static int migrate_marked(struct page *page, struct page *to)
{
	int ret;

	page_set(to, PG_MOVING | (page_flags(page) & PG_EXCLUSIVE));
	ret = move_page(page, to);
	moving_end(to);
	moving_end(page);
	if (!ret && !page_is_device(to))
		rmap_walk(to, map_visit, NULL);
	return ret;
}

/* Do migrate_page() for a page that a thread may move. */
static int migrate(struct page *page, struct page *to)
{
	if (!moving_begin(page))
		return err(EBUSY);
	return migrate_marked(page, to);
}

int migrate_page(struct page *page, struct page *to)
{
	enum page_kind kind = page_kind(page);
	struct object *object = NULL;
	int ret;

	require(may_sleep() && locks_below(RANK_LINKS));
	assert(page_kind(to) == kind_idle(to) && page_count(to) == PAGE_REF);
	if (!kind_user(kind) || (page_is_device(to) && kind != PAGE_ANON))
		return err(EINVAL);
	if (page_pins(page) || page_cached(page))
		return err(EBUSY);
	/* The slots of an object stay while it has a user. */
	if (kind == PAGE_OBJECT) {
		object = page->mapping.object;
		if (!object_try_get(object))
			return err(EBUSY);
	}
	ret = migrate(page, to);
	if (object)
		object_put(object);
	return ret;
}

/* ---- back from a device ---------------------------------------------------- */

int device_page_to_ram(struct page *page)
{
	struct page *to;
	int ret;

	require(may_sleep() && locks_below(RANK_LINKS));
	assert(page_kind(page) == PAGE_DEVICE && page_test(page, PG_MOVING));
	to = page_alloc();
	if (!to) {
		moving_end(page);
		return err(ENOMEM);
	}
	ret = migrate_marked(page, to);
	page_put(to);
	return ret;
}

unsigned device_memory_evict(struct device_memory *dm, unsigned n)
{
	unsigned moved = 0;

	require(may_sleep() && locks_below(RANK_LINKS));
	for (unsigned i = 0; i < dm->pages && moved < n; i++) {
		struct page *page = dm->first + i;

		if (!page_try_get_user(page))
			continue;
		if (moving_begin(page))
			moved += !device_page_to_ram(page);
		page_put(page);
	}
	return moved;
}
