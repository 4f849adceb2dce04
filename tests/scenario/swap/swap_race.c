/* SPDX-License-Identifier: MIT */
/*
 * swap_race.c - other threads while a page is on its way out or in
 *
 * The store stops a transfer before its first byte, so that the test acts while it
 * is under way.
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/swap_fixture.h"

/* A swap-out of a page by a thread. */
struct swap_out {
	struct mm *mm;
	int ret;
};

static void swap_it_out(void *arg)
{
	struct swap_out *out = arg;

	out->ret = swap_out_at(out->mm, P(0));
}

/* Begin a swap-out of page 0 and stop it in the store's write. */
static void begin_out(struct task *t, struct swap_out *out, struct mm *mm,
		      struct sync_point *g)
{
	*out = (struct swap_out){ .mm = mm, .ret = 1 };
	swap_fixture_stop(NULL, g);
	spawn(t, swap_it_out, out);
	sync_point_await(g);
	swap_fixture_stop(NULL, NULL);
}

/* Begin a read of page 0 and stop it in the store's read. */
static void begin_in(struct task *t, struct access *a, struct mm *mm,
		     struct sync_point *g)
{
	*a = (struct access){ .mm = mm, .va = P(0) };
	swap_fixture_stop(g, NULL);
	spawn(t, access_read, a);
	sync_point_await(g);
	swap_fixture_stop(NULL, NULL);
}

TEST(swap_race, two_faults_make_one_page,
     "two threads that want a swapped page back get one frame from one read, "
     "and "
     "the writes of both are kept (C73, H47, B44)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct access a, b = { .mm = mm, .va = P(0) + 8, .v = 'B' };
	struct task ta, tb;
	struct sync_point g;

	swap_out_pages(mm, 0, 1);
	begin_in(&ta, &a, mm, &g);
	spawn(&tb, access_write, &b);
	EXPECT(still_waits(&tb));
	sync_point_release(&g);
	join(&ta);
	join(&tb);
	EXPECT_EQ(a.v, 1);
	EXPECT_EQ(b.ret, 0);
	EXPECT_EQ(swap_fixture_reads(), 1);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(mm, P(0) + 8), 'B');
	EXPECT_EQ(swap_stat().used, 0);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, late_fault_takes_no_old_content,
     "a thread that looked at a swapped entry before another brought the page "
     "back "
     "and wrote it reads what was written (H47)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct access a = { .mm = mm, .va = P(0) };
	struct sync_point g;
	struct task t;

	swap_out_pages(mm, 0, 1);
	sync_point_set(&g, "swap_held", mm);
	spawn(&t, access_read, &a);
	sync_point_await(
		&g); /* it holds the slot, and has not looked in the cache */
	REQUIRE(!wr(mm, P(0), 'N'));
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(a.v, 'N');
	EXPECT_EQ(swap_fixture_reads(), 1); /* not the slot, again */
	EXPECT_EQ(rd(mm, P(0)), 'N');
	EXPECT_EQ(swap_stat().used, 0);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, page_that_is_written_out_is_hit,
     "a page that is wanted back while it is written to the store is mapped at "
     "once, and a write to it then is not lost (B42)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct swap_out out;
	struct sync_point g;
	struct page *page;
	struct task t;

	begin_out(&t, &out, mm, &g);
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(wr(mm, P(0), 'N'), 0);
	EXPECT_EQ(swap_fixture_reads(), 0);
	page = page_at(mm, P(0));
	REQUIRE(page);
	EXPECT_EQ(page_swp(page), 0); /* a page in the cache is never written */
	page_put(page);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(out.ret, -EBUSY);
	EXPECT_EQ(rd(mm, P(0)), 'N');
	EXPECT_EQ(swap_stat().used, 0);
	swap_out_pages(mm, 0, 1);
	EXPECT_EQ(rd(mm, P(0)), 'N');
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, slot_is_not_reused_during_its_write,
     "the slot of a page that came back during its write is given to no other "
     "page "
     "before the write has ended")
{
	struct mm *mm = swap_fixture(2, 3);
	struct swap_out out;
	struct sync_point g;
	struct task t;

	begin_out(&t, &out, mm, &g);
	REQUIRE(!wr(mm, P(0), 'N'));
	EXPECT_EQ(swap_out_at(mm, P(1)), 0);
	EXPECT_EQ(swap_out_at(mm, P(2)), -ENOSPC);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(swap_out_at(mm, P(2)), 0);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_EQ(rd(mm, P(0)), 'N');
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, fork_during_a_write,
     "a fork while a page is written to the store shares its slot; both sides "
     "find "
     "the frame, and each write is its own")
{
	struct mm *mm = swap_fixture(4, 1), *child;
	struct swap_out out;
	struct sync_point g;
	struct task t;

	begin_out(&t, &out, mm, &g);
	child = fork_of(mm);
	EXPECT_EQ(rd(child, P(0)), 1);
	REQUIRE(!wr(mm, P(0), 'P'));
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(out.ret, -EBUSY);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(rd(mm, P(0)), 'P');
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, discard_during_a_write,
     "a page that is discarded while it is written to the store is gone, and "
     "its "
     "slot is free when the write has ended")
{
	struct mm *mm = swap_fixture(4, 1);
	struct swap_out out;
	struct sync_point g;
	struct task t;

	begin_out(&t, &out, mm, &g);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_EQ(swap_stat().used, 1);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(rd(mm, P(0)), 0);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, discard_during_a_read,
     "a page that is discarded while it is read from the store is not mapped: "
     "the "
     "access reads zeroes")
{
	struct mm *mm = swap_fixture(4, 1);
	struct sync_point g;
	struct access a;
	struct task t;

	swap_out_pages(mm, 0, 1);
	begin_in(&t, &a, mm, &g);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(a.v, 0);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(swap_stat().used, 0);
	mm_put(mm);
	swap_fixture_end();
}

