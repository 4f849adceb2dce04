/* SPDX-License-Identifier: MIT */
/*
 * poison.h - fill free frames with a pattern and find writes to them
 *
 * Private to pmm.c and pmm_init.c; checking build only.
 */
#pragma once

#include "kernel/san/san.h"
#include "mm/frame/pmm.h"

/* Fill the page at `to` with PMM_POISON. */
void poison_fill(void *to);

/* Fill a free frame with PMM_POISON. */
static inline void frame_poison(struct page *page)
{
	void *to = page_va(page);

	san_touch(to, PAGE_SIZE, true);
	poison_fill(to);
}

/* Return the first word of a PG_POISONED frame that is not poison, or NULL. */
static inline const uint64_t *frame_poison_hurt(const struct page *page)
{
	const uint64_t *at = page_va(page);
	uint64_t n = PAGE_SIZE / 8;
	bool whole;

	if (!page_test(page, PG_POISONED))
		return NULL;
	san_touch(at, PAGE_SIZE, false);
	__asm__ volatile("repe scasq"
			 : "+D"(at), "+c"(n), "=@ccz"(whole)
			 : "a"(PMM_POISON)
			 : "memory");
	return whole ? NULL : at - 1;
}
