/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - from a page to every entry that maps it
 *
 * A page knows its family (anon_vma) or object and its page number there; the
 * family's interval trees know the regions that cover this number; a region
 * knows the address.  Nothing is stored per entry, which is why a fork costs
 * nothing here per page and why the walk looks into each table to see whether
 * the region really maps the page.  A merged page has come from several families
 * and knows each of them, with a page number in each (mm/ksm_node.c).
 *
 * Lock order (kernel/lock.h enforces it):
 *
 *   mm->lock                 regions                          sleeping
 *     ksm.links_lock           families of merged pages       sleeping
 *       anon_vma->root->lock   } who may map which page       sleeping
 *       object->lock           }
 *       mm->pt_lock              entries                      spinning
 *
 * A walk takes no mm->lock.  It finds every mapping that is in place for the
 * whole walk, because a region is in the trees before its first entry is made
 * and until after its last one is gone, and because a move (mm_remap) holds
 * the family's lock.  A mapping that is being made during the walk may be
 * missed: page_maps() then says so, and callers look again.
 */
#pragma once

#include "mm/anon_vma.h"
#include "mm/entry.h"
#include "mm/region.h"

/*
 * One visit: region may map page at va.  Look under region->mm->pt_lock.
 * Returns false to end the walk.
 */
typedef bool rmap_visit(struct page *page, struct region *region, va_t va,
			void *arg);

/*
 * Visit every region that may map the page: who joined the family first comes
 * first, so who has the page before all forks is not searched behind them.
 *
 * Context: the caller holds a reference on page and no lock of RANK_RMAP or
 * above; may sleep.  The lock of the page's family is held around visits; of a
 * merged page that of one family at a time, and ksm.links_lock.
 */
void rmap_walk(struct page *page, rmap_visit *visit, void *arg);

/*
 * The entry in region's table that maps page at va, or NULL.  A no-access
 * entry maps.  Context: region->mm->pt_lock held.
 */
static always_inline uint64_t *rmap_entry(struct page *page,
					  struct region *region, va_t va)
{
	uint64_t *slot, e;

	assert(spin_held(&region->mm->pt_lock));
	slot = pt_slot(&region->mm->pt, va, 0, false);
	if (!slot)
		return NULL;
	e = pte_read(slot);
	return entry_mapped(e) && pt_pa(e) == page_pa(page) ? slot : NULL;
}

/*
 * Make every mapping of page unreachable: private pages are parked behind
 * entries that the next fault maps again, shared ones stay in their object.
 * When it returns 0 no CPU has a translation to the page.
 * Linux: try_to_unmap(), try_to_migrate().
 *
 * Context: as rmap_walk().
 * Returns -EBUSY if a mapping is in a MAP_LOCKED region or the page is pinned;
 * mappings that were undone by then stay undone, which nobody can observe but
 * by the time of the next fault.
 */
must_check int try_to_unmap(struct page *page);

/*
 * How many mappings of page were used since the last call, by a CPU or by any
 * other MMU; forgets the uses.  page_mark_idle() does it without flushes, so
 * that uses through a cached translation are not seen; page_young() only asks.
 * Linux: folio_referenced(), page_idle_clear_pte_refs(), ptep_test_young.
 * Context: as rmap_walk().
 */
unsigned page_referenced(struct page *page);
unsigned page_mark_idle(struct page *page);
bool page_young(struct page *page);

/* ---- for those who make and change regions ----------------------------- */

/* The lock of the region's family or object. */
void rmap_lock_write(struct region *region);
void rmap_unlock_write(struct region *region);

/*
 * Put the region into the trees, or take it out: before and after every change
 * of its start, end or pgoff.  Context: rmap_lock_write() held.
 */
void rmap_insert(struct region *region);
void rmap_remove(struct region *region);

/*
 * The page, freshly allocated and seen by nobody else, becomes a private page
 * of region at va.
 */
static inline void page_set_anon(struct page *page, struct region *region,
				 va_t va)
{
	anon_vma_get(region->anon_vma);
	page->mapping = (uintptr_t)region->anon_vma;
	page->index = region_pgoff(region, va);
	page_set_user(page, PAGE_ANON);
}

/* The last reference of a user page is gone: leave the family or object. */
void page_leave_family(struct page *page);
