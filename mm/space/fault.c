/* SPDX-License-Identifier: MIT */
/*
 * fault.c - make an access to one page possible, as its region allows
 *
 *   entry      read fault          write fault
 *   hole       zero page, r/o      fresh zeroed page
 *   zero page  -                   fresh zeroed page
 *   shared     -                   copy                  (COW)
 *   exclusive  -                   reuse: gains W
 *   evicted    mapped again        mapped again, then as above
 *   swapped    brought in          brought in, then as above    (swap_in.c)
 *   device     copied back         copied back, then as above
 *   device-    the device told,    the same, then as above
 *   exclusive  mapped again
 *   object     the object's page   the object's page
 *
 * A handler for an entry is called with pt_lock held and drops it.  One that
 * allocates drops it first, takes it again and checks that the entry has not
 * changed; if it has, -EAGAIN starts over.  Slots stay valid: tables are freed
 * only with mm->lock held to write.
 */
#include "mm/space/fault.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/track.h"
#include "mm/frame/moving.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/device_in.h"
#include "mm/huge/fault_huge.h"
#include "mm/space/mm_priv.h"
#include "mm/reclaim/reclaim.h"
#include "mm/space/swap_in.h"
#include "mm/swap/swap.h"

struct fault {
	struct mm *mm;
	struct region *region;
	va_t va; /* of the page */
	enum want want;
	uint64_t *slot;
	uint64_t entry; /* what slot held when the handler was chosen */
};

/* Return true if another thread has changed the entry; A and D, which the CPU
 * sets, do not count.  Context: pt_lock held. */
static bool fault_lost(const struct fault *f)
{
	require(spin_held(&f->mm->pt_lock));
	return (pte_read(f->slot) ^ f->entry) & ~(PTE_A | PTE_D);
}

/* Return the A and D bits that the access is about to need. */
static uint64_t fault_bits(const struct fault *f)
{
	return f->want == WANT_WRITE ? PTE_A | PTE_D : PTE_A;
}

/* Add rights to the entry.  The CPU that faulted has no stale translation left,
 * and the other CPUs walk again before they fault: only secondary MMUs are
 * notified.  Context: pt_lock held.  //: upgrade-tells-others */
static void entry_upgrade(struct fault *f, uint64_t bits)
{
	require(spin_held(&f->mm->pt_lock));
	pte_or(f->slot, bits);
	PROBE(pte_upgrade, f->mm, f->va);
	tlb_upgrade_range(f->mm, f->va, f->va + PAGE_SIZE);
}

/* Return what a handler returns that has made an entry: in a tracked region it has no W,
 * and a second round gives it. */
static inline int fault_made(const struct fault *f)
{
	return unlikely(f->region->prot & PROT_TRACK) ? -EAGAIN : 0;
}

/* Begin the invalidation for the replacement of the page at va.  Context: pt_lock
 * not taken. */
static void replace_start(struct fault *f, struct mmu_notifier_range *range)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, f->mm, f->va,
				f->va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(range);
}

/* Make page, which no other thread knows, the region's private page at va.
 * Returns its entry.  Context: pt_lock held. */
static uint64_t adopt(const struct fault *f, struct page *page)
{
	require(spin_held(&f->mm->pt_lock));
	return page_new_anon(page, f->region, f->va) | PTE_A;
}

/*
 * Replace the zero page (old NULL) or old by page: clear, flush, set, so that no
 * MMU uses the new page while another still uses the old one.  Takes over the
 * caller's reference on page.  Context: pt_lock not taken.
 * Returns 0, or -EAGAIN if the entry has changed.
 */
