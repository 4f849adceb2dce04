/* SPDX-License-Identifier: MIT */
/*
 * object_race.c - other threads while a page of an object is on its way out or in
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

static void swap_it_out(void *ret)
{
	*(int *)ret = swap_out_at(shared.a, P(0));
}

/* Begin a swap-out of page 0 and stop it in the store's write. */
static void begin_out(struct task *t, int *ret, struct sync_point *g)
{
	*ret = 1;
	swap_fixture_stop(NULL, g);
	spawn(t, swap_it_out, ret);
	sync_point_await(g);
	swap_fixture_stop(NULL, NULL);
}

/* Begin a read of page 0 by b and stop it in the store's read. */
static void begin_in(struct task *t, struct access *a, struct sync_point *g)
{
	*a = (struct access){ .mm = shared.b, .va = P(0) };
	swap_fixture_stop(g, NULL);
	spawn(t, access_read, a);
	sync_point_await(g);
	swap_fixture_stop(NULL, NULL);
}

TEST(swap_object_race, two_faults_make_one_page,
     "two address spaces that want a page of an object back get one frame from "
     "one read, and the writes of both are kept (C73, H47, B44)")
{
	struct access a, b;
	struct task ta, tb;
	struct sync_point g;

	object_fixture(2, 1);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	begin_in(&ta, &a, &g);
	b = (struct access){ .mm = shared.a, .va = P(0) + 8, .v = 'B' };
	spawn(&tb, access_write, &b);
	EXPECT(still_waits(&tb));
	sync_point_release(&g);
	join(&ta);
	join(&tb);
	EXPECT_EQ(a.v, 1);
	EXPECT_EQ(b.ret, 0);
	EXPECT_EQ(swap_fixture_reads(), 1);
	EXPECT_EQ(rd(shared.b, P(0) + 8), 'B');
	EXPECT_EQ(wr(shared.b, P(0), 'A'), 0);
	EXPECT_EQ(rd(shared.a, P(0)), 'A');
	object_fixture_end();
}

TEST(swap_object_race, failed_read_wakes_who_waits,
     "a thread that waits for a read which fails tries by itself")
{
	struct access a, b;
	struct task ta, tb;
	struct sync_point g;

	object_fixture(2, 1);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	swap_fixture_fail(1, 0);
	begin_in(&ta, &a, &g);
	b = (struct access){ .mm = shared.a, .va = P(0) };
	spawn(&tb, access_read, &b);
	EXPECT(still_waits(&tb));
	EXPECT_EQ(swap_fixture_reads(), 1);
	sync_point_release(&g);
	join(&ta);
	join(&tb);
	EXPECT_EQ(b.v, 1);
	EXPECT(a.v == BAD || a.v == 1); /* it may fault again after b */
	EXPECT_EQ(swap_stat().read_errors, 1);
	object_fixture_end();
}

TEST(swap_object_race, access_waits_for_the_write,
     "an access to a page of an object that is being written to the store "
     "waits, and "
     "then reads it back; a write is not lost (B42)")
{
	struct access a;
	struct sync_point g;
	struct task out, in;
	int ret;

	object_fixture(2, 1);
	begin_out(&out, &ret, &g);
	EXPECT_EQ(entry_at(shared.a, P(0)), 0);
	EXPECT_EQ(entry_at(shared.b, P(0)), 0);
	a = (struct access){ .mm = shared.b, .va = P(0) + 8, .v = 'W' };
	spawn(&in, access_write, &a);
	EXPECT(still_waits(&in));
	sync_point_release(&g);
	join(&out);
	join(&in);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(a.ret, 0);
	EXPECT_EQ(rd(shared.a, P(0)), 1);
	EXPECT_EQ(rd(shared.a, P(0) + 8), 'W');
	EXPECT_EQ(swap_fixture_reads(), 1);
	object_fixture_end();
}

TEST(swap_object_race, access_waits_for_a_write_that_fails,
     "an access that has waited for a write which fails gets the page in its "
     "frame")
{
	struct access a;
	struct sync_point g;
	struct task out, in;
	int ret;

	object_fixture(2, 1);
	swap_fixture_fail(0, 1);
	begin_out(&out, &ret, &g);
	a = (struct access){ .mm = shared.b, .va = P(0) };
	spawn(&in, access_read, &a);
	EXPECT(still_waits(&in));
	sync_point_release(&g);
	join(&out);
	join(&in);
	EXPECT_EQ(ret, -EIO);
	EXPECT_EQ(a.v, 1);
	EXPECT_EQ(swap_fixture_reads(), 0);
	EXPECT_EQ(swap_stat().used, 0);
	object_fixture_end();
}

