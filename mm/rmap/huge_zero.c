/* SPDX-License-Identifier: MIT */
/*
 * huge_zero.c - allocate the block of zeroes
 */
#include "mm/rmap/huge_zero.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/huge.h"

struct page *_Atomic huge_zero;

/* Allocate the block, unless another thread is faster. */
static noinline struct page *make(void)
{
	struct page *block = pages_alloc_bare(BLOCK_ORDER), *other = NULL;

	if (!block)
		return NULL;
	pages_zero(block, BLOCK_ORDER);
	page_set_kind(block, PAGE_ZERO);
	atomic_store(&huge_uncounted, true);
	if (atomic_compare_exchange_strong(&huge_zero, &other, block))
		return block;
	page_set_kind(block, PAGE_KERNEL);
	page_put(block);
	return other;
}

struct page *huge_zero_get(void)
{
	struct page *block = atomic_load(&huge_zero);

	require(may_sleep());
	return likely(block) ? block : make();
}

void huge_zero_forget(void)
{
	struct page *block = atomic_load(&huge_zero);

	require(may_sleep());
	if (!block || page_count(block) != PAGE_REF)
		return;
	atomic_store(&huge_zero, NULL);
	page_set_kind(block, PAGE_KERNEL);
	page_put(block);
}