static int replace(struct fault *f, struct page *page, struct page *old)
{
	struct mmu_notifier_range range;
	struct mm *mm = f->mm;
	bool lost;

	replace_start(f, &range);
	spin_lock(&mm->pt_lock);
	lost = fault_lost(f);
	if (likely(!lost)) {
		uint64_t e = adopt(f, page), was;

		was = pte_xchg(f->slot, 0);
		PROBE(pte_clear, mm, f->va);
		tlb_flush_range(mm, f->va, f->va + PAGE_SIZE);
		if (unlikely(mm_notifies(mm, MM_NOTIFY_PTE)))
			mmu_notifier_change_pte(mm, f->va, e);
		pte_write(f->slot, e);
		PROBE(pte_set, mm, f->va);
		if (old) {
			page_map_drop(old);
		} else {
			mm->mapped++;
			if (was & PTE_D)
				zero_merged_add(-1);
		}
	}
	spin_unlock(&mm->pt_lock);
	PROBE(unptl, mm, f->va);
	mmu_notifier_invalidate_range_end(&range);
	if (unlikely(lost))
		page_put(page);
	return lost ? -EAGAIN : fault_made(f);
}

/* Map a fresh page where the entry is zero.  Context: pt_lock not taken. */
static int fault_new(struct fault *f)
{
	struct mm *mm = f->mm;
	struct page *page = page_alloc_zeroed();

	if (!page)
		return err(ENOMEM);
	PROBE(fault_fresh, mm, f->va);
	spin_lock(&mm->pt_lock);
	if (unlikely(fault_lost(f))) {
		spin_unlock(&mm->pt_lock);
		page_put(page);
		return -EAGAIN;
	}
	pt_count(&mm->pt, f->slot, 1);
	mm->mapped++;
	pte_write(f->slot, adopt(f, page));
	PROBE(pte_set, mm, f->va);
	spin_unlock(&mm->pt_lock);
	return fault_made(f);
}

/* Replace the zero page for a write.  Context: pt_lock held, dropped. */
static int fault_unzero(struct fault *f)
{
	struct page *page;

	require(spin_held(&f->mm->pt_lock));
	spin_unlock(&f->mm->pt_lock);
	page = page_alloc_zeroed();
	return page ? replace(f, page, NULL) : err(ENOMEM);
}

/* Map the zero page where the entry is zero.  Context: pt_lock held, dropped. */
static int fault_zero(struct fault *f)
{
	uint64_t rights = entry_rights(f->region->prot, false);

	require(spin_held(&f->mm->pt_lock));
	pt_count(&f->mm->pt, f->slot, 1);
	pte_write(f->slot, page_pa(zero_page) | rights | PTE_A);
	PROBE(pte_set, f->mm, f->va);
	spin_unlock(&f->mm->pt_lock);
	return 0;
}

/* Replace old, or the zero page, by a copy.  Linux: wp_page_copy().
 * Context: pt_lock held, dropped.  //: cow-copy */
static always_inline int fault_copy(struct fault *f, struct page *old)
{
	struct mm *mm = f->mm;
	struct page *page;
	int ret;

	require(spin_held(&mm->pt_lock));
	page_get(old); /* it must not change or go while we read it */
	spin_unlock(&mm->pt_lock);
	page = page_alloc();
	if (page) {
		page_copy(page, old);
		PROBE(cow_copied, mm, f->va);
		ret = replace(f, page, old == zero_page ? NULL : old);
	} else {
		ret = err(ENOMEM);
	}
	page_put(old); /* not before the end: B11 */
	return ret;
}

/*
 * Make the page exclusive if the faulting entry is its only reference.  A mapping
 * count of 1 is not enough: a pin from the time when it was shared may be left
 * (CVE-2020-29374).  Linux: do_wp_page().
 * Context: the pt_lock of the entry.  Returns true if the page is exclusive.
 */
static bool page_make_exclusive(struct page *page)
{
	if (page_count(page) != PAGE_MAP)
		return false;
	if (page_kind(page) == PAGE_KSM)
		return false; /* the stable tree needs its content */
	page_set_exclusive(page);
	return true;
}

