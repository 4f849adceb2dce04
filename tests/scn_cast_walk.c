/* SPDX-License-Identifier: MIT */
/*
 * scn_cast_walk.c - MMUs that walk the mm's own table: C19, C78, and what the
 * semantics of 2014, and those before it, leave open (C9, C10, H36)
 */
#include "kernel/probe.h"
#include "tests/agent.h"
#include "tests/cast.h"
#include "tests/gate.h"

static struct agent a, b;

static void write_first(void *mm)
{
	EXPECT_EQ(wr(mm, P(0), 1), 0);
}

static void write_second(void *mm)
{
	EXPECT_EQ(wr(mm, P(1), 1), 0);
}

TEST(cast, two_pages_one_order,
     "who reads the new B, written after A, reads the new A, while both "
     "windows "
     "are open (C19, B13)")
{
	struct mm *mm = written(2), *child = fork_of(mm);
	struct task first, second;
	struct gate ga, gb;
	uint64_t v;

	agent_attach(&a, &walker, mm);
	agent_attach(&b, &walker, mm);
	EXPECT_EQ(agent_read(&a, P(0)), 100);
	EXPECT_EQ(agent_read(&b, P(1)), 101);
	gate_close(&ga, "unptl", mm);
	spawn(&first, write_first, mm);
	gate_await(&ga);
	gate_close(&gb, "range_end", mm);
	spawn(&second, write_second, mm);
	gate_await(&gb);
	/* Both entries are new, neither end has been called. */
	wr(mm, P(0), 1);
	wr(mm, P(1), 1);
	EXPECT(agent_reads(&b, P(1), &v) && v == 1);
	EXPECT(agent_reads(&a, P(0), &v) && v == 1);
	gate_open(&gb);
	gate_open(&ga);
	join(&first);
	join(&second);
	agent_detach(&a);
	agent_detach(&b);
	mm_put(child);
	mm_put(mm);
}

TEST(cast, refault_inside_a_discard,
     "a page that comes back while its discard is open is what everybody reads "
     "(C78)")
{
	struct mm *mm = written(1);
	struct task changer;
	struct gate g;
	uint64_t v;

	agent_attach(&a, &walker, mm);
	EXPECT_EQ(agent_write(&a, VA, 5), 0);
	gate_close(&g, "range_end", mm);
	spawn(&changer, discard_first, mm);
	gate_await(&g);
	EXPECT(!agent_reads(&a, VA, &v));
	wr(mm, VA, 7);
	EXPECT(agent_reads(&a, VA, &v) && v == 7);
	gate_open(&g);
	join(&changer);
	EXPECT_EQ(agent_read(&a, VA), 7);
	agent_detach(&a);
	mm_put(mm);
}

static void move_first(void *mm)
{
	va_t at;

	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
}

TEST(cast, series_of_2014_leaves_a_move_open,
     "2014: a moved page is reached at its old address until the end, when it "
     "may be somebody else's (H36); now it is not")
{
	struct mm *mm = written(1);
	struct task move;
	struct gate g;

	agent_attach(&a, &walker, mm);
	agent_attach(&b, &walker, mm);
	a.mn.flags = MMU_NOTIFIER_2014;
	agent_read(&a, VA);
	agent_read(&b, VA);
	gate_close(&g, "range_end", mm);
	spawn(&move, move_first, mm);
	gate_await(&g); /* the locks of the entries are dropped */
	EXPECT(agent_has(&a, VA, false));
	EXPECT(!agent_has(&b, VA, false));
	gate_open(&g);
	join(&move);
	EXPECT(!agent_has(&a, VA, false));
	agent_detach(&a);
	agent_detach(&b);
	mm_put(mm);
}

/* ---- before 2014 -------------------------------------------------------- */

static unsigned requests_in_a_window(const struct agent_kind *kind)
{
	struct mm *mm = written(2);
	struct task changer;
	struct gate g;
	unsigned n;

	agent_attach(&a, kind, mm);
	agent_read(&a, P(1));
	gate_close(&g, "range_started", mm);
	spawn(&changer, discard_first, mm);
	gate_await(&g);
	a.faults = 0;
	agent_read(&a, P(1)); /* not even the page that changes */
	n = a.faults;
	gate_open(&g);
	join(&changer);
	agent_detach(&a);
	mm_put(mm);
	return n;
}

TEST(cast, empty_table_starves_the_device,
     "an empty table between start and end makes every page fault without "
     "fruit, until the device gives up; a flush makes none (C9, C10)")
{
	EXPECT_EQ(requests_in_a_window(&legacy), AGENT_TRIES);
	EXPECT_EQ(a.failures, 1);
	EXPECT_EQ(requests_in_a_window(&walker), 0);
	EXPECT_EQ(a.failures, 0);
}
