/* SPDX-License-Identifier: MIT */
/*
 * pin.c - check and pin under one hold of pt_lock, or fault and check again
 *
 * Only the entry and the page at the moment of pinning decide.  The fault before
 * it proves nothing: another thread may have discarded the page meanwhile, and
 * the retry must ask for the same right again (CVE-2016-5195).
 */
#include "mm/space/pin.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/track.h"
#include "mm/frame/page.h"
#include "mm/huge/hugetlb.h"
#include "mm/rmap/huge.h"
#include "mm/space/fault.h"

/* Return true if the page that e maps may be pinned.  The zero page and merged
 * pages are never exclusive. */
static bool may_pin(uint64_t e, struct page *page, unsigned flags)
{
	if (page_kind(page) != PAGE_OBJECT)
		return page_exclusive(page) &&
		       (!(flags & PIN_WRITE) || (flags & PIN_FORCE) ||
			(e & PTE_W));
	return !(flags & PIN_WRITE) || (e & PTE_W);
}

/* Return true if a block of the fixed pool is mapped at va.  Context: pt_lock held. */
static bool entry_pooled(struct mm *mm, va_t va)
{
	uint64_t *slot = huge_slot(mm, va);

	require(spin_held(&mm->pt_lock));
	return slot && page_kind(entry_page(pte_read(slot))) == PAGE_HUGETLB;
}

/* Pin the page that is mapped at va, if it may be pinned, else return NULL. */
static struct page *try_pin(struct mm *mm, va_t va, unsigned flags)
{
	struct page *page = NULL;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	if (unlikely(!slot)) {
		/* Pins are counted in the frame, and so are its mappings then. */
		if (!entry_pooled(mm, va))
			huge_split(mm, va);
		slot = pt_slot(&mm->pt, va, 0, false);
	}
	e = slot ? pte_read(slot) : 0;
	if (e & PTE_P && may_pin(e, entry_page(e), flags)) {
		page = entry_page(e);
		page_get(page);
		atomic_fetch_add(&page->pins, 1);
		if (flags & PIN_WRITE) {
			page_set_dirty(page);
			if (unlikely(!(e & PTE_W))) /* PIN_FORCE */
				track_note(mm, va, va + 1);
			pte_or(slot, PTE_D); /* for code that tests D only */
		}
	}
	spin_unlock(&mm->pt_lock);
	return page;
}

/* Return true if va belongs to a region of an object. */
static bool is_shared(struct mm *mm, va_t va)
{
	struct region *r;
	bool shared;

	rw_read_lock(&mm->lock);
	r = region_find(mm, va);
	shared = r && r->object;
	rw_read_unlock(&mm->lock);
	return shared;
}

/* Return true if va belongs to a region of the fixed pool. */
static bool is_pooled(struct mm *mm, va_t va)
{
	bool pooled;

	rw_read_lock(&mm->lock);
	pooled = hugetlb_meets(mm, va, va + 1);
	rw_read_unlock(&mm->lock);
	return pooled;
}

/* Make va pinnable: a mm_fault() for the right, then an exclusive page. */
static int pin_fault(struct mm *mm, va_t va, unsigned flags)
{
	int ret;

	if (is_pooled(mm, va))
		return err(EINVAL);
	/* Other users of shared memory would see the forced write. */
	if (flags & PIN_FORCE && is_shared(mm, va))
		flags &= ~PIN_FORCE;
	if (flags & PIN_WRITE && !(flags & PIN_FORCE)) {
		ret = mm_fault(mm, va, PROT_W);
		if (ret)
			return ret;
	}
	return mm_fault_unshare(mm, va);
}

int pin_pages(struct mm *mm, va_t va, unsigned n, unsigned flags,
	      struct page **pages)
{
	require(may_sleep());
	/* The kernel's half is in every mm's table: check before any walk. */
	if (va >= USER_END || n > (USER_END - va + PAGE_SIZE - 1) / PAGE_SIZE)
		return err(EFAULT);
	for (unsigned i = 0; i < n; i++, va += PAGE_SIZE) {
		while (!(pages[i] = try_pin(mm, va, flags))) {
			int ret = pin_fault(mm, va, flags);

			PROBE(pin_fault, mm, va);
			if (!ret)
				continue;
			unpin_pages(pages, i);
			return ret;
		}
	}
	return 0;
}

void unpin_pages(struct page **pages, unsigned n)
{
	require(locks_below(RANK_PMM));
	for (unsigned i = 0; i < n; i++) {
		uint32_t old = atomic_fetch_sub(&pages[i]->pins, 1);

		assert(old > 0);
		page_put(pages[i]);
	}
}
