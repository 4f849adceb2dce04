/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - from a page to every entry that maps it
 *
 * A page leads to its anon_vma or object and has a page number there; the
 * interval tree of that leads to the regions that cover this number; a region
 * gives the address.  Nothing is stored per entry: a fork costs nothing here per
 * page, and a walk must look into each table to see whether the region really
 * maps the page.  A merged page came from several anon_vmas and has a link to
 * each, with a page number (mm/ksm/ksm_rmap.c).
 *
 * Lock order (kernel/lock.h enforces it):
 *
 *   mm->lock                 regions                          sleeping
 *     ksm.links_lock           anon_vmas of merged pages      sleeping
 *       anon_vma->root->lock   } which region may map which   sleeping
 *       object->lock           } page: "the rmap lock"
 *       mm->pt_lock              entries                      spinning
 *
 * A walk takes no mm->lock.  It finds every mapping that exists during the whole
 * walk, because a region is in the trees before its first entry is made and until
 * its last one is gone, and because a move (mm_remap()) holds the rmap lock.  It
 * may miss a mapping that is made during the walk: page_maps() is not 0 then, and
 * callers walk again.
 *
 * A reference keeps kind, page->mapping and page->index, which the walk uses: they
 * change only while the frame is frozen, and page_freeze() fails if a reference
 * exists that its caller does not account for (mm/frame/page.h).  The reference may
 * come from an entry under pt_lock or from the frame's number.
 */
#pragma once

#include "mm/core/entry.h"
#include "mm/rmap/anon_vma.h"
#include "mm/rmap/region.h"

/*
 * Visits a region that may map page at va.  rmap_entry() tells, under
 * region->mm->pt_lock.  Returns false to end the walk.  It is called with the
 * page's rmap lock held to read; for a merged page that of one anon_vma at a time,
 * and ksm.links_lock.
 */
typedef bool rmap_visit(struct page *page, struct region *region, va_t va,
			void *arg);

/*
 * Visit every region that may map the page, in the order in which regions were
 * linked: the original owner before its forks.  A page that is not of a user's
 * kind has no visits.
 *
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on page, from page_get() or page_try_get_user().
 */
void rmap_walk(struct page *page, rmap_visit *visit, void *arg);

/* Return the address of the page with this number in the region, which covers it. */
static inline va_t region_va(const struct region *region, uint64_t index)
{
	return region->start + ((index - region->pgoff) << PAGE_SHIFT);
}

/*
 * Visit every region that may map pages of the owner of `page`, a private page or one of
 * an object, that have the numbers [first, last].  Each is visited once, with the rmap
 * lock held to read.  Context: as rmap_walk().
 */
typedef void rmap_visit_range(struct region *region, void *arg);
void rmap_walk_range(struct page *page, uint64_t first, uint64_t last,
		     rmap_visit_range *visit, void *arg);

/* An entry of either size: its slot, or NULL, and what it translates. */
struct rmap_leaf {
	uint64_t *slot;
	va_t start, end;
};

/* Return region's entry that maps page at va, of 4 KiB or 2 MiB.  A no-access entry
 * maps the page, too.  Context: region->mm->pt_lock held. */
struct rmap_leaf rmap_leaf(struct page *page, struct region *region, va_t va);

/*
 * Return the slot of region's entry of 4 KiB that maps page at va, or NULL.
 * Context: region->mm->pt_lock held.
 */
static always_inline uint64_t *rmap_entry(struct page *page,
					  struct region *region, va_t va)
{
	uint64_t *slot, e;

	require(spin_held(&region->mm->pt_lock));
	slot = pt_slot(&region->mm->pt, va, 0, false);
	if (!slot)
		return NULL;
	e = pte_read(slot);
	return entry_mapped(e) && pt_pa(e) == page_pa(page) ? slot : NULL;
}

/*
 * Evict the page from every table that maps it: the entry of a private page
 * becomes an evicted one, which the next fault maps again; that of an object's
 * page becomes a hole.  When it returns 0 no CPU and no secondary MMU has a
 * translation to the page.  Linux: try_to_unmap(), try_to_migrate().
 *
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on page, as for rmap_walk().
 * Returns 0; -EBUSY if a mapping is in a MAP_LOCKED region, if the page is pinned,
 * or if a fork or a merge made a mapping during the walk.  Entries that were
 * evicted before stay so; the only visible effect is one more page fault.
 */
must_check int try_to_unmap(struct page *page);

/* Return the count of a page that only the moving thread uses: a reference
 * of that thread, and the object's if it belongs to one. */
static inline uint64_t page_move_count(const struct page *page)
{
	return (page_kind(page) == PAGE_OBJECT ? 2 : 1) * PAGE_REF;
}