/* Handle a present entry.  Context: pt_lock held, dropped. */
static int fault_mapped(struct fault *f)
{
	struct page *page = entry_page(f->entry);

	require(spin_held(&f->mm->pt_lock));
	if (f->want == WANT_READ ||
	    (f->want == WANT_WRITE && (f->entry & PTE_W))) {
		/* Another thread has served the fault, or the CPU's
		 * translation was stale. */
		pte_or(f->slot, fault_bits(f));
		spin_unlock(&f->mm->pt_lock);
		return 0;
	}
	if (page == zero_page)
		return fault_unzero(f);
	if (!page_exclusive(page) && !page_make_exclusive(page))
		return fault_copy(f, page);
	if (f->want == WANT_WRITE)
		entry_upgrade(f, ENTRY_W | fault_bits(f));
	spin_unlock(&f->mm->pt_lock);
	return 0;
}

/* Wait for the content of page.  Context: pt_lock held, dropped. */
static noinline int fault_moving(struct fault *f, struct page *page)
{
	require(spin_held(&f->mm->pt_lock));
	spin_unlock(&f->mm->pt_lock);
	moving_wait(page);
	return -EAGAIN;
}

/* Give an entry of a block that was split on its way its access.  Context: as below. */
static noinline int fault_no_access(struct fault *f)
{
	require(spin_held(&f->mm->pt_lock));
	pte_write(f->slot, entry_with_access(f->entry, f->region->prot));
	PROBE(pte_set, f->mm, f->va);
	spin_unlock(&f->mm->pt_lock);
	return -EAGAIN;
}

/* Map an evicted page again.  Context: pt_lock held, dropped. */
static int fault_evicted(struct fault *f)
{
	struct page *page = entry_page(f->entry);

	require(spin_held(&f->mm->pt_lock));
	if (unlikely(entry_mapped(f->entry)))
		return fault_no_access(f);
	if (unlikely(page_moving(page)))
		return fault_moving(f, page);
	if (unlikely(entry_device(f->entry)))
		return fault_device(f->region, f->va, f->slot);
	if (unlikely(entry_device_exclusive(f->entry)))
		return fault_device_exclusive(f->region, f->va, f->slot);
	page_ref_to_map(page);
	f->mm->mapped++;
	pte_write(f->slot, entry_unevict(f->entry, f->region->prot));
	PROBE(pte_set, f->mm, f->va);
	spin_unlock(&f->mm->pt_lock);
	return -EAGAIN; /* mapped; the access may still need a right */
}

/* Map the object's page.  Context: pt_lock held, dropped. */
static int fault_object(struct fault *f)
{
	struct region *r = f->region;
	enum prot prot = r->prot;
	struct mm *mm = f->mm;
	struct page *page;
	int ret;

	require(spin_held(&mm->pt_lock));
	spin_unlock(&mm->pt_lock);
	ret = object_page(r->object, region_pgoff(r, f->va), &page);
	if (unlikely(ret))
		return ret;
	spin_lock(&mm->pt_lock);
	if (fault_lost(f)) {
		spin_unlock(&mm->pt_lock);
		page_put(page);
		return -EAGAIN;
	}
	page_ref_to_map(page);
	/* No device that walks this table may dirty what is only read (B33). */
	if (f->want != WANT_WRITE && page_swp(page))
		prot &= ~PROT_W;
	pt_set(&mm->pt, f->slot, entry_make(page, prot) | fault_bits(f));
	mm->mapped++;
	PROBE(pte_set, mm, f->va);
	spin_unlock(&mm->pt_lock);
	return fault_made(f);
}

/* Choose and call the handler for the entry at f->va.  Context: mm->lock held.
 * Returns 0, -EAGAIN to start over, -ENOMEM, -EIO. */
