/* SPDX-License-Identifier: MIT */
/*
 * state.h - the two states of a frame: allocated and free
 *
 * Private to pmm.c and pmm_block.c.
 */
#pragma once

#include "mm/frame/poison.h"

/* Panic if a free frame has users or was written to. */
void frame_check_free(const struct page *page);

/* Turn a free frame into an allocated one of this kind, without owner.  The count is
 * stored once, with its final value, because page_try_get_user() may read it at any
 * time. */
static inline void frame_ready_as(struct page *page, enum page_kind kind,
				  uint32_t flags, uint64_t count)
{
	assert((page_flags(page) & (PG_KIND | PG_BUDDY)) == PAGE_FREE);
	if (CONFIG_CHECK)
		frame_check_free(page);
	san_unpoison(page_va(page), PAGE_SIZE);
	page->mapping.next = NULL;
	page->index = 0;
	atomic_store_explicit(&page->count, count, memory_order_relaxed);
	atomic_store_explicit(&page->flags, kind | flags, memory_order_relaxed);
}

/* Do frame_ready_as() for a frame of the kernel's own. */
static inline void frame_ready(struct page *page, uint32_t flags,
			       uint64_t count)
{
	frame_ready_as(page, PAGE_KERNEL, flags, count);
}

/* Turn an allocated frame into a free one.  Returns it. */
static inline struct page *frame_dead(struct page *page)
{
	uint32_t flags = PAGE_FREE;

	if (CONFIG_CHECK) {
		frame_poison(page);
		flags |= PG_POISONED | PG_FRESH;
	}
	san_poison(page_va(page), PAGE_SIZE, SAN_FREED);
	atomic_store_explicit(&page->flags, flags, memory_order_relaxed);
	return page;
}
