/* SPDX-License-Identifier: MIT */
/*
 * swap_taken.c - a page that is taken out of its slot, or given one, at a bad moment
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/swap_fixture.h"

/* Hook of swap_begun: write to page 0, whose frame is in the cache. */
static void write_to_it(uint64_t page, uint64_t swp, void *mm)
{
	(void)page;
	(void)swp;
	unhook("swap_begun");
	EXPECT_EQ(wr(mm, P(0), 'N'), 0);
}

TEST(swap_taken, before_it_is_unmapped,
     "a page that a write takes out of the cache after its swap-out has begun "
     "is "
     "not unmapped, and keeps what was written (B44)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page = page_at(mm, P(0));

	REQUIRE(page);
	swap_fixture_fail(0, 1);
	EXPECT_EQ(swap_out(page), -EIO); /* swapped, with its frame cached */
	hook("swap_begun", write_to_it, mm);
	swap_fixture_fail(0, 1);
	EXPECT_EQ(swap_out(page), -EBUSY);
	EXPECT_EQ(page_swp(page), 0);
	EXPECT(entry_mapped(entry_at(mm, P(0))));
	page_put(page);
	EXPECT_STR_NULL(swap_check());
	EXPECT_EQ(rd(mm, P(0)), 'N');
	mm_put(mm);
	swap_fixture_end();
}

/* A thread that touches page 0, or swaps it out. */
struct actor {
	struct mm *mm;
	int ret;
};

static void touch_it(void *arg)
{
	struct actor *a = arg;

	a->ret = mm_fault(a->mm, P(0), PROT_R);
}

static void swap_it_out(void *arg)
{
	struct actor *a = arg;

	a->ret = swap_out_at(a->mm, P(0));
}

TEST(swap_taken, slot_has_no_old_content,
     "after a swap-out whose page was taken and written during the transfer, a "
     "thread that still holds the slot does not read it (H47)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct actor out = { .mm = mm }, in = { .mm = mm };
	struct sync_point write, held;
	struct task to, ti;

	swap_fixture_stop(NULL, &write);
	spawn(&to, swap_it_out, &out);
	sync_point_await(&write);
	swap_fixture_stop(NULL, NULL);
	sync_point_set(&held, "swap_held", mm);
	spawn(&ti, touch_it, &in);
	sync_point_await(&held);
	REQUIRE(!wr(mm, P(0), 'N'));
	sync_point_release(&write);
	join(&to);
	EXPECT_EQ(out.ret, -EBUSY);
	sync_point_release(&held);
	join(&ti);
	EXPECT_EQ(in.ret, 0);
	EXPECT_EQ(swap_fixture_reads(), 0);
	EXPECT_EQ(rd(mm, P(0)), 'N');
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap_taken, failed_read_of_a_changed_entry,
     "a read that fails is no error of an access whose page was discarded "
     "meanwhile: it gets zeroes (H47)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct actor in = { .mm = mm, .ret = 1 };
	struct sync_point read;
	struct task t;

	swap_out_pages(mm, 0, 1);
	swap_fixture_fail(1, 0);
	swap_fixture_stop(&read, NULL);
	spawn(&t, touch_it, &in);
	sync_point_await(&read);
	swap_fixture_stop(NULL, NULL);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	sync_point_release(&read);
	join(&t);
	EXPECT_EQ(in.ret, 0);
	EXPECT_EQ(rd(mm, P(0)), 0);
	mm_put(mm);
	swap_fixture_end();
}

/* The swap-out that begin_out() began. */
static struct {
	struct page *page;
	swp_t swp;
} begun;

/* Hook of swap_fresh: find the frame by its number and begin to swap it out. */
static void begin_out(uint64_t page, uint64_t mm, void *unused)
{
	(void)mm;
	(void)unused;
	unhook("swap_fresh");
	begun.page = (struct page *)page;
	REQUIRE(page_try_get_user(begun.page));
	EXPECT_EQ(swap_out_begin(begun.page, &begun.swp), 0);
}

TEST(swap_taken, fresh_frame_is_swapped_out,
     "a frame that another thread gives a slot before the content is read into "
     "it is given up, and the content is read into the next one")
{
	struct mm *mm = swap_fixture(4, 1);

	swap_out_pages(mm, 0, 1);
	begun.page = NULL;
	hook("swap_fresh", begin_out, NULL);
	EXPECT_EQ(rd(mm, P(0)), 1);
	REQUIRE(begun.page);
	swap_out_end(begun.page, begun.swp);
	EXPECT_EQ(page_refs(begun.page), 1);
	page_put(begun.page);
	EXPECT_EQ(swap_stat().used, 0);
	mm_put(mm);
	swap_fixture_end();
}
