/* SPDX-License-Identifier: MIT */
/*
 * scn_notifier_join.c - who joins misses nothing, who leaves is left alone
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/probe.h"
#include "mm/pmm.h"
#include "tests/cast.h"
#include "tests/gate.h"

/* ---- what the other threads do ------------------------------------------ */

static void evict(void *page)
{
	EXPECT_EQ(try_to_unmap(page), 0);
}

static void fork_and_drop(void *mm)
{
	mm_put(fork_of(mm));
}

static void drop(void *mm)
{
	mm_put(mm);
}

struct joiner {
	struct recorder r;
	struct mm *mm;
};

static void join_chain(void *arg)
{
	struct joiner *j = arg;

	record(&j->r, j->mm);
}

static void leave_chain(void *r)
{
	record_end(r);
}

/* Possibly in the middle of a window, whose end will not come. */
static void leave_at_once(void *r_)
{
	struct recorder *r = r_;

	mmu_notifier_unregister(&r->mn);
}

/* ---- joining ------------------------------------------------------------ */

/* fn(arg) stands at the step of `of`; who joins must wait for its end, and
 * meanwhile hears this. */
static void join_during(struct mm *mm, const char *step, const void *of,
			void (*fn)(void *arg), void *arg, const char *hears)
{
	static struct joiner j;
	struct task change, join_;
	struct gate g;

	j.mm = mm;
	gate_close(&g, step, of);
	spawn(&change, fn, arg);
	gate_await(&g);
	spawn(&join_, join_chain, &j);
	EXPECT(still_waits(&join_));
	gate_open(&g);
	join(&change);
	join(&join_);
	EXPECT_HEARD(&j.r, hears);
	record_end(&j.r);
}

TEST(notifier, joining_waits_for_a_fork,
     "who joins in the middle of a fork waits for its end (C36)")
{
	struct mm *mm = written(1);

	join_during(mm, "fork_shared", mm, fork_and_drop, mm, "");
	mm_put(mm);
}

TEST(notifier, joining_waits_for_a_window,
     "who joins while a window is open waits, and hears no lone end (C36)")
{
	struct mm *mm = written(1);
	struct recorder first;

	record(&first, mm);
	join_during(mm, "range_started", mm, discard_first, mm, "");
	EXPECT_HEARD(&first, "start clear 0-1; range 0-1; end 0-1");
	record_end(&first);
	mm_put(mm);
}

TEST(notifier, joining_waits_for_a_reverse_map_walk,
     "a walk that holds no mm->lock is waited for too")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);

	join_during(mm, "rmap_walk", page, evict, page, "");
	page_put(page);
	mm_put(mm);
}

/* The walk has not come to the mm yet: its window is heard, all of it. */
static const char whole[] = "start clear 0-1; range 0-1; end 0-1";

TEST(notifier, joining_waits_for_a_walk_of_an_object,
     "so is a walk of an object's pages, where others listen already")
{
	struct object *o = object_create(1);
	struct recorder first;
	struct page *page;
	struct mm *mm;

	REQUIRE(o);
	mm = world_shared(o, 1);
	wr(mm, VA, 1);
	page = page_at(mm, VA);
	record(&first, mm);
	join_during(mm, "rmap_walk", page, evict, page, whole);
	record_end(&first);
	page_put(page);
	mm_put(mm);
	object_put(o);
}

TEST(notifier, joiner_hears_no_half_of_a_window,
     "who joins while a walk's window is open hears neither half (B24)")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);
	struct recorder first;

	record(&first, mm);
	join_during(mm, "range_end", mm, evict, page, "");
	EXPECT_HEARD(&first, "start clear 0-1; range 0-1; end 0-1");
	record_end(&first);
	page_put(page);
	mm_put(mm);
}