/*
 * Do try_to_unmap(), but entries of a private page become evicted ones that name
 * `to`, with A and D, and have a reference on that; so do those that were evicted
 * before.  For migrate_page().  Context, returns: as try_to_unmap().
 */
must_check int evict_to(struct page *page, struct page *to);

/*
 * Evict a page from every table, write it to a swap slot, and free its frame, which is
 * free when the caller drops its reference.  Entries of a private or merged page name the
 * slot; those of an object's page become holes, and the object has the slot.  The
 * next fault of a CPU or a device brings the content back (mm/space/swap_in.h,
 * object_page()).  Linux: shrink_folio_list(), for one page; shmem_writepage().
 *
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on page, as for rmap_walk().
 * Returns 0; -EINVAL for a page of another kind; -ENOSPC if the store is full or
 * there is none, with nothing changed; -EBUSY as try_to_unmap(), and if the page has
 * another reference or came back meanwhile; -EIO if the write failed.  After an
 * error no content is lost: the page is in memory, mapped, or found by the next
 * fault.
 */
must_check int swap_out(struct page *page);

#define EVICT_BATCH 16u /* entries that one flush is made for               */

/* Pages that entries of one mm map; no page is there twice. */
struct evict_batch {
	struct mm *mm;
	unsigned count; /* used of entries[]                                 */
	struct evict_entry {
		struct page *page; /* with a reference of the caller's       */
		va_t va;           /* where mm maps it                       */
		/* of swap_out_batch(): */
		uint64_t *slot; /* of the cleared entry, or NULL             */
		uint64_t old;   /* the cleared entry                         */
		uint32_t swp;   /* 0: the page stays                         */
	} entries[EVICT_BATCH];
};

/*
 * Do swap_out() for each page of the batch, with one flush for all the entries of
 * 4 KiB that the batch names; other mappings are flushed one by one.  Each page is
 * written after that flush.  No region of the addresses is MAP_LOCKED.
 * Context: may sleep; mm->lock held to read, no later lock.
 * Returns how many frames become free when the caller drops its references.
 */
unsigned swap_out_batch(struct evict_batch *batch);

/*
 * Count the mappings of page that were used since the last call, by a CPU or a
 * secondary MMU, clear their accessed bits, and flush, so that the next use is
 * seen.  Linux: folio_referenced().
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on page, as for rmap_walk().
 */
unsigned page_referenced(struct page *page);

/* Do page_referenced() without flushes: later uses through a cached translation
 * are not seen.  Linux: page_idle_clear_pte_refs().  Context: as above. */
unsigned page_mark_idle(struct page *page);

/* Return true if a mapping of page was used since the last call of the two above.
 * Linux: ptep_test_young(), mmu_notifier_test_young().  Context: as above. */
bool page_young(struct page *page);

/*
 * Make every entry of page read-only and clean, and clear PG_DIRTY, which stays for a page
 * of an object that has a swap slot: its next swap-out needs it.  When it returns no
 * CPU and no device can write the page without a fault, which makes its entry writable and
 * dirty again: so a copy that is made from here on is complete, or the next call returns
 * true.  Linux: folio_mkclean(), folio_clear_dirty_for_io().
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on page, as for rmap_walk().
 * Returns whether the page may have been written since the last call.
 */
must_check bool page_mkclean(struct page *page);

/*
 * Walk pages of this kind by walk, which has rmap_walk()'s contract.  Once, at boot,
 * before the first page of the kind.
 */
typedef void rmap_walker(struct page *page, rmap_visit *visit, void *arg);
void rmap_set_walker(enum page_kind kind, rmap_walker *walk);

/* ---- for code that makes and changes regions --------------------------- */

/* Take the region's rmap lock: that of its object, or of its anon_vmas' root. */
void rmap_lock_write(struct region *region);
void rmap_unlock_write(struct region *region);

/*
 * Put the region into the interval trees, after its start, end and pgoff are set.
 * Context: region_rmap_lock held to write.
 */
void rmap_insert(struct region *region);

/* Take the region out of the interval trees.  Context: its rmap lock held to write. */
void rmap_remove(struct region *region);

/*
 * Change the region's place in the interval trees, after start, end or pgoff changed.
 * Context: its rmap lock held to write, since before that change.
 */
void rmap_change(struct region *region);

/*
 * Make page, freshly allocated and known to no other thread, a private page of
 * region at va.  It holds a reference on the region's anon_vma.
 */
static inline void page_set_anon(struct page *page, struct region *region,
				 va_t va)
{
	anon_vma_get(region->anon_vma);
	page_set_exclusive(page);
	page_change_kind(page, PAGE_KERNEL, PAGE_ANON, region->anon_vma,
			 region_pgoff(region, va));
}
