/* SPDX-License-Identifier: MIT */
/*
 * huge_pool.c - the free blocks on a list, linked by mapping.next
 */
#include "mm/frame/huge_pool.h"
#include "kernel/lock.h"
#include "mm/frame/buddy.h"
#include "mm/frame/pmm.h"

#define ORDER 9u

static struct spinlock pool_lock = SPINLOCK_INIT(RANK_PMM, "huge pool");
static struct page *free_blocks;     /* pool_lock */
static struct huge_pool_stat counts; /* pool_lock */

/* Put a block on the list, which gains `more` blocks by it. */
static void push(struct page *block, unsigned more)
{
	spin_lock(&pool_lock);
	block->mapping.next = free_blocks;
	free_blocks = block;
	counts.free++;
	counts.total += more;
	spin_unlock(&pool_lock);
}

/* Take a block off the list, which loses `fewer` blocks by it, or NULL. */
static struct page *pop(unsigned fewer)
{
	struct page *block;

	spin_lock(&pool_lock);
	block = free_blocks;
	if (block) {
		free_blocks = block->mapping.next;
		block->mapping.next = NULL;
		counts.free--;
		counts.total -= fewer;
	}
	spin_unlock(&pool_lock);
	return block;
}

/* Take a block from memory.  Returns false if there is none to spare. */
static bool grow(void)
{
	struct page *block;

	if (pmm_free_pages() < HUGE_POOL_LEAVES + (1u << ORDER))
		return false;
	block = pages_alloc_bare(ORDER);
	if (!block)
		return false;
	page_set_kind(block, PAGE_HUGETLB);
	page_count_add(block, -PAGE_REF);
	push(block, 1);
	return true;
}

/* Give a free block back to memory.  Returns false if none is free. */
static bool shrink(void)
{
	struct page *block = pop(1);

	if (!block)
		return false;
	page_count_add(block, PAGE_REF);
	page_set_kind(block, PAGE_KERNEL);
	page_put(block);
	return true;
}

unsigned huge_pool_resize(unsigned n)
{
	require(locks_below(RANK_PMM));
	while (huge_pool_stat().total < n && grow())
		;
	while (huge_pool_stat().total > n && shrink())
		;
	return huge_pool_stat().total;
}

struct page *huge_pool_take(void)
{
	struct page *block = pop(0);

	require(locks_below(RANK_PMM));
	if (!block)
		return NULL;
	page_clear(block, PG_DIRTY);
	page_set_exclusive(block);
	page_count_add(block, PAGE_REF);
	return block;
}

void huge_pool_give(struct page *block)
{
	require(locks_below(RANK_PMM));
	assert(page_kind(block) == PAGE_HUGETLB && !page_count(block));
	push(block, 0);
}

struct huge_pool_stat huge_pool_stat(void)
{
	struct huge_pool_stat now;

	require(locks_below(RANK_PMM));
	spin_lock(&pool_lock);
	now = counts;
	spin_unlock(&pool_lock);
	return now;
}