TEST(notifier, joining_needs_memory,
     "a join without memory fails and leaves nothing behind")
{
	struct mm *mm = written(1);
	struct recorder r;

	recorder_init(&r, &recorder_ops);
	inject_arm(1);
	EXPECT_EQ(mmu_notifier_register(&r.mn, mm), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT(!mm_has_notifiers(mm));
	wr(mm, VA, 2);
	EXPECT_EQ(mmu_notifier_register(&r.mn, mm), 0);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, everybody_hears_in_order,
     "all listeners of an mm hear all, those of another mm nothing")
{
	struct mm *mm = written(1), *other = written(1);
	struct recorder a, b, c;

	record(&a, mm);
	record(&b, mm);
	record(&c, other);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	EXPECT_HEARD(&a, "start unmap 0-1; range 0-1; range 0-1; end 0-1");
	EXPECT_HEARD(&b, "start unmap 0-1; range 0-1; range 0-1; end 0-1");
	EXPECT_HEARD(&c, "");
	record_end(&a);
	record_end(&b);
	record_end(&c);
	mm_put(mm);
	mm_put(other);
}

/* ---- leaving ------------------------------------------------------------ */

static void enter_gate(struct recorder *r,
		       const struct mmu_notifier_range *range)
{
	gate_enter(r->arg);
}

TEST(notifier, leaving_waits_for_a_callback,
     "who leaves waits for his callback, and is never called again (B26)")
{
	struct mm *mm = written(1);
	struct task change, leave;
	struct recorder r;
	struct gate g;

	record(&r, mm);
	gate_close(&g, NULL, NULL);
	r.arg = &g;
	r.in_start = enter_gate;
	spawn(&change, discard_first, mm);
	gate_await(&g);
	spawn(&leave, leave_at_once, &r);
	EXPECT(still_waits(&leave));
	gate_open(&g);
	join(&change);
	join(&leave);
	EXPECT_EQ(r.starts + r.releases, 2);
	EXPECT_EQ(r.ranges + r.ends, 0);
	memset(&r, 0x97, sizeof(r)); /* it is ours again */
	wr(mm, VA, 1);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	mm_put(mm);
}

TEST(notifier, leaving_waits_for_walkers,
     "a sleeping callback of one delays the leaving of another (C40)")
{
	struct mm *mm = written(1);
	struct recorder next, sleeper;
	struct task change, leave;
	struct gate g;

	record(&next, mm);
	record(&sleeper, mm); /* the newest is called first */
	gate_close(&g, NULL, NULL);
	sleeper.arg = &g;
	sleeper.in_start = enter_gate;
	spawn(&change, discard_first, mm);
	gate_await(&g);
	spawn(&leave, leave_chain, &next);
	EXPECT(still_waits(&leave));
	EXPECT_HEARD(&next, "release");
	gate_open(&g);
	join(&leave);
	join(&change);
	memset(&next, 0x97, sizeof(next));
	EXPECT_HEARD(&sleeper, "start clear 0-1; range 0-1; end 0-1");
	record_end(&sleeper);
	mm_put(mm);
}

TEST(notifier, leaving_after_exit,
     "who leaves after the mm's exit was released by it, once")
{
	struct mm *mm = written(1);
	struct recorder r[3];

	for (unsigned i = 0; i < 3; i++)
		record(&r[i], mm);
	mm_put(mm);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(r[i].releases, 1);
		record_end(&r[i]);
	}
}

static void release_gate(struct recorder *r)
{
	gate_enter(r->arg);
}

TEST(notifier, exit_waits_for_a_release,
     "while a leaver is being released, exit takes no page (C50, H4)")
{
	struct mm *mm = written(2);
	struct task leave, exit;
	struct recorder r;
	struct gate g;

	record(&r, mm);
	gate_close(&g, NULL, NULL);
	r.arg = &g;
	r.in_release = release_gate;
	spawn(&leave, leave_chain, &r);
	gate_await(&g);
	spawn(&exit, drop, mm);
	EXPECT(still_waits(&exit));
	EXPECT_EQ(mm->mapped, 2);
	gate_open(&g);
	join(&leave);
	join(&exit);
}

