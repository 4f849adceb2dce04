/* SPDX-License-Identifier: MIT */
/*
 * pin.c - look and pin in one hold of pt_lock, or fault and look again
 *
 * Everything is decided by the entry and the page at the moment of pinning.
 * What the fault before it did is worth nothing by then: another thread may
 * have discarded the page, and the retry must ask for the same right again
 * (CVE-2016-5195).
 */
#include "mm/pin.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/fault.h"
#include "mm/page.h"

/* The zero page is never exclusive, nor is a merged one. */
static bool may_pin(uint64_t e, struct page *page, unsigned flags)
{
	if (!(e & PTE_P))
		return false;
	if (page_kind(page) != PAGE_OBJECT)
		return page_exclusive(page) &&
		       (!(flags & PIN_WRITE) || (flags & PIN_FORCE) ||
			(e & PTE_W));
	return !(flags & PIN_WRITE) || (e & PTE_W);
}

/* Pin the page that is mapped at va, if it may be. */
static struct page *try_pin(struct mm *mm, va_t va, unsigned flags)
{
	struct page *page = NULL;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	e = slot ? pte_read(slot) : 0;
	if (e && may_pin(e, entry_page(e), flags)) {
		page = entry_page(e);
		page_get(page);
		atomic_fetch_add(&page->pins, 1);
		if (flags & PIN_WRITE) {
			page_set_dirty(page);
			pte_or(slot, PTE_D); /* who looks there sees it too */
		}
	}
	spin_unlock(&mm->pt_lock);
	return page;
}

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

static int pin_fault(struct mm *mm, va_t va, unsigned flags)
{
	int ret;

	/* Others would see the forced write: there force gives no right. */
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
	for (unsigned i = 0; i < n; i++) {
		uint32_t old = atomic_fetch_sub(&pages[i]->pins, 1);

		assert(old > 0);
		page_put(pages[i]);
	}
}
