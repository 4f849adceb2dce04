/* SPDX-License-Identifier: MIT */
/*
 * scn_race_free.c - a page is freed: experiments 1, 2
 *
 * invalidate_range_start() is called while all pages are still mapped, and _end()
 * when they may belong to others: neither is the moment to flush a cache that
 * fills itself.
 */
#include "tests/cast.h"
#include "tests/race.h"
#include "tests/explain.h"

static struct client client;
static struct victim victim;
static struct mm *mm;
static struct page *page; /* A's, at the beginning                         */

/* T0 discards A.  T1, who is there before so that the page does not become his
 * stack, gets it. */
static struct task t0, t1;
static struct gate t1_turn;

static void discard_a(void *unused)
{
	mm_bind(mm);
	change(mm, 0, 1);
}

static void take_page(void *unused)
{
	gate_enter(&t1_turn);
	take(&victim, page);
}

static void t1_takes(void)
{
	gate_open(&t1_turn);
	join(&t1);
}

/* Device 0 is in a process, and has A cached. */
static void begin(struct stand *s, const struct mmu_notifier_ops *ops)
{
	STAND_NEEDS(s, caches);
	victim_begin(&victim);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	client_join(&client, s, 0, mm, ops);
	gate_close(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
}

/* What the one who got the page reads in the end. */
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

static uint64_t refilled(struct stand *s, const struct mmu_notifier_ops *ops)
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

IOMMU_TEST(race, start_is_too_early,
	   "flushed only in start, a device reads the entry again before it is "
	   "cleared, and writes to a page that is another's by then")
{
	EXPECT_EQ(refilled(s, &only_start), 66);
}

IOMMU_TEST(
	race, range_comes_after_the_clear,
	"flushed in invalidate_range, what was read before the clear is gone "
	"before the page is another's")
{
	EXPECT_EQ(refilled(s, SVA), 77);
}

/* ---- 2: between the free and end ---------------------------------------- */

static uint64_t between(struct stand *s, const struct mmu_notifier_ops *ops)
{
	struct gate g;

	begin(s, ops);
	gate_close(&g, "range_end", mm);
	go(&t0, 0, "T0", discard_a, NULL);
	gate_await(&g); /* the page is free, end has not been called */
	t1_takes();
	device_writes(&client, A, 66);
	gate_open(&g);
	join(&t0);
	EXPECT_EQ(device_reads(&client, A), BLOCKED);
	return end();
}

IOMMU_TEST(race, end_is_too_late,
	   "flushed only in end, a device writes to a page that was freed and "
	   "is another's before end")
{
	EXPECT_EQ(between(s, &only_end), 66);
}

IOMMU_TEST(race, range_comes_before_the_free,
	   "flushed in invalidate_range, the page is out of reach before it is "
	   "free")
{
	EXPECT_EQ(between(s, SVA), 77);
}
