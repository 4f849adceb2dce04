/* SPDX-License-Identifier: MIT */
/*
 * pmm_block.c - allocate and free blocks of 2^order frames, keep the fixed pool
 *
 *   pages_alloc()        head: KERNEL, order      tails: KERNEL, PG_TAIL
 *   pages_alloc_bare()   head: KERNEL, order,     tails: FREE, as in the lists
 *                              PG_BARE
 *
 * A block of 2 MiB is one page as long as it is whole.  Its 511 tails would be
 * written at each allocation and again when it is freed: 5,600 instructions.  So
 * those of a bare block stay as they are in the lists, and code that finds such a
 * frame by its number asks its head (page_head()).  The checks stay: the head knows that it
 * was freed twice, and the checking build looks at the poison of each frame.
 */
#include "kernel/inject.h"
#include "kernel/thread.h"
#include "mm/frame/buddy.h"
#include "mm/frame/huge_pool.h"
#include "mm/frame/state.h"

/* As many instructions as `rep stosq`, of which QEMU executes one iteration in the time
 * of five stores. */
noinline void poison_fill(void *to)
{
	if (!CONFIG_CHECK)
		return;
	__asm__ volatile(".set word, 0\n\t"
			 ".rept 512\n\t"
			 "movq %1, word(%0)\n\t"
			 ".set word, word + 8\n\t"
			 ".endr"
			 :
			 : "r"(to), "r"(PMM_POISON)
			 : "memory");
}
_Static_assert(PAGE_SIZE / sizeof(uint64_t) == 512, "");

void frame_check_free(const struct page *page)
{
	const uint64_t *hurt = frame_poison_hurt(page);

	assert(!page_count(page));
	if (hurt)
		panic("frame %#lx was written after it was freed: "
		      "offset %#lx holds %#lx",
		      pfn_of(page), (va_t)hurt & ~PAGE_MASK, *hurt);
}

/* Take a block out of the lists.  Returns NULL when there is none. */
static struct page *take(unsigned order)
{
	struct page *page;

	assert(order < PMM_ORDERS);
	if (inject_should_fail())
		return NULL;
	spin_lock(&pmm_lock);
	page = buddy_take(order);
	spin_unlock(&pmm_lock);
	buddy_low_check();
	return page;
}

struct page *pages_alloc(unsigned order)
{
	struct page *page;

	if (!order)
		return page_alloc();
	page = take(order);
	if (!page)
		return NULL;
	for (unsigned i = 1; i < 1u << order; i++)
		frame_ready(page + i, PG_TAIL, 0);
	frame_ready(page, FIELD_PREP(PG_ORDER, order), PAGE_REF);
	return page;
}

/* Check the free frames of a block, and forget that they hold poison. */
static void check_tails(struct page *page, unsigned order)
{
	for (unsigned i = 1; i < 1u << order; i++) {
		assert((page_flags(page + i) & (PG_KIND | PG_BUDDY)) ==
		       PAGE_FREE);
		frame_check_free(page + i);
		atomic_store_explicit(&page[i].flags, PAGE_FREE,
				      memory_order_relaxed);
	}
}

struct page *pages_alloc_bare(unsigned order)
{
	struct page *page = take(order);

	if (!page)
		return NULL;
	if (CONFIG_CHECK)
		check_tails(page, order);
	san_unpoison(page_va(page), PAGE_SIZE << order);
	frame_ready(page, FIELD_PREP(PG_ORDER, order) | PG_BARE, PAGE_REF);
	return page;
}

bool pmm_has_block(unsigned order)
{
	bool has;

	require(locks_below(RANK_PMM));
	spin_lock(&pmm_lock);
	has = buddy_has(order);
	spin_unlock(&pmm_lock);
	return has;
}

bool page_take(struct page *page)
{
	bool taken;

	require(locks_below(RANK_PMM));
	if (page_kind(page) != PAGE_FREE)
		return false;
	spin_lock(&pmm_lock);
	taken = buddy_take_at(page, 0);
	spin_unlock(&pmm_lock);
	if (taken)
		frame_ready(page, 0, PAGE_REF);
	return taken;
}

void pages_unite(struct page *first, unsigned order)
{
	require(may_sleep());
	assert(IS_ALIGNED(pfn_of(first), UINT64_C(1) << order));
	for (unsigned i = 1; i < 1u << order; i++) {
		assert(page_kind(first + i) == PAGE_KERNEL);
		while (!page_freeze(first + i, PAGE_REF))
			yield(); /* page_try_get_user() drops it again */
		first[i].mapping.next = NULL;
		atomic_store_explicit(&first[i].flags, PAGE_FREE,
				      memory_order_relaxed);
	}
	page_set(first, FIELD_PREP(PG_ORDER, order) | PG_BARE);
}

/* ---- the fixed pool ------------------------------------------------------- */

#define POOL_ORDER 9u

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

	if (pmm_free_pages() < HUGE_POOL_LEAVES + (1u << POOL_ORDER))
		return false;
	block = pages_alloc_bare(POOL_ORDER);
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

struct huge_pool_stat huge_pool_stat(void)
{
	struct huge_pool_stat now;

	require(locks_below(RANK_PMM));
	spin_lock(&pool_lock);
	now = counts;
	spin_unlock(&pool_lock);
	return now;
}

void block_free(struct page *page)
{
	uint32_t flags = page_flags(page);
	unsigned order = page_order(page);

	if ((flags & PG_KIND) == PAGE_HUGETLB) {
		push(page, 0);
		return;
	}
	/* Tails of a bare block are free already, but for PG_DIRTY of some. */
	if (CONFIG_CHECK || (flags & (PG_BARE | PG_PARTS)) != PG_BARE)
		for (unsigned i = 1; i < 1u << order; i++)
			frame_dead(page + i);
	frame_dead(page);
	san_poison(page_va(page), PAGE_SIZE << order, SAN_FREED);
	spin_lock(&pmm_lock);
	buddy_give(page, order);
	spin_unlock(&pmm_lock);
}
