/* SPDX-License-Identifier: MIT */
/*
 * kswapd.c - memory is reclaimed in the background (mm/reclaim/kswapd.h)
 */
#include "mm/reclaim/kswapd.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/frame/pmm.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

#define PAGES 512u

static struct kswapd_stat stat_now(void)
{
	struct kswapd_stat stat;

	kswapd_stat(&stat);
	return stat;
}

/* Skip the test if there is a thread. */
static void alone(void)
{
	int ret = kswapd_start(1, 2);

	if (ret == -EBUSY)
		SKIP("low= and high= have started the thread");
	EXPECT_EQ(ret, 0);
	kswapd_stop();
}

/* Start it with marks that are `below` and `above` today's free frames. */
static int start_around(uint64_t below, uint64_t above)
{
	pmm_drain();
	return kswapd_start(pmm_free_pages() - below, pmm_free_pages() + above);
}

/* Make every page of mm present, where page i holds i + 1. */
static unsigned wrong_words(struct mm *mm, unsigned n)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < n; i++)
		wrong += rd(mm, P(i)) != i + 1;
	return wrong;
}

TEST(kswapd, memory_is_kept_free,
     "an allocation that leaves fewer than `low` frames wakes the thread, "
     "which "
     "swaps pages out until `high` are free, before any fault has no memory")
{
	struct mm *mm;
	uint64_t high;

	alone();
	mm = swap_fixture(PAGES, 1);
	EXPECT_EQ(mm_unmap(mm, VA, P(1)), 0);
	REQUIRE(!mm_map(mm, VA, P(PAGES) - VA, RW, 0, NULL, 0, NULL));
	pmm_drain();
	high = pmm_free_pages() - PAGES / 2;
	EXPECT_EQ(kswapd_start(high - 64, high), 0);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	/* Between the marks it sleeps. */
	while (!stat_now().wakes || pmm_free_pages() < high - 64)
		yield();
	kswapd_stop();
	EXPECT(stat_now().freed >= PAGES / 4);
	EXPECT(swap_stat().used >= PAGES / 4);
	EXPECT_EQ(wrong_words(mm, PAGES), 0);
	mm_put(mm);
	swap_fixture_end();
}

TEST(kswapd, high_is_the_end,
     "the thread stops at `high`: pages that need not go stay")
{
	struct mm *mm;
	uint64_t freed, wakes;

	alone();
	mm = swap_fixture(PAGES, PAGES);
	freed = stat_now().freed;
	/* The first refill is below `low`, and 32 frames are missing. */
	EXPECT_EQ(start_around(0, 32), 0);
	REQUIRE(!mm_map(mm, P(PAGES), P(PAGES + 64) - P(PAGES), RW, 0, NULL, 0,
			NULL));
	for (unsigned i = PAGES; i < PAGES + 64; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	while (stat_now().freed == freed)
		yield();
	wakes = stat_now().wakes;
	for (unsigned i = 0; i < 100; i++)
		yield();
	EXPECT(stat_now().wakes < wakes + 10); /* it sleeps */
	kswapd_stop();
	EXPECT(swap_stat().used < PAGES / 2);
	EXPECT_EQ(wrong_words(mm, PAGES + 64), 0);
	mm_put(mm);
	swap_fixture_end();
}

TEST(kswapd, rests_if_nothing_can_go,
     "without a page that can be swapped out the thread tries once and rests, "
     "however many allocations wake it, and stops at once when it is told")
{
	uint64_t fails = stat_now().fails, begin;
	struct mm *mm;

	alone();
	mm = mm_fixture(PAGES);
	EXPECT_EQ(start_around(0, 64), 0);
	begin = clock_ns();
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	while (stat_now().fails == fails)
		yield();
	for (unsigned i = 0; i < 50; i++)
		yield();
	kswapd_stop();
	EXPECT(stat_now().fails - fails <=
	       1 + (clock_ns() - begin) / KSWAPD_REST_NS);
	EXPECT_EQ(wrong_words(mm, PAGES), 0);
	mm_put(mm);
}

TEST(kswapd, start_and_stop,
     "marks that make no sense are refused, so is a second thread, and a stop "
     "without a thread does nothing")
{
	alone();
	EXPECT_EQ(kswapd_start(0, 10), -EINVAL);
	EXPECT_EQ(kswapd_start(10, 10), -EINVAL);
	EXPECT_EQ(kswapd_start(1, pmm_total() + 1), -EINVAL);
	inject_arm(1);
	EXPECT_EQ(kswapd_start(1, 2), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(kswapd_start(1, 2), 0);
	EXPECT_EQ(kswapd_start(1, 2), -EBUSY);
	kswapd_stop();
	kswapd_stop();
	EXPECT_EQ(kswapd_start(1, 2), 0);
	kswapd_stop();
}

/* Write until the device reads the word back: the page may go between a fault and the
 * access that it was for. */
static void store_for_sure(struct iommu_fixture *s, va_t va, uint64_t v)
{
	do
		EXPECT_EQ(fixture_store(s, 0, va, v), 0);
	while (fixture_read(s, 0, va) != v);
}

USER_TEST(kswapd_device, pages_go_under_dma,
	  "a device writes version numbers into pages while the thread swaps "
	  "them "
	  "out: each comes back with the last one (C68)")
{
	enum {
		N = 24,
		ROUNDS = 3
	};
	uint64_t freed = stat_now().freed;
	struct mm *mm;

	alone();
	mm = fixture_mm(s, N);
	swap_fixture_begin(4 * N);
	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	/* All that is free is too little: the thread never stops. */
	EXPECT_EQ(kswapd_start(pmm_total() - 1, pmm_total()), 0);
	for (uint64_t v = 1; v <= ROUNDS; v++)
		for (unsigned i = 0; i < N; i++)
			store_for_sure(s, P(i), v * 100 + i);
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(rd(mm, P(i)), ROUNDS * 100 + i);
	while (stat_now().freed == freed) {
		struct page *page;

		pmm_drain(); /* the allocation refills a CPU's cache: a wake-up */
		page = page_alloc();
		REQUIRE(page);
		page_put(page);
		yield();
	}
	kswapd_stop();
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(rd(mm, P(i)), ROUNDS * 100 + i);
	swap_fixture_end();
}
