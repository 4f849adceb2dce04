/* SPDX-License-Identifier: MIT */
/*
 * fork.c - share every private page until one side writes
 *
 *   for every region of the parent
 *       the child gets a twin, and the twin joins the families    (findable)
 *       for every table: entries lose W, pages lose PG_EXCLUSIVE,
 *                        the child's entries appear               (shared)
 *   one flush of the parent                                       (frozen)
 *
 * The twin is in the reverse map before its first entry exists: a walk may find
 * too little in it, never miss it.  Until the flush a thread of the parent may
 * still write through an old translation; the child does not run before that.
 *
 * Each page is shared under the parent's pt_lock, which pin_pages() takes too:
 * a page is either pinned first, and copied here, or shared first, and then the
 * pin finds it not exclusive and asks for a copy (CVE-2020-29374, and what
 * Linux's write_protect_seq is for).
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/ksm.h"
#include "mm/mm_priv.h"

struct fork {
	struct mm *parent, *child;
	struct region *twin; /* the child's, of the region being copied      */
	va_t start, end;     /* from the first to the last private region    */
	bool flush;          /* an entry of the parent has lost W            */
};

/* The child's own copy of a pinned page.  0 for -ENOMEM. */
static uint64_t copy_pinned(struct fork *f, struct page *page, va_t va)
{
	struct page *copy = page_alloc();

	if (!copy)
		return 0;
	page_copy(copy, page);
	page_set_anon(copy, f->twin, va);
	page_ref_to_map(copy);
	f->child->mapped++;
	return entry_make(copy, f->twin->prot);
}

/*
 * The rare entries: what the child's will be for the parent's e, which is no
 * hole.  0 for -ENOMEM, with nothing changed.  Inlined it would take registers
 * from the loop that calls it: 5 instructions an entry.
 */
static noinline uint64_t share_special(struct fork *f, uint64_t e, va_t va)
{
	struct page *page = entry_page(e);

	if (page == zero_page) {
		if (e & PTE_D)
			ksm_zero_count(1);
		return e;
	}
	if (entry_parked(e)) {
		page_clear_exclusive(page);
		page_get(page);
		return e;
	}
	return copy_pinned(f, page, va);
}

/*
 * Take from the parent what it may not keep once the page is shared.  False,
 * with nothing changed, if it cannot be shared as it is.  The zero page is not
 * exclusive, and pinned pages are (pin.c): each is asked for only there.
 */
static inline bool freeze(uint64_t *slot, uint64_t e, struct page *page)
{
	if (unlikely(!entry_mapped(e)))
		return false;
	if (unlikely(!page_exclusive(page)))
		return page != zero_page;
	if (unlikely(page_pins(page)))
		return false;
	page_clear_exclusive(page);
	pte_and(slot, ~ENTRY_W);
	return true;
}

/* The entries of one table of the parent.  Context: both pt_locks held. */
static int share_run(struct fork *f, const struct pt_run *run)
{
	uint64_t *from = run->slots, *end = from + run->count, lost = 0;
	uint64_t *to = pt_slot(&f->child->pt, run->va, 0, true);
	unsigned holes = 0, special = 0;
	ptrdiff_t across = to - from; /* one pointer walks both tables */

	if (!to)
		return err(ENOMEM);
	for (; from < end; from++) {
		uint64_t e = pte_read(from);
		struct page *page;

		if (!e) {
			holes++;
			continue;
		}
		page = entry_page(e);
		if (likely(freeze(from, e, page))) {
			lost |= e;
			page_map_add(page);
			pte_write(from + across, e & ~(ENTRY_W | PTE_A));
			continue;
		}
		e = share_special(
			f, e, run->va + (va_t)(from - run->slots) * PAGE_SIZE);
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

static int share_region(struct fork *f, struct region *r)
{
	struct pt_run run;
	va_t va = r->start;
	int ret = 0;

	while (!ret && pt_next_run(&f->parent->pt, &va, r->end, &run)) {
		spin_lock(&f->parent->pt_lock);
		spin_lock_nested(&f->child->pt_lock);
		if (unlikely(mm_has_notifiers(f->parent)))
			run_keep_dirty(f->parent, &run);
		ret = share_run(f, &run);
		spin_unlock(&f->child->pt_lock);
		spin_unlock(&f->parent->pt_lock);
		PROBE(fork_shared, f->parent, run.va);
	}
	return ret;
}

static int fork_region(struct fork *f, struct region *r)
{
	f->twin = region_twin(r, f->child, r->start, r->end);
	if (!f->twin)
		return err(ENOMEM);
	if (r->object) {
		/* Its pages are found in the object, by faults. */
		rmap_lock_write(f->twin);
		rmap_insert(f->twin);
		rmap_unlock_write(f->twin);
	} else if (anon_vma_fork(f->twin, r)) {
		region_free(f->twin);
		return err(ENOMEM);
	}
	region_attach(f->twin);
	return r->object ? 0 : share_region(f, r);
}

/* What the fork takes rights from: pages of objects keep theirs. */
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
	struct fork f = { .parent = parent, .child = mm_create() };
	struct mmu_notifier_range range;
	int ret;

	if (!f.child)
		return err(ENOMEM);
	rw_write_lock(&parent->lock);
	fork_extent(&f);
	range.told = NULL;
	if (f.start < f.end) {
		mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_PAGE,
					parent, f.start, f.end);
		mmu_notifier_invalidate_range_start(&range);
	}
	ret = fork_regions(&f);
	mmu_notifier_invalidate_range_end(&range);
	rw_write_unlock(&parent->lock);
	if (ret) {
		mm_put(f.child);
		return ret;
	}
	ksm_fork(parent, f.child);
	*child = f.child;
	return 0;
}
