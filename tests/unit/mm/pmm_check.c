/* SPDX-License-Identifier: MIT */
/*
 * pmm_check.c - the checker of the frames' allocator finds each error
 */
#include "kernel/lock.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"

/* A free block of 32 frames or more that is not the last of its list. */
static struct page *listed_block(void)
{
	for (pfn_t pfn = 0; pfn < frames_end; pfn++)
		if (page_test(&frames[pfn], PG_BUDDY) &&
		    page_order(&frames[pfn]) >= 5 && frames[pfn].mapping.next)
			return &frames[pfn];
	return NULL;
}

/* A frame that lies lowest in this CPU's cache, alone.  Context: no preemption. */
static struct page *cached_frame(struct page *others[PMM_BATCH])
{
	for (unsigned i = 0; i < PMM_BATCH; i++)
		others[i] = page_alloc();
	page_put(others[PMM_BATCH - 1]);
	return others[PMM_BATCH - 1];
}

TEST(pmm, wrong_frames_are_seen,
     "the checker finds a free frame of another kind, with a reference, with "
     "a pin, a list that is broken, and a cached frame that is listed")
{
	static struct page *others[PMM_BATCH];
	struct page *p = listed_block(), *next, *cached;
	static const char *const want[] = {
		"*kind FREE and listed frames differ",
		"*has users",
		"*has users",
		"*back link is wrong",
		"*block is not marked so",
		"*cached frame is in the lists",
	};
	const char *said[ARRAY_SIZE(want)];

	REQUIRE(p);
	next = p->mapping.next;
	EXPECT_STR_NULL(pmm_check());
	pmm_drain();
	preempt_disable();
	page_set_kind(p + 5, PAGE_KERNEL);
	said[0] = pmm_check();
	page_set_kind(p + 5, PAGE_FREE);
	atomic_store(&p[5].count, PAGE_REF);
	said[1] = pmm_check();
	atomic_store(&p[5].count, 0);
	atomic_store(&p[5].pins, 1);
	said[2] = pmm_check();
	atomic_store(&p[5].pins, 0);
	next->prev = NULL;
	said[3] = pmm_check();
	next->prev = p;
	atomic_fetch_and(&next->flags, ~(uint32_t)PG_BUDDY);
	said[4] = pmm_check();
	atomic_fetch_or(&next->flags, PG_BUDDY);
	cached = cached_frame(others);
	atomic_fetch_or(&cached->flags, PG_BUDDY);
	said[5] = pmm_check();
	atomic_fetch_and(&cached->flags, ~(uint32_t)PG_BUDDY);
	preempt_enable();
	for (unsigned i = 0; i < PMM_BATCH - 1; i++)
		page_put(others[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(said); i++)
		EXPECT(said[i] && glob_match(want[i], said[i]));
	EXPECT_STR_NULL(pmm_check());
}