TEST(notifier, leaver_waits_for_exit,
     "who leaves during exit waits for its release, and gets no second (H4)")
{
	struct mm *mm = written(2);
	struct task leave, exit;
	struct recorder r;
	struct gate g;

	record(&r, mm);
	gate_close(&g, NULL, NULL);
	r.arg = &g;
	r.in_release = release_gate;
	spawn(&exit, drop, mm);
	gate_await(&g);
	EXPECT_EQ(mm->mapped, 2);
	spawn(&leave, leave_chain, &r);
	EXPECT(still_waits(&leave));
	gate_open(&g);
	join(&leave);
	join(&exit);
}

static void freed_later(struct srcu_head *head)
{
	struct mmu_notifier *mn =
		container_of(head, struct mmu_notifier, later);

	container_of(mn, struct recorder, mn)->freed = true;
}

static void leave_inside(struct recorder *r)
{
	mmu_notifier_unregister_no_release(&r->mn);
	mmu_notifier_call_srcu(&r->mn, freed_later);
}

TEST(notifier, leaving_inside_release,
     "a listener may leave, and be freed, from inside its release (H7)")
{
	struct mm *mm = written(1);
	struct recorder before, r, after;

	record(&after, mm);
	record(&r, mm);
	record(&before, mm);
	r.in_release = leave_inside;
	mm_put(mm);
	mmu_notifier_synchronize();
	EXPECT(r.freed);
	EXPECT_EQ(r.releases, 1);
	EXPECT_EQ(before.releases, 1);
	EXPECT_EQ(after.releases, 1);
	record_end(&before);
	record_end(&after);
}

/* ---- refusing ----------------------------------------------------------- */

TEST(notifier, refused_change_is_called_off,
     "one refusal: nothing is changed, who started gets his end, the one who "
     "refused gets none (C46, H8)")
{
	struct mm *mm = written(2);
	struct recorder a, b, c, d;

	record(&a, mm);
	record(&b, mm);
	recorder_init(&c, &recorder_no_end_ops);
	REQUIRE(mmu_notifier_register(&c.mn, mm) == 0);
	record(&d, mm);
	b.refuses = c.refuses = true;
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT_HEARD(&a, "start clear 0-2; end 0-2");
	EXPECT_HEARD(&b, "");
	EXPECT_HEARD(&c, "");
	EXPECT_HEARD(&d, "start clear 0-2; end 0-2");
	EXPECT_EQ(mm->mapped, 2);
	EXPECT_EQ(rd(mm, P(1)), 101);
	EXPECT_STR_NULL(mmu_notifier_check());

	b.refuses = c.refuses = false;
	EXPECT_EQ(mm_reap(mm), 0);
	EXPECT_HEARD(&b, "start clear 0-2; range 0-2; end 0-2");
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(rd(mm, P(1)), 0);
	c.open = 0;
	record_end(&a);
	record_end(&b);
	record_end(&c);
	record_end(&d);
	mm_put(mm);
}

TEST(notifier, many_refusals,
     "more refusals than are written down: each start still gets its end")
{
	static struct recorder r[24];
	struct mm *mm = written(1);

	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		record(&r[i], mm);
		r[i].refuses = i % 2;
	}
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT_EQ(r[22].starts, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		EXPECT_EQ(r[i].starts, r[i].ends);
		record_end(&r[i]);
	}
	EXPECT_EQ(mm->mapped, 1);
	mm_put(mm);
}

TEST(notifier, reaper_waits_for_nobody,
     "the reaper gives up where a layout operation is under way (H10)")
{
	struct mm *mm = written(1);
	struct recorder r;
	struct task change;
	struct gate g;

	record(&r, mm);
	gate_close(&g, "fork_done", mm);
	spawn(&change, fork_and_drop, mm);
	gate_await(&g);
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	gate_open(&g);
	join(&change);
	EXPECT_EQ(mm_reap(mm), 0);
	record_end(&r);
	mm_put(mm);
}
