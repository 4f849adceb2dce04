/* SPDX-License-Identifier: MIT */
/*
 * register.c - a notifier is registered, unregistered, and refuses
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

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

/* Possibly during an invalidation, whose end will not be received. */
static void leave_at_once(void *r_)
{
	struct recorder *r = r_;

	mmu_notifier_unregister(&r->mn);
}

/* ---- joining ------------------------------------------------------------ */

/* Stop fn(arg) at the step of `of`; a registration must wait until fn() returns,
 * and the new notifier gets these calls meanwhile. */
static void join_during(struct mm *mm, const char *step, const void *of,
			void (*fn)(void *arg), void *arg, const char *calls)
{
	static struct joiner j;
	struct task change, join_;
	struct sync_point g;

	j.mm = mm;
	sync_point_set(&g, step, of);
	spawn(&change, fn, arg);
	sync_point_await(&g);
	spawn(&join_, join_chain, &j);
	EXPECT(still_waits(&join_));
	sync_point_release(&g);
	join(&change);
	join(&join_);
	EXPECT_RECORDED(&j.r, calls);
	record_end(&j.r);
}

TEST(notifier, register_waits_for_a_fork,
     "a notifier that is registered during a fork waits for its end (C36)")
{
	struct mm *mm = written(1);

	join_during(mm, "fork_shared", mm, fork_and_drop, mm, "");
	mm_put(mm);
}

TEST(notifier, register_waits_for_an_invalidation,
     "a notifier that is registered during an invalidation waits for its end, "
     "and gets no lone end (C36)")
{
	struct mm *mm = written(1);
	struct recorder first;

	record(&first, mm);
	join_during(mm, "range_started", mm, discard_first, mm, "");
	EXPECT_RECORDED(&first, "start clear 0-1; range 0-1; end 0-1");
	record_end(&first);
	mm_put(mm);
}

TEST(notifier, open_invalidation_is_not_for_a_new_notifier,
     "a notifier that is registered between the opening of an invalidation and "
     "its "
     "first start gets neither start nor end of it, and its flush (B24)")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);
	struct watch w = { 0 };

	watch(&w, mm, 0, 1);
	join_during(mm, "interval_called", mm, evict, page, "range 0-1");
	mmu_interval_notifier_remove(&w.mni);
	page_put(page);
	mm_put(mm);
}

TEST(notifier, register_waits_for_a_reverse_map_walk,
     "a notifier that is registered during a reverse-map walk, which holds no "
     "mm->lock, waits for its end")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);

	join_during(mm, "rmap_walk", page, evict, page,
		    "start clear 0-1; range 0-1; end 0-1");
	page_put(page);
	mm_put(mm);
}

/* The walk has not reached the mm yet: the notifier gets all of its calls. */
static const char whole[] = "start clear 0-1; range 0-1; end 0-1";

TEST(notifier, register_waits_for_a_walk_of_an_object,
     "a notifier that is registered during a walk of an object's pages waits "
     "for its end, also where the mm has a notifier")
{
	struct object *o = object_create(1);
	struct recorder first;
	struct page *page;
	struct mm *mm;

	REQUIRE(o);
	mm = mm_fixture_shared(o, 1);
	wr(mm, VA, 1);
	page = page_at(mm, VA);
	record(&first, mm);
	join_during(mm, "rmap_walk", page, evict, page, whole);
	record_end(&first);
	page_put(page);
	mm_put(mm);
	object_put(o);
}

TEST(notifier, register_gets_no_lone_end,
     "a notifier that is registered during the invalidation of a reverse-map "
     "walk gets neither its start nor its end (B24)")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);
	struct recorder first;

	record(&first, mm);
	join_during(mm, "range_end", mm, evict, page, "");
	EXPECT_RECORDED(&first, "start clear 0-1; range 0-1; end 0-1");
	record_end(&first);
	page_put(page);
	mm_put(mm);
}

TEST(notifier, register_without_memory_fails,
     "a registration without memory fails and leaves nothing allocated")
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

TEST(notifier, all_notifiers_of_an_mm_are_called,
     "all notifiers of an mm get every call, and those of another mm get none")
{
	struct mm *mm = written(1), *other = written(1);
	struct recorder a, b, c;

	record(&a, mm);
	record(&b, mm);
	record(&c, other);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	EXPECT_RECORDED(&a, "start unmap 0-1; range 0-1; end 0-1");
	EXPECT_RECORDED(&b, "start unmap 0-1; range 0-1; end 0-1");
	EXPECT_RECORDED(&c, "");
	record_end(&a);
	record_end(&b);
	record_end(&c);
	mm_put(mm);
	mm_put(other);
}

/* ---- leaving ------------------------------------------------------------ */

static void enter_point(struct recorder *r,
			const struct mmu_notifier_range *range)
{
	sync_point_enter(r->arg);
}

