/* SPDX-License-Identifier: MIT */
/*
 * swap_in.c - a fault on a swapped entry
 *
 *   slot held (its number stays that of this content)
 *     frame in the cache?   yes: that one, after its read has ended
 *                           no:  a new one is made the slot's frame, and read
 *   pt_lock, entry unchanged?  the frame is mapped, the entry's use of the slot ends
 *
 * All threads that want the content meet in the cache, so there is one frame.  An
 * entry that was exclusive takes the frame out of the cache and may be written; the
 * others map it read-only, and the cache keeps it until no entry names the slot.
 *
 * The regions that may map the frame of a shared slot are those of one tree of forks,
 * so it belongs to the root of the tree.  What KSM had merged is named by entries of
 * other trees too: each gets a copy (Linux: ksm_might_need_to_copy()).
 */
#include "mm/space/swap_in.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/space/mm_priv.h"
#include "mm/swap/swap.h"

struct swap_in {
	struct region *region;
	va_t va;
	uint64_t *slot;
	uint64_t entry; /* the swapped one                                   */
	struct page *page; /* with a reference                              */
};

/* Return true if the region may map the page: it belongs to the region's tree of
 * forks, at this page number.  The caller has a reference on page. */
static bool may_map(const struct region *region, va_t va, struct page *page)
{
	return page_kind(page) == PAGE_ANON &&
	       page->index == region_pgoff(region, va) &&
	       page->mapping.anon_vma->root == region->anon_vma->root;
}

/* Make page, fresh, the frame of the slot: a page of the region's, or of the tree's
 * root if other entries name the slot.  Returns as swap_cache_read(). */
static int read_fresh(const struct swap_in *in, struct page *page)
{
	struct anon_vma *av = in->region->anon_vma;

	if (!(in->entry & ENTRY_SWAP_EX))
		av = av->root;
	anon_vma_get(av);
	page_change_kind(page, PAGE_KERNEL, PAGE_ANON, av,
			 region_pgoff(in->region, in->va));
	PROBE(swap_fresh, page, in->region->mm);
	return swap_cache_read(entry_swp(in->entry), page);
}

/* Find or read the content: in->page.  Returns 0, -ENOMEM, -EIO; -EAGAIN if the entry
 * may have changed. */
static int get_page(struct swap_in *in)
{
	int ret;

	in->page = swap_cache_find(entry_swp(in->entry));
	if (in->page)
		return 0;
	in->page = page_alloc();
	if (!in->page)
		return err(ENOMEM);
	ret = read_fresh(in, in->page);
	if (ret)
		page_put(in->page);
	return ret;
}

/* Replace in->page by a copy that belongs to the region.  Returns 0 or -ENOMEM. */
static int copy_foreign(struct swap_in *in)
{
	struct page *copy = page_alloc();

	if (!copy)
		return err(ENOMEM);
	page_copy(copy, in->page);
	page_put(in->page);
	in->page = copy;
	return 0;
}

/*
 * Return the entry that maps in->page, and count it.  The entry has D: the slot's
 * content is not kept for it.  The page takes the mapping's reference from the
 * caller's; the uses of the slot by the entry and the caller end.  Context: pt_lock held.
 */
static uint64_t entry_in(const struct swap_in *in, bool copied)
{
	require(spin_held(&in->region->mm->pt_lock));
	if (!copied && in->entry & ENTRY_SWAP_EX) {
		swap_cache_take(entry_swp(in->entry), in->page);
		page_set_exclusive(in->page);
	} else {
		swap_drop(entry_swp(in->entry));
		swap_drop(entry_swp(in->entry));
	}
	if (copied)
		return page_new_anon(in->page, in->region, in->va);
	page_ref_to_map(in->page);
	return entry_make(in->page, in->region->prot) | PTE_D;
}

/* Map in->page, or drop it if the entry has changed, and end the caller's use of the slot.
 * Returns -EAGAIN. */
static int map_page(const struct swap_in *in, bool copied)
{
	struct mm *mm = in->region->mm;

	spin_lock(&mm->pt_lock);
	if (pte_read(in->slot) != in->entry) {
		spin_unlock(&mm->pt_lock);
		page_put(in->page);
		swap_drop(entry_swp(in->entry));
		return -EAGAIN;
	}
	pte_write(in->slot, entry_in(in, copied));
	mm->mapped++;
	PROBE(pte_set, mm, in->va);
	spin_unlock(&mm->pt_lock);
	return -EAGAIN;
}

/* End the use of the slot and return ret, an error; -EAGAIN if the entry has changed, so
 * that the content which could not be had is not that of the address any more. */
static int fault_failed(const struct swap_in *in, int ret)
{
	struct mm *mm = in->region->mm;

	spin_lock(&mm->pt_lock);
	if (pte_read(in->slot) != in->entry)
		ret = -EAGAIN;
	spin_unlock(&mm->pt_lock);
	swap_drop(entry_swp(in->entry));
	return ret;
}

int fault_swapped(struct mm *mm, struct region *region, va_t va, uint64_t *slot)
{
	struct swap_in in = { region, va, slot, pte_read(slot), NULL };
	bool copied = false;
	int ret;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	swap_hold(entry_swp(in.entry));
	spin_unlock(&mm->pt_lock);
	PROBE(swap_held, mm, va);
	ret = get_page(&in);
	if (!ret && !may_map(region, va, in.page)) {
		copied = true;
		ret = copy_foreign(&in);
		if (ret)
			page_put(in.page);
	}
	return ret ? fault_failed(&in, ret) : map_page(&in, copied);
}
