/* SPDX-License-Identifier: MIT */
/*
 * tail.h - a bare block's tail becomes a page of its own, and back
 */
#pragma once

#include <stddef.h>
#include "mm/frame/page.h"

/*
 * Turn the tail of a bare block into a frame of its own: owner and page number, flags,
 * and at last, by a release, the count, from which on page_try_get() finds it.
 * PG_DIRTY, which a device's thread may set at any time (B33), stays.
 * Context: the owner of the block splits it.
 */
static always_inline void page_tail_begin(struct page *page, uint32_t flags,
					  union page_mapping block,
					  uint64_t number, uint64_t maps)
{
	require((page_flags(page) & ~PG_DIRTY) == PAGE_FREE &&
		!page_count(page));
	page->mapping = block;
	page->index = number;
	atomic_fetch_xor_explicit(&page->flags, PAGE_FREE ^ flags,
				  memory_order_release);
	atomic_store_explicit(&page->count, maps, memory_order_release);
}

/* What page_tail_end() finds: count, flags and pins at one instant. */
struct page_state {
	uint64_t count;
	uint64_t flags; /* pins << 32 | flags */
};
_Static_assert(offsetof(struct page, flags) == 8 &&
		       offsetof(struct page, pins) == 12,
	       "16 bytes, aligned: one CMPXCHG16B");

/*
 * Undo page_tail_begin() for a frame whose state is *was: it becomes a tail that looks
 * free, with count 0, no pin and the flags PAGE_FREE and maybe PG_DIRTY.  One
 * compare-and-swap, so that no reference, pin or flag that comes at the same time is lost.
 * Returns false, with *was the state that was found and nothing changed, if it is another.
 * Context: the caller accounts for each reference of the frame (page_freeze()).
 */
static always_inline bool page_tail_end(struct page *page,
					struct page_state *was, uint64_t flags)
{
	uint64_t count = was->count, old = was->flags;
	bool done;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(done), "+m"(*(struct page_state *)page),
			   "+a"(count), "+d"(old)
			 : "b"(UINT64_C(0)), "c"(flags)
			 : "memory");
	*was = (struct page_state){ count, old };
	return done;
}