static int fault_page(struct fault *f)
{
	struct mm *mm = f->mm;

	require(rw_held(&mm->lock));
	f->slot = pt_slot(&mm->pt, f->va, 0, false);
	if (unlikely(!f->slot)) {
		int ret;

		f->slot = fault_table(f->region, f->va, f->want, &ret);
		if (!f->slot)
			return ret;
	}
	/* A first write allocates, and rechecks the entry after that: the first
	 * look at it needs no lock. */
	if (f->want == WANT_WRITE && !f->region->object) {
		f->entry = pte_read(f->slot);
		if (!f->entry)
			return fault_new(f);
	}
	spin_lock(&mm->pt_lock);
	f->entry = pte_read(f->slot);
	if (f->entry & PTE_P)
		return fault_mapped(f);
	if (f->entry && unlikely(entry_swapped(f->entry)))
		return fault_swapped(mm, f->region, f->va, f->slot);
	if (f->entry)
		return fault_evicted(f);
	if (f->region->object)
		return fault_object(f);
	if (f->want == WANT_READ)
		return fault_zero(f);
	spin_unlock(&mm->pt_lock);
	return fault_new(f);
}

/*
 * Note that the page is about to be written, before an entry can have W (B59), if the
 * region is tracked and allows it.  Returns whether it does.  Context: mm->lock held.
 */
static noinline bool fault_tracked(const struct fault *f, enum prot access)
{
	require(rw_held(&f->mm->lock));
	if (!f->region || access != PROT_W || !(f->region->prot & PROT_TRACK))
		return false;
	track_note(f->mm, f->va, f->va + PAGE_SIZE);
	PROBE(track_noted, f->mm, f->va);
	return true;
}

/* Do mm_fault() and mm_fault_unshare().  What has no memory swaps pages out and
 * tries again, as long as that frees any. */
static int fault_in(struct mm *mm, va_t va, enum prot access, enum want want)
{
	struct fault f; /* what is set later is not cleared first */
	int ret;

	f.mm = mm;
	f.va = va & PAGE_MASK;
	f.want = want;
	if (unlikely(READ_ONCE(mm->limit)))
		mm_keep_limit(mm);
	do {
		rw_read_lock(&mm->lock);
		f.region = region_find(mm, va);
		if ((!f.region || !region_allows(f.region, access)) &&
		    !fault_tracked(&f, access))
			ret = err(EFAULT);
		else
			while ((ret = fault_page(&f)) == -EAGAIN)
				;
		rw_read_unlock(&mm->lock);
	} while (unlikely(ret == -ENOMEM) && reclaim_any(RECLAIM_BATCH));
	return ret;
}

int mm_fault(struct mm *mm, va_t va, enum prot access)
{
	require(may_sleep());
	return fault_in(mm, va, access,
			access & PROT_W ? WANT_WRITE : WANT_READ);
}

int mm_fault_unshare(struct mm *mm, va_t va)
{
	require(may_sleep());
	return fault_in(mm, va, PROT_R, WANT_UNSHARE);
}

/* Do fault_own().  A huge entry needs no copy: it is never merged.
 * Context: mm->lock held.  Returns 0, -EAGAIN to start over, -ENOMEM. */
static int own_page(struct fault *f)
{
	struct page *page;

	require(rw_held(&f->mm->lock));
	f->slot = pt_slot(&f->mm->pt, f->va, 0, false);
	if (!f->slot)
		return 0;
	spin_lock(&f->mm->pt_lock);
	f->entry = pte_read(f->slot);
	if (entry_evicted(f->entry))
		return fault_evicted(f);
	page = entry_page(f->entry);
	/* What comes in from a slot is not merged. */
	if (!f->entry || entry_swapped(f->entry) || page_exclusive(page) ||
	    page_make_exclusive(page)) {
		spin_unlock(&f->mm->pt_lock);
		return 0;
	}
	return fault_copy(f, page);
}

int fault_own(struct mm *mm, struct region *region, va_t va)
{
	struct fault f = {
		.mm = mm, .region = region, .va = va, .want = WANT_UNSHARE
	};
	int ret;

	require(rw_held(&mm->lock) && may_sleep());
	assert(!region->object);
	while ((ret = own_page(&f)) == -EAGAIN)
		;
	return ret;
}
