/* SPDX-License-Identifier: MIT */
/*
 * fork.c - share every private page until one side writes
 *
 *   for every region of the parent
 *       region_dup() makes the child's, which joins the anon_vmas (findable)
 *       for every table: entries lose W, pages lose PG_EXCLUSIVE,
 *                        the child's entries are stored           (shared)
 *   one flush of the parent                                       (frozen)
 *
 * The child's region is in the reverse map before its first entry exists: a walk
 * may visit it in vain, but never skips it.  Until the flush a thread of the
 * parent may still write through an old translation; the child does not run
 * before that.
 *
 * Each page is shared under the parent's pt_lock, which pin_pages() takes too: a
 * page is either pinned first, and copied here, or shared first, and then the pin
 * finds it not exclusive and needs a copy (CVE-2020-29374; Linux:
 * write_protect_seq).
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/huge/hugetlb.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/space/mm_priv.h"
#include "mm/swap/swap.h"

struct fork {
	struct mm *parent, *child;
	struct region *dup; /* the child's region, of the one being copied  */
	va_t start, end;    /* from the first to the last private region    */
	bool flush;         /* an entry of the parent has lost W            */
};

/* Copy a pinned page for the child.  Returns the child's entry, 0 for -ENOMEM. */
static uint64_t copy_pinned(struct fork *f, struct page *page, va_t va)
{
	struct page *copy = page_alloc();

	if (!copy)
		return 0;
	page_copy(copy, page);
	f->child->mapped++;
	return page_new_anon(copy, f->dup, va);
}

/*
 * Share the swapped entries from `from` on, the first of which is one, with the table that
 * is `across`.  Two entries name each slot then, and neither is exclusive.  Returns how
 * many there were.
 */
static noinline unsigned share_swapped(uint64_t *from, const uint64_t *end,
				       ptrdiff_t across)
{
	uint64_t *at = from, e = pte_read(at);

	do {
		if (e & ENTRY_SWAP_EX) {
			e &= ~ENTRY_SWAP_EX;
			pte_write(at, e);
		}
		swap_hold(entry_swp(e));
		pte_write(at + across, e);
	} while (++at < end && entry_swapped(e = pte_read(at)));
	return (unsigned)(at - from);
}

/*
 * Return the child's entry for the parent's e, which is not 0 and one of the rare
 * kinds, at slot from: zero page, evicted, pinned.  Returns 0 for -ENOMEM,
 * with nothing changed.
 * Not inlined: it would take registers from the loop that calls it, which costs 5
 * instructions an entry.
 */
static noinline uint64_t share_special(struct fork *f, uint64_t *from, va_t va)
{
	uint64_t e = pte_read(from);
	struct page *page = entry_page(e);

	if (page == zero_page) {
		if (e & PTE_D)
			zero_merged_add(1);
		return e;
	}
	if (entry_evicted(e)) {
		/* What a device had alone is a shared page now, and the
		 * device has been notified. */
		if (entry_device_exclusive(e)) {
			e &= ~ENTRY_DEVICE_EXCLUSIVE;
			pte_write(from, e);
		}
		page_clear_exclusive(page);
		page_get(page);
		return e;
	}
	return copy_pinned(f, page, va);
}

/*
 * Take W from the parent's entry and PG_EXCLUSIVE from its page, so that they can
 * be shared.  Returns false, with nothing changed, if share_special() must handle
 * the entry.  The zero page is never exclusive and a pinned private page always
 * is (pin.c), so each is tested on its side only.
 */
static inline bool freeze(uint64_t *slot, struct page *page)
{
	if (unlikely(!page_exclusive(page)))
		return page != zero_page;
	if (unlikely(page_pins(page)))
		return false;
	page_clear_exclusive(page);
	pte_and(slot, ~ENTRY_W);
	return true;
}

/*
 * Share a run of huge entries of the parent.  The child gets one for each, and a table
 * for its split.
 * Context: parent->pt_lock and child->pt_lock held.  Returns 0 or -ENOMEM.
 */
static noinline int share_huge(struct fork *f, const struct pt_run *run)
{
	uint64_t *to = pt_slot(&f->child->pt, run->va, 1, true);
	unsigned n = run->count;
	uint64_t access = 0;

	require(spin_held(&f->parent->pt_lock) &&
		spin_held(&f->child->pt_lock));
	if (!to || huge_deposit_new(f->child, n))
		return err(ENOMEM);
	blocks_share(run->slots, n);
	/* The mover may have visited the child: the copy has no access. */
	if (unlikely(block_held(run->slots, n)))
		access = ENTRY_RIGHTS; //: fork-leaves-access
	for (unsigned i = 0; i < n; i++) {
		uint64_t *from = run->slots + i, e = pte_read(from);

		if (e & PTE_W) {
			pte_and(from, ~ENTRY_W);
			f->flush = true;
		}
		e &= ~(ENTRY_W | PTE_A);
		if (unlikely(access))
			e = (e & ~access) | entry_rights(0, false);
		pte_write(to + i, e);
	}
	pt_count(&f->child->pt, to, n);
	f->child->mapped += huge_counted(f->parent, run->slots, n);
	return 0;
}

/*
 * Share the entries of one leaf table of the parent.
 * Context: parent->pt_lock and child->pt_lock held.  Returns 0 or -ENOMEM.
 */