static void put_it(void *mm)
{
	mm_put(mm);
}

TEST(swap_race, exit_during_a_write,
     "an address space may exit while one of its pages is written to the store "
     "(C67)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page = page_at(mm, P(0));
	struct sync_point g;
	struct task t, exit;
	struct swap_out out;

	REQUIRE(page);
	begin_out(&t, &out, mm, &g);
	spawn(&exit, put_it, mm);
	join(&exit);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(page_refs(page), 1);
	page_put(page);
	swap_fixture_end();
}

TEST(swap_race, one_swap_out_at_a_time,
     "of two swap-outs of one page the second is refused, and so is that of a "
     "page "
     "that is being read")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page = page_at(mm, P(0));
	struct swap_out out;
	struct sync_point g;
	struct access a;
	struct task t;

	REQUIRE(page);
	begin_out(&t, &out, mm, &g);
	EXPECT_EQ(swap_out(page), -EBUSY);
	page_put(page);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(out.ret, 0);
	begin_in(&t, &a, mm, &g);
	page = NULL;
	for (pfn_t pfn = 0; pfn < frames_end && !page; pfn++)
		if (page_kind(&frames[pfn]) == PAGE_ANON &&
		    page_swp(&frames[pfn]) && page_try_get_user(&frames[pfn]))
			page = &frames[pfn];
	REQUIRE(page);
	EXPECT_EQ(swap_out(page), -EBUSY);
	page_put(page);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(a.v, 1);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_race, failed_read_wakes_who_waits,
     "a thread that waits for a read which fails tries by itself, and gets the "
     "content if the store has recovered")
{
	struct mm *mm = swap_fixture(4, 1);
	struct access a, b = { .mm = mm, .va = P(0) };
	struct sync_point ga, gb;
	struct task ta, tb;

	swap_out_pages(mm, 0, 1);
	swap_fixture_fail(1, 0);
	begin_in(&ta, &a, mm, &ga);
	spawn(&tb, access_read, &b);
	EXPECT(still_waits(&tb));
	/* If b's read ended first, a's fault would find b's page. */
	swap_fixture_stop(&gb, NULL);
	sync_point_release(&ga);
	join(&ta);
	EXPECT_EQ(a.v, BAD);
	sync_point_await(&gb);
	swap_fixture_stop(NULL, NULL);
	sync_point_release(&gb);
	join(&tb);
	EXPECT_EQ(b.v, 1);
	mm_put(mm);
	swap_fixture_end();
}

static void swap_it_off(void *ret)
{
	*(int *)ret = swap_off();
}

TEST(swap_race, swapoff_waits_for_the_last_user,
     "a store is in use until the last thread that reads from it has ended, "
     "also if "
     "the entry that it reads for is gone")
{
	struct mm *mm = swap_fixture(4, 2);
	struct task t, off;
	struct sync_point g;
	struct access a;
	int ret = 1;

	swap_out_pages(mm, 0, 2);
	begin_in(&t, &a, mm, &g);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	spawn(&off, swap_it_off, &ret);
	/* It has brought in what it could, and looks at the store again and again. */
	while (entry_swapped(entry_at(mm, P(1))) && !atomic_load(&off.done))
		yield();
	for (unsigned i = 0; i < 200; i++)
		yield();
	EXPECT(!atomic_load(&off.done));
	EXPECT_EQ(swap_stat().pages, 4);
	EXPECT(swap_out_at(mm, P(1)) < 0); /* no slot is given out now */
	sync_point_release(&g);
	join(&t);
	join(&off);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(swap_stat().pages, 0);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(1)), 2);
	swap_fixture_off();
	mm_put(mm);
}

/* ---- a thread that writes ------------------------------------------------------ */

#define ROUNDS 100

/* Writes 1, 2, 3, ... to a word of page 0 until told to stop. */
static struct writer {
	struct mm *mm;
	_Atomic bool stop;
	uint64_t last, lost;
} writer;

static void write_on(void *unused)
{
	(void)unused;
	while (!atomic_load(&writer.stop)) {
		if (rd(writer.mm, P(0) + 64) != writer.last)
			writer.lost++;
		if (!wr(writer.mm, P(0) + 64, writer.last + 1))
			writer.last++;
		yield();
	}
}

TEST(swap_race, no_write_of_a_thread_is_lost,
     "a thread that counts in a page, while another swaps it out 100 times, "
     "reads "
     "each time what it has written last (C68, B42)")
{
	struct mm *mm = swap_fixture(4, 1);
	unsigned outs = 0;
	struct task t;

	writer = (struct writer){ .mm = mm };
	spawn(&t, write_on, NULL);
	while (outs < ROUNDS) {
		outs += !swap_out_at(mm, P(0));
		yield();
	}
	atomic_store(&writer.stop, true);
	join(&t);
	EXPECT_EQ(writer.lost, 0);
	EXPECT(writer.last > 0);
	EXPECT_EQ(rd(mm, P(0) + 64), writer.last);
	mm_put(mm);
	swap_fixture_end();
}
