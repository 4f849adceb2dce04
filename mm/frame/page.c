/* SPDX-License-Identifier: MIT */
/*
 * page.c - count the users of a frame: the steps that are not inline
 *
 * The common steps are inline in page.h, one atomic instruction each.  This
 * file has the steps that can free a frame or fail.
 */
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "mm/frame/buddy.h"

struct page *frames;
pfn_t frames_end, device_first, pages_end;
struct page *zero_page;

static const char *const kind_names[PAGE_KINDS] = {
	[PAGE_RESERVED] = "reserved", [PAGE_FREE] = "free",
	[PAGE_KERNEL] = "kernel",     [PAGE_POOL] = "pool",
	[PAGE_STACK] = "stack",       [PAGE_TABLE] = "table",
	[PAGE_IOMMU] = "iommu",       [PAGE_DMA] = "dma",
	[PAGE_ANON] = "anon",         [PAGE_OBJECT] = "object",
	[PAGE_ZERO] = "zero",         [PAGE_KSM] = "ksm",
	[PAGE_HUGETLB] = "hugetlb",   [PAGE_DEVICE] = "device",
	[PAGE_VRAM] = "vram",
};

page_destructor *page_destructors[PG_KIND + 1];

void page_set_destructor(enum page_kind kind, page_destructor *destroy)
{
	assert(!page_destructors[kind]);
	page_destructors[kind] = destroy;
}

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

struct page *page_head(struct page *page)
{
	uint32_t flags = page_flags(page);

	if (!(flags & PG_TAIL) && (flags & PG_KIND) != PAGE_FREE)
		return page;
	for (unsigned n = 1; n < PMM_ORDERS; n++) {
		struct page *head = page_of(pfn_of(page) >> n << n);

		if (page_order(head) == n && page_kind(head) != PAGE_FREE)
			return head;
	}
	return page;
}

void page_part_set_dirty(struct page *page)
{
	page_set_dirty(page);
	/* The head knows then that its tails are not as the lists need them. */
	if (page_kind(page) == PAGE_FREE)
		page_set(page_head(page), PG_PARTS);
}

bool page_try_get(struct page *page)
{
	uint64_t old = page_count(page);

	/* Acquire: the fields that the caller rechecks were stored before the
	 * count. */
	do {
		if (!PAGE_REFS(old))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&page->count, &old, old + PAGE_REF, memory_order_acquire,
		memory_order_relaxed));
	assert(!((old + PAGE_REF) & PAGE_TRIP));
	return true;
}

bool page_try_get_user(struct page *page)
{
	require(locks_below(RANK_PMM));
	if (!kind_user(page_kind(page)))
		return false;
	PROBE(page_found, page, page_kind(page));
	if (!page_try_get(page))
		return false;
	if (kind_user(page_kind(page))) {
		/* Pairs with page_change_kind(): mapping and index were stored
		 * before the kind. */
		atomic_thread_fence(memory_order_acquire);
		return true;
	}
	page_put(page); /* it was reused before we had the reference */
	return false;
}

void page_put(struct page *page)
{
	require(locks_below(RANK_PMM));
	if (!PAGE_REFS(page_count_add(page, -PAGE_REF)))
		page_free(page);
}

uint64_t page_map_drop(struct page *page)
{
	uint64_t now;

	require(locks_below(RANK_PMM));
	now = page_count_add(page, -PAGE_MAP);
	if (!now)
		page_free(page);
	return now;
}
