/* SPDX-License-Identifier: MIT */
/*
 * page.c - counting the users of a frame: the rare and the last steps
 *
 * The common steps are inline in page.h, one atomic instruction each.  Here is
 * what happens when a count reaches zero, and when it must not.
 */
#include "mm/pmm.h"

struct page *frames;
pfn_t frames_end;
struct page *zero_page;

static const char *const kind_names[PAGE_KINDS] = {
	[PAGE_RESERVED] = "reserved", [PAGE_FREE] = "free",
	[PAGE_KERNEL] = "kernel",     [PAGE_POOL] = "pool",
	[PAGE_STACK] = "stack",       [PAGE_TABLE] = "table",
	[PAGE_IOMMU] = "iommu",       [PAGE_DMA] = "dma",
	[PAGE_ANON] = "anon",         [PAGE_OBJECT] = "object",
	[PAGE_ZERO] = "zero",         [PAGE_KSM] = "ksm",
};

const char *page_kind_name(enum page_kind kind)
{
	return kind < PAGE_KINDS ? kind_names[kind] : "no such kind";
}

void page_count_broken(const struct page *page, uint64_t now)
{
	panic("frame %#lx (%s): count out of range: %u refs, %u maps",
	      pfn_of(page), page_kind_name(page_kind(page)), PAGE_REFS(now),
	      PAGE_MAPS(now));
}

bool page_try_get(struct page *page)
{
	uint64_t old = page_count(page);

	/* Acquire: what the caller re-checks was stored before the count. */
	do {
		if (!PAGE_REFS(old))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&page->count, &old, old + PAGE_REF, memory_order_acquire,
		memory_order_relaxed));
	assert(!((old + PAGE_REF) & PAGE_TRIP));
	return true;
}

void page_put(struct page *page)
{
	if (!PAGE_REFS(page_count_add(page, -PAGE_REF)))
		page_free(page);
}

uint64_t page_map_drop(struct page *page)
{
	uint64_t now = page_count_add(page, -PAGE_MAP);

	if (!now)
		page_free(page);
	return now;
}