TEST(notifier, unregister_waits_for_a_callback,
     "an unregister waits for the notifier's callback, which is never called "
     "again (B26)")
{
	struct mm *mm = written(1);
	struct task change, leave;
	struct recorder r;
	struct sync_point g;

	record(&r, mm);
	sync_point_set(&g, NULL, NULL);
	r.arg = &g;
	r.in_start = enter_point;
	spawn(&change, discard_first, mm);
	sync_point_await(&g);
	spawn(&leave, leave_at_once, &r);
	EXPECT(still_waits(&leave));
	sync_point_release(&g);
	join(&change);
	join(&leave);
	EXPECT_EQ(r.starts + r.releases, 2);
	EXPECT_EQ(r.ranges + r.ends, 0);
	memset(&r, 0x97, sizeof(r)); /* it may be freed */
	wr(mm, VA, 1);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	mm_put(mm);
}

TEST(notifier, unregister_waits_for_walkers,
     "an unregister waits for a sleeping callback of another notifier (C40)")
{
	struct mm *mm = written(1);
	struct recorder next, sleeper;
	struct task change, leave;
	struct sync_point g;

	record(&next, mm);
	record(&sleeper, mm); /* the newest is called first */
	sync_point_set(&g, NULL, NULL);
	sleeper.arg = &g;
	sleeper.in_start = enter_point;
	spawn(&change, discard_first, mm);
	sync_point_await(&g);
	spawn(&leave, leave_chain, &next);
	EXPECT(still_waits(&leave));
	EXPECT_RECORDED(&next, "release");
	sync_point_release(&g);
	join(&leave);
	join(&change);
	memset(&next, 0x97, sizeof(next));
	EXPECT_RECORDED(&sleeper, "start clear 0-1; range 0-1; end 0-1");
	record_end(&sleeper);
	mm_put(mm);
}

TEST(notifier, unregister_after_exit,
     "a notifier that is unregistered after exit was released once, by exit")
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

static void release_point(struct recorder *r)
{
	sync_point_enter(r->arg);
}

TEST(notifier, exit_waits_for_a_release,
     "exit frees no page while an unregister runs the notifier's release (C50, "
     "H4)")
{
	struct mm *mm = written(2);
	struct task leave, exit;
	struct recorder r;
	struct sync_point g;

	record(&r, mm);
	sync_point_set(&g, NULL, NULL);
	r.arg = &g;
	r.in_release = release_point;
	spawn(&leave, leave_chain, &r);
	sync_point_await(&g);
	spawn(&exit, drop, mm);
	EXPECT(still_waits(&exit));
	EXPECT_EQ(mm->mapped, 2);
	sync_point_release(&g);
	join(&leave);
	join(&exit);
}

TEST(notifier, unregister_waits_for_exit,
     "an unregister during exit waits for the notifier's release, and calls no "
     "second one (H4)")
{
	struct mm *mm = written(2);
	struct task leave, exit;
	struct recorder r;
	struct sync_point g;

	record(&r, mm);
	sync_point_set(&g, NULL, NULL);
	r.arg = &g;
	r.in_release = release_point;
	spawn(&exit, drop, mm);
	sync_point_await(&g);
	EXPECT_EQ(mm->mapped, 2);
	spawn(&leave, leave_chain, &r);
	EXPECT(still_waits(&leave));
	sync_point_release(&g);
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

TEST(notifier, unregister_inside_release,
     "a notifier may unregister itself, and be freed, from inside its release "
     "(H7)")
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

TEST(notifier, refused_start_changes_nothing,
     "after one refusal no entry is changed, each notifier that started gets "
     "its end, and the refusing one gets none (C46, H8)")
{
	struct mm *mm = written(2);
	struct recorder a, b, c, d;
	uint64_t since;

	record(&a, mm);
	record(&b, mm);
	recorder_init(&c, &recorder_no_end_ops);
	REQUIRE(mmu_notifier_register(&c.mn, mm) == 0);
	record(&d, mm);
	b.refuses = c.refuses = true;
	since = probes_begin();
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT(probes_in_order(since, mm, "range_start range_refused"));
	EXPECT(!probes_in_order(since, mm, "range_started"));
	EXPECT_RECORDED(&a, "start clear 0-2; end 0-2");
	EXPECT_RECORDED(&b, "");
	EXPECT_RECORDED(&c, "");
	EXPECT_RECORDED(&d, "start clear 0-2; end 0-2");
	EXPECT_EQ(mm->mapped, 2);
	EXPECT_EQ(rd(mm, P(1)), 101);
	EXPECT_STR_NULL(mmu_notifier_check());

	b.refuses = c.refuses = false;
	EXPECT_EQ(mm_reap(mm), 0);
	EXPECT_RECORDED(&b, "start clear 0-2; range 0-2; end 0-2");
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(rd(mm, P(1)), 0);
	c.open = 0;
	record_end(&a);
	record_end(&b);
	record_end(&c);
	record_end(&d);
	mm_put(mm);
}

TEST(notifier, many_refusals_end_every_start,
     "with more refusals than are recorded each start still gets its end")
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

TEST(notifier, reaper_does_not_wait,
     "the reaper gives up when a layout operation is in progress (H10)")
{
	struct mm *mm = written(1);
	struct recorder r;
	struct task change;
	struct sync_point g;

	record(&r, mm);
	sync_point_set(&g, "fork_done", mm);
	spawn(&change, fork_and_drop, mm);
	sync_point_await(&g);
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	sync_point_release(&g);
	join(&change);
	EXPECT_EQ(mm_reap(mm), 0);
	record_end(&r);
	mm_put(mm);
}
