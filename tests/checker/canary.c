/* SPDX-License-Identifier: MIT */
/*
 * canary.c - a queue of frames
 */
#include "tests/checker/canary.h"
#include "kernel/lock.h"
#include "tests/checker/device_checker.h"

#define WORDS (PAGE_SIZE / sizeof(uint64_t))

/* Key: (O) lock */
static struct spinlock lock = SPINLOCK_INIT(RANK_CHECKER, "canaries");
static struct page *held[CANARIES]; /* (O) the oldest at next              */
static unsigned next;               /* (O)                                 */
static uint64_t count;              /* (O)                                 */

/* Return the pattern of this frame's words. */
static uint64_t pattern_of(const struct page *page)
{
	return CANARY | (pfn_of(page) & ~CANARY_MARK);
}

static void look(const struct page *page)
{
	const uint64_t *word = page_va(page), should = pattern_of(page);
	uint64_t differs = 0;
	unsigned i = 0;

#pragma GCC unroll 16
	for (unsigned k = 0; k < WORDS; k++)
		differs |= READ_ONCE(word[k]) ^ should;
	if (!differs)
		return;
	while (i < WORDS - 1 && READ_ONCE(word[i]) == should)
		i++;
	checker_complain("frame %#lx was written after it was freed: "
			 "offset %#lx holds %#lx",
			 pfn_of(page), i * sizeof(*word), word[i]);
}

static void let_go(struct page *page)
{
	if (!page)
		return;
	look(page);
	page_put(page);
}

void canary_take(struct page *page)
{
	uint64_t *word = page_va(page), says = pattern_of(page);
	struct page *oldest;

	assert(!page_count(page) && !page_order(page));
	atomic_store(&page->count, PAGE_REF);
	atomic_store(&page->flags, PAGE_KERNEL);
	page->mapping.next = NULL;
#pragma GCC unroll 16
	for (unsigned i = 0; i < WORDS; i++)
		word[i] = says;
	spin_lock(&lock);
	oldest = held[next];
	held[next] = page;
	next = (next + 1) % CANARIES;
	count++;
	spin_unlock(&lock);
	let_go(oldest);
}

void canary_release(void)
{
	for (unsigned i = 0; i < CANARIES; i++) {
		struct page *page;

		spin_lock(&lock);
		page = held[i];
		held[i] = NULL;
		spin_unlock(&lock);
		let_go(page);
	}
}

uint64_t canary_count(void)
{
	return count;
}
