/* SPDX-License-Identifier: MIT */
/*
 * fakes_walk.c - MMUs that walk the mm's own table: C19, C78, and what the
 * semantics of 2014, and those before it, leave open (C9, C10, H36)
 */
#include "kernel/probe.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/late_flush.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

static struct fake_mmu a, b;

static void write_first(void *mm)
{
	EXPECT_EQ(wr(mm, P(0), 1), 0);
}

static void write_second(void *mm)
{
	EXPECT_EQ(wr(mm, P(1), 1), 0);
}

TEST(fakes, writes_to_two_pages_stay_in_order,
     "a secondary MMU that reads the new B, written after A, reads the new A, "
     "while both invalidations are open (C19, B13)")
{
	struct mm *mm = written(2), *child = fork_of(mm);
	struct task first, second;
	struct sync_point ga, gb;
	uint64_t v;

	fake_attach(&a, &fake_walker, mm);
	fake_attach(&b, &fake_walker, mm);
	EXPECT_EQ(fake_read(&a, P(0)), 100);
	EXPECT_EQ(fake_read(&b, P(1)), 101);
	sync_point_set(&ga, "unptl", mm);
	spawn(&first, write_first, mm);
	sync_point_await(&ga);
	sync_point_set(&gb, "range_end", mm);
	spawn(&second, write_second, mm);
	sync_point_await(&gb);
	/* Both entries are new, neither end has been called. */
	wr(mm, P(0), 1);
	wr(mm, P(1), 1);
	EXPECT(fake_reads(&b, P(1), &v) && v == 1);
	EXPECT(fake_reads(&a, P(0), &v) && v == 1);
	sync_point_release(&gb);
	sync_point_release(&ga);
	join(&first);
	join(&second);
	fake_detach(&a);
	fake_detach(&b);
	mm_put(child);
	mm_put(mm);
}

TEST(fakes, refault_inside_a_discard,
     "a page that is faulted in again while its discard is open is the page "
     "that every MMU reads (C78)")
{
	struct mm *mm = written(1);
	struct task changer;
	struct sync_point g;
	uint64_t v;

	fake_attach(&a, &fake_walker, mm);
	EXPECT_EQ(fake_write(&a, VA, 5), 0);
	sync_point_set(&g, "range_end", mm);
	spawn(&changer, discard_first, mm);
	sync_point_await(&g);
	EXPECT(!fake_reads(&a, VA, &v));
	wr(mm, VA, 7);
	EXPECT(fake_reads(&a, VA, &v) && v == 7);
	sync_point_release(&g);
	join(&changer);
	EXPECT_EQ(fake_read(&a, VA), 7);
	fake_detach(&a);
	mm_put(mm);
}

static void move_first(void *mm)
{
	va_t at;

	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
}

TEST(fakes, series_of_2014_leaves_a_move_open,
     "with the semantics of 2014 a moved page is reached at its old address "
     "until the end, when it may have another owner (H36); now it is not")
{
	struct fake_mmu_kind of_2014 = fake_walker;
	struct mm *mm = written(1);
	struct task move;
	struct sync_point g;

	of_2014.ops = late_flush_2014(fake_walker.ops, mm);
	fake_attach(&a, &of_2014, mm);
	fake_attach(&b, &fake_walker, mm);
	fake_read(&a, VA);
	fake_read(&b, VA);
	sync_point_set(&g, "range_end", mm);
	spawn(&move, move_first, mm);
	sync_point_await(&g); /* the locks of the entries are dropped */
	EXPECT(fake_has(&a, VA, false));
	EXPECT(!fake_has(&b, VA, false));
	sync_point_release(&g);
	join(&move);
	EXPECT(!fake_has(&a, VA, false));
	EXPECT_EQ(late_flush_over(), 1);
	fake_detach(&a);
	fake_detach(&b);
	mm_put(mm);
}

/* ---- before 2014 -------------------------------------------------------- */

static unsigned requests_in_a_window(const struct fake_mmu_kind *kind)
{
	struct mm *mm = written(2);
	struct task changer;
	struct sync_point g;
	unsigned n;

	fake_attach(&a, kind, mm);
	fake_read(&a, P(1));
	sync_point_set(&g, "range_started", mm);
	spawn(&changer, discard_first, mm);
	sync_point_await(&g);
	a.faults = 0;
	fake_read(&a, P(1)); /* not even the page that changes */
	n = a.faults;
	sync_point_release(&g);
	join(&changer);
	fake_detach(&a);
	mm_put(mm);
	return n;
}

TEST(fakes, empty_table_starves_the_device,
     "an empty table between start and end makes every page fault without "
     "success until the device fails; a flush makes no fault (C9, C10)")
{
	EXPECT_EQ(requests_in_a_window(&fake_legacy), FAKE_TRIES);
	EXPECT_EQ(a.failures, 1);
	EXPECT_EQ(requests_in_a_window(&fake_walker), 0);
	EXPECT_EQ(a.failures, 0);
}
