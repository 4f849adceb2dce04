/* SPDX-License-Identifier: MIT */
/*
 * device_race.c - two threads and one page on its way back from a device: H44, C62
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "tests/fake/fake_device.h"

static struct fake_device *d;

struct access {
	struct mm *mm;
	uint64_t v;
};

static void read_it(void *arg)
{
	struct access *a = arg;

	a->v = rd(a->mm, P(0));
}

TEST(device_race, two_faults_bring_one_page,
     "two threads fault one device page: one copies, the other waits without a "
     "reference, and both read the content (H44)")
{
	struct mm *mm = mm_with_device(&d, 1, 4);
	struct access a = { mm, 0 }, b = { mm, 0 };
	struct sync_point stop = { 0 };
	struct task t, u;
	struct page *page = device_page_at(mm, P(0));

	page_put(page);
	d->copies = 0;
	sync_point_set(&stop, NULL, NULL);
	d->stop = &stop;
	spawn(&t, read_it, &a);
	sync_point_await(&stop);
	d->stop = NULL;
	spawn(&u, read_it, &b);
	EXPECT(still_waits(&u));
	EXPECT_EQ(page_count(page), 0); /* frozen */
	sync_point_release(&stop);
	join(&t);
	join(&u);
	EXPECT(a.v == 1 && b.v == 1);
	EXPECT_EQ(d->copies, 1);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_with_device_end(mm, d);
}

TEST(device_race, second_fault_waits_at_the_mark,
     "a thread that faults a page which another has marked, and not yet taken, "
     "waits without a reference: the first moves it, in one copy (H44)")
{
	struct mm *mm = mm_with_device(&d, 1, 4);
	struct access a = { mm, 0 }, b = { mm, 0 };
	struct page *page = device_page_at(mm, P(0));
	struct sync_point stop = { 0 };
	struct task t, u;

	page_put(page);
	d->copies = 0;
	sync_point_set(&stop, "device_fault", mm);
	spawn(&t, read_it, &a);
	sync_point_await(&stop);
	spawn(&u, read_it, &b);
	EXPECT(still_waits(&u));
	EXPECT_EQ(page_count(page), 2 * PAGE_REF); /* the entry, the first */
	sync_point_release(&stop);
	join(&t);
	join(&u);
	EXPECT(a.v == 1 && b.v == 1);
	EXPECT_EQ(d->copies, 1);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_with_device_end(mm, d);
}

/* Mark the page as an eviction does. */
static void mark_it(uint64_t mm, uint64_t va, void *page)
{
	REQUIRE(moving_begin(page));
}

TEST(device_race, mark_that_is_set_before_the_fault_sets_it_is_waited_for,
     "a fault that found no mark, and finds one when it sets its own, waits "
     "without a reference until that is cleared (H44)")
{
	struct mm *mm = mm_with_device(&d, 1, 4);
	struct access a = { mm, 0 };
	struct page *page = device_page_at(mm, P(0));
	struct task t;

	page_put(page);
	d->copies = 0;
	hook("device_found", mark_it, page);
	spawn(&t, read_it, &a);
	EXPECT(still_waits(&t));
	unhook("device_found");
	EXPECT_EQ(page_count(page), PAGE_REF); /* the entry's */
	EXPECT_EQ(d->copies, 0);
	moving_end(page);
	join(&t);
	EXPECT_EQ(a.v, 1);
	EXPECT_EQ(d->copies, 1);
	mm_with_device_end(mm, d);
}

TEST(device_race, fault_of_a_child_waits_for_its_parents,
     "a fault of the child while the parent's brings the shared page back "
     "waits, and maps the same frame")
{
	struct mm *mm = mm_with_device(&d, 1, 4), *child = fork_of(mm);
	struct access a = { mm, 0 }, b = { child, 0 };
	struct sync_point stop = { 0 };
	struct task t, u;

	d->copies = 0;
	sync_point_set(&stop, NULL, NULL);
	d->stop = &stop;
	spawn(&t, read_it, &a);
	sync_point_await(&stop);
	d->stop = NULL;
	spawn(&u, read_it, &b);
	EXPECT(still_waits(&u));
	EXPECT_EQ(device_memory_evict(&d->memory, 1), 0);
	sync_point_release(&stop);
	join(&t);
	join(&u);
	EXPECT(a.v == 1 && b.v == 1);
	EXPECT_EQ(d->copies, 1);
	mm_put(child);
	mm_with_device_end(mm, d);
}

static struct mm *forked;

static void forks(void *mm)
{
	forked = fork_of(mm);
}

static void unmaps(void *mm)
{
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
}

TEST(device_race, discard_meets_the_copy,
     "a discard while the page is copied back wins: the address reads as zero, "
     "and both frames are free")
{
	struct mm *mm = mm_with_device(&d, 1, 4);
	struct access a = { mm, 0 };
	struct sync_point stop = { 0 };
	struct task t;

	sync_point_set(&stop, NULL, NULL);
	d->stop = &stop;
	spawn(&t, read_it, &a);
	sync_point_await(&stop);
	d->stop = NULL;
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	sync_point_release(&stop);
	join(&t);
	EXPECT_EQ(a.v, 0);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_with_device_end(mm, d);
}

/* Evict page 0 by a thread of its own. */
static void evict_it(void *unused)
{
	EXPECT_EQ(device_memory_evict(&d->memory, 1), 1);
}

/* Stop an eviction in its copy, run fn(mm) by another thread, and let both end. */
static void while_evicted(struct mm *mm, void (*fn)(void *mm))
{
	struct sync_point stop = { 0 };
	struct task t, u;

	sync_point_set(&stop, NULL, NULL);
	d->stop = &stop;
	spawn(&t, evict_it, NULL);
	sync_point_await(&stop);
	d->stop = NULL;
	spawn(&u, fn, mm);
	join(&u);
	sync_point_release(&stop);
	join(&t);
}

TEST(device_race, fork_meets_an_eviction,
     "a fork while a device page is brought back shares the new frame: both "
     "sides read the content, and neither may write it without a copy")
{
	struct mm *mm = mm_with_device(&d, 1, 4);

	while_evicted(mm, forks);
	EXPECT(!(entry_at(mm, P(0)) & PTE_W));
	EXPECT_EQ(wr(forked, P(0), 8), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(forked, P(0)), 8);
	mm_put(forked);
	mm_with_device_end(mm, d);
}

TEST(device_race, unmap_meets_an_eviction,
     "an unmap while a device page is brought back does not wait, and leaves "
     "neither the device's page nor the frame")
{
	struct mm *mm = mm_with_device(&d, 1, 4);

	while_evicted(mm, unmaps);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_with_device_end(mm, d);
}