static struct {
	struct page *page;
	uint64_t v;
} meet;

/* Hook of swap_unmapped: an address space still has a reference on the page, with which it
 * is about to map it. */
static void hold_it(uint64_t page, uint64_t swp, void *unused)
{
	(void)swp;
	(void)unused;
	unhook("swap_unmapped");
	meet.page = (struct page *)page;
	page_get(meet.page);
	*(uint64_t *)page_va(meet.page) = 'H';
}

TEST(swap_object_race, thread_that_got_it_before,
     "a page that a thread has found before it was marked, and maps after it "
     "was unmapped, is not written to the store and stays the page")
{
	object_fixture(2, 1);
	hook("swap_unmapped", hold_it, NULL);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), -EBUSY);
	EXPECT_EQ(swap_fixture_writes(), 0);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'H');
	page_put(meet.page);
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(rd(shared.a, P(0)), 'H');
	object_fixture_end();
}

TEST(swap_object_race, one_way_at_a_time,
     "a page of an object that is being written is neither moved nor swapped "
     "out by "
     "another thread, and one that is moved is not swapped out")
{
	struct migration m;
	struct page *page;
	struct sync_point g;
	struct task out;
	int ret;

	object_fixture(2, 1);
	page = page_at(shared.a, P(0));
	REQUIRE(page);
	page_put(page); /* the object keeps it */
	swap_fixture_fail(0, 1);
	begin_out(&out, &ret, &g);
	EXPECT(!page_try_get_user(page)); /* it is frozen */
	sync_point_release(&g);
	join(&out);
	EXPECT_EQ(ret, -EIO);
	EXPECT_EQ(rd(shared.a, P(0)), 1);
	migration_begin(&m, shared.a, "migrate_unmapped");
	EXPECT_EQ(swap_out(page), -EBUSY);
	EXPECT_EQ(migration_end(&m), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	object_fixture_end();
}

static void put_all(void *unused)
{
	(void)unused;
	mm_put(shared.a);
	mm_put(shared.b);
	object_put(shared.object);
}

TEST(swap_object_race, exit_during_a_write,
     "all users of an object may go while a page of it is written to the "
     "store: its slot is free when the write has ended (C67)")
{
	struct sync_point g;
	struct task out, exit;
	int ret;

	object_fixture(2, 1);
	begin_out(&out, &ret, &g);
	spawn(&exit, put_all, NULL);
	join(&exit);
	shared.a = shared.b = NULL;
	shared.object = NULL;
	EXPECT_EQ(swap_stat().used, 1);
	sync_point_release(&g);
	join(&out);
	EXPECT_EQ(ret, 0);
	object_fixture_end();
}

static void swap_it_off(void *ret)
{
	*(int *)ret = swap_off();
}

TEST(swap_object_race, swapoff_during_a_write,
     "a swapoff during a swap-out of a page of an object waits for it, and "
     "brings the page back")
{
	struct sync_point g;
	struct task out, off;
	int ret, off_ret = 1;

	object_fixture(2, 2);
	begin_out(&out, &ret, &g);
	spawn(&off, swap_it_off, &off_ret);
	EXPECT(still_waits(&off));
	EXPECT_EQ(swap_out_at(shared.a, P(1)), -ENOSPC);
	sync_point_release(&g);
	join(&out);
	join(&off);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(off_ret, 0);
	swap_fixture_off();
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	EXPECT_EQ(swap_fixture_reads(), 1);
	swap_fixture_begin(2);
	object_fixture_end();
}

TEST(swap_object_race, swapoff_of_a_page_that_moves,
     "a swapoff takes the slot of a page that is on the way to another frame "
     "when it "
     "has arrived")
{
	struct migration m;
	struct task off;
	int ret = 1;

	object_fixture(2, 1);
	object_clean(0);
	migration_begin(&m, shared.a, "migrate_unmapped");
	spawn(&off, swap_it_off, &ret);
	EXPECT(still_waits(&off));
	EXPECT_EQ(migration_end(&m), 0);
	join(&off);
	EXPECT_EQ(ret, 0);
	swap_fixture_off();
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	swap_fixture_begin(2);
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 1);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	object_fixture_end();
}
