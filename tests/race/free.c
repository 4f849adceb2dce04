/* SPDX-License-Identifier: MIT */
/*
 * free.c - a page is freed: experiments 1, 2
 *
 * invalidate_range_start() is called while all pages are still mapped, and _end()
 * when they may have a new owner: neither is the time to flush a cache that the
 * hardware fills.
 */
#include "tests/fake/recorder.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client;
static struct victim victim;
static struct mm *mm;
static struct page *page; /* A's, at the beginning                         */

/* T0 discards A.  T1 gets its page; T1 is created before that, so that the page
 * does not become its stack. */
static struct task t0, t1;
static struct sync_point t1_turn;

static void discard_a(void *unused)
{
	mm_bind(mm);
	change(mm, 0, 1);
}

static void take_page(void *unused)
{
	sync_point_enter(&t1_turn);
	take(&victim, page);
}

static void t1_takes(void)
{
	sync_point_release(&t1_turn);
	join(&t1);
}

/* Attach device 0 to a process, and let it cache A. */
static void begin(struct iommu_fixture *s, const struct mmu_notifier_ops *ops)
{
	FIXTURE_NEEDS(s, caches);
	victim_begin(&victim);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	client_join(&client, s, 0, mm, ops);
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
}

/* Return what the page's next owner reads in the end. */
static uint64_t end(void)
{
	uint64_t v = victim_reads(&victim);

	explain_end();
	client_leave(&client);
	victim_end(&victim);
	mm_put(mm);
	return v;
}

/* ---- 1: between start and the unmap ------------------------------------- */

static void refill(uint64_t of, uint64_t va, void *unused)
{
	device_reads(&client, A);
}

static uint64_t refilled(struct iommu_fixture *s,
			 const struct mmu_notifier_ops *ops)
{
	begin(s, ops);
	hook("range_started", refill, NULL);
	go(&t0, 0, "T0", discard_a, NULL);
	join(&t0);
	unhook("range_started");
	t1_takes();
	device_writes(&client, A, 66);
	return end();
}

IOMMU_TEST(
	race, flush_in_start_is_too_early,
	"with a flush only in start a device caches the entry again before it "
	"is cleared, and writes to a page of another process")
{
	EXPECT_EQ(refilled(s, &only_start), 66);
}

IOMMU_TEST(
	race, flush_comes_after_the_clear,
	"with a flush in invalidate_range an entry cached before the clear is "
	"gone before the page has a new owner")
{
	EXPECT_EQ(refilled(s, SVA), 77);
}

/* ---- 2: between the free and end ---------------------------------------- */

static uint64_t between(struct iommu_fixture *s,
			const struct mmu_notifier_ops *ops)
{
	struct sync_point g;

	begin(s, ops);
	sync_point_set(&g, "range_end", mm);
	go(&t0, 0, "T0", discard_a, NULL);
	sync_point_await(&g); /* the page is free, end has not been called */
	t1_takes();
	device_writes(&client, A, 66);
	sync_point_release(&g);
	join(&t0);
	EXPECT_EQ(device_reads(&client, A), BLOCKED);
	return end();
}

IOMMU_TEST(race, flush_in_end_is_too_late,
	   "with a flush only in end a device writes to a page that was freed "
	   "and belongs to another process before end")
{
	EXPECT_EQ(between(s, &only_end), 66);
}

IOMMU_TEST(race, flush_comes_before_the_free,
	   "with a flush in invalidate_range the device cannot reach the page "
	   "when it is freed")
{
	EXPECT_EQ(between(s, SVA), 77);
}