static int share_run(struct fork *f, const struct pt_run *run)
{
	uint64_t *from = run->slots, *end = from + run->count, lost = 0;
	uint64_t *to = pt_slot(&f->child->pt, run->va, 0, true);
	unsigned holes = 0, special = 0;
	ptrdiff_t across = to - from; /* one pointer walks both tables */

	require(spin_held(&f->parent->pt_lock) &&
		spin_held(&f->child->pt_lock));
	assert(run->level == 0);
	if (!to)
		return err(ENOMEM);
	for (; from < end; from++) {
		uint64_t e = pte_read(from);
		struct page *page;

		if (likely(entry_mapped(e))) {
			page = entry_page(e);
			if (likely(freeze(from, page))) {
				lost |= e;
				page_map_add(page);
				pte_write(from + across,
					  e & ~(ENTRY_W | PTE_A));
				continue;
			}
		} else if (!e) {
			holes++;
			continue;
		}
		if (entry_swapped(e)) {
			unsigned n = share_swapped(from, end, across);

			special += n;
			from += n - 1;
			continue;
		}
		e = share_special(f, from,
				  run->va + (va_t)(from - run->slots) *
						    PAGE_SIZE);
		if (!e)
			break;
		pte_write(from + across, e);
		special++;
	}
	pt_count(&f->child->pt, to, from - run->slots - holes);
	f->child->mapped += (uint64_t)(from - run->slots) - holes - special;
	f->flush |= (lost & PTE_W) != 0;
	return from < end ? err(ENOMEM) : 0;
}

/* Share the entries of a private region.  Returns 0 or -ENOMEM. */
static int share_region(struct fork *f, struct region *r)
{
	struct pt_run run;
	va_t va = r->start;
	int ret = 0;

	while (!ret && pt_next_run(&f->parent->pt, &va, r->end, &run)) {
		if (unlikely(run.level)) {
			huge_run_widen(&run, &va, r->end);
			PROBE(huge_found, f->parent, run.va);
		}
		spin_lock(&f->parent->pt_lock);
		spin_lock_nested(&f->child->pt_lock);
		if (unlikely(mm_has_notifiers(f->parent)) &&
		    huge_run_valid(f->parent, &run))
			run_keep_dirty(f->parent, &run);
		if (likely(!run.level))
			ret = share_run(f, &run);
		else if (huge_run_valid(f->parent, &run))
			ret = share_huge(f, &run);
		else
			va = run.va; /* split meanwhile */
		spin_unlock(&f->child->pt_lock);
		spin_unlock(&f->parent->pt_lock);
		PROBE(fork_shared, f->parent, run.va);
	}
	return ret;
}

/* Give the child a duplicate of the region, and of its entries if it is private.
 * Context: parent->lock held to write.  Returns 0 or -ENOMEM. */
static int fork_region(struct fork *f, struct region *r)
{
	require(rw_held_write(&f->parent->lock));
	f->dup = region_dup(r, f->child, r->start, r->end);
	if (!f->dup)
		return err(ENOMEM);
	region_untrack(f->dup);
	if (r->object) {
		/* Faults of the child find the pages in the object. */
		rmap_lock_write(f->dup);
		rmap_insert(f->dup);
		rmap_unlock_write(f->dup);
	} else if (anon_vma_fork(f->dup, r)) {
		region_free(f->dup);
		return err(ENOMEM);
	}
	region_attach(f->dup);
	if (r->flags & MAP_HUGETLB)
		return hugetlb_populate(f->child, r->start, r->end, r->prot,
					f->parent);
	return r->object ? 0 : share_region(f, r);
}

/* Compute the range in which the parent loses rights: that of private regions,
 * since pages of objects keep theirs. */
static void fork_extent(struct fork *f)
{
	struct region *r;

	f->start = USER_END;
	for_each_region (r, f->parent, USER_START, USER_END) {
		if (r->object)
			continue;
		if (f->start == USER_END)
			f->start = r->start;
		f->end = r->end;
	}
}

/* Duplicate all regions and flush the parent.  Returns 0 or -ENOMEM. */
static int fork_regions(struct fork *f)
{
	struct region *r;
	int ret = 0;

	for_each_region (r, f->parent, USER_START, USER_END) {
		ret = fork_region(f, r);
		if (ret)
			break;
	}
	if (f->flush) {
		spin_lock(&f->parent->pt_lock);
		tlb_flush_range(f->parent, f->start, f->end);
		spin_unlock(&f->parent->pt_lock);
	}
	PROBE(fork_done, f->parent, f->child);
	return ret;
}

int mm_fork(struct mm *parent, struct mm **child)
{
	struct fork f = { .parent = parent, .child = mm_alloc() };
	struct mmu_notifier_range range;
	int ret;

	require(may_sleep());
	if (!f.child)
		return err(ENOMEM);
	f.child->limit = READ_ONCE(parent->limit);
	rw_write_lock(&parent->lock);
	fork_extent(&f);
	range.subscriptions = NULL;
	if (f.start < f.end) {
		mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_PAGE,
					parent, f.start, f.end);
		mmu_notifier_invalidate_range_start(&range);
	}
	ret = fork_regions(&f);
	mmu_notifier_invalidate_range_end(&range);
	if (!ret)
		mm_hooks_fork(parent, f.child);
	rw_write_unlock(&parent->lock);
	if (ret) {
		mm_abandon(f.child);
		return ret;
	}
	mm_publish(f.child);
	*child = f.child;
	return 0;
}
