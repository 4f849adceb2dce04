/* SPDX-License-Identifier: MIT */
/*
 * life.c - shared notifiers, misuse, and the semantics of 2014
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "mm/frame/pool.h"
#include "tests/fake/late_flush.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

/* ---- get and put -------------------------------------------------------- */

static struct recorder shared[4];
static unsigned n_shared, n_freed;
static void (*shared_in_start)(struct recorder *r,
			       const struct mmu_notifier_range *range);
static void (*shared_in_release)(struct recorder *r);
static struct sync_point *shared_point;

static struct mmu_notifier *shared_alloc(struct mm *mm)
{
	struct recorder *r;

	if (n_shared == ARRAY_SIZE(shared))
		return NULL;
	r = &shared[n_shared++];
	recorder_init(r, NULL);
	r->in_start = shared_in_start;
	r->in_release = shared_in_release;
	r->arg = shared_point;
	return &r->mn;
}

static void shared_free(struct mmu_notifier *mn)
{
	container_of(mn, struct recorder, mn)->freed = true;
	n_freed++;
}

static struct mmu_notifier_ops shared_ops;

static void shared_begin(void)
{
	n_shared = n_freed = 0;
	shared_in_start = NULL;
	shared_in_release = NULL;
	shared_ops = recorder_ops;
	shared_ops.alloc_notifier = shared_alloc;
	shared_ops.free_notifier = shared_free;
}

static struct recorder *get(struct mm *mm)
{
	struct mmu_notifier *mn;

	REQUIRE(mmu_notifier_get(&shared_ops, mm, &mn) == 0);
	return container_of(mn, struct recorder, mn);
}

TEST(notifier, get_shares_one_notifier_per_mm,
     "users of the same operations and mm share one notifier, and a new one is "
     "allocated after the last put (C50)")
{
	struct mm *mm = mm_fixture(1), *other = mm_fixture(1);
	struct recorder *a, *b, *c;

	shared_begin();
	a = get(mm);
	b = get(mm);
	c = get(other);
	EXPECT(a == b && a != c);
	wr(mm, VA, 1);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_RECORDED(a, "start clear 0-1; range 0-1; end 0-1");

	mmu_notifier_put(&a->mn);
	mmu_notifier_synchronize();
	EXPECT_EQ(n_freed, 0);
	wr(mm, VA, 1);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_RECORDED(a, "start clear 0-1; range 0-1; end 0-1");
	mmu_notifier_put(&a->mn);
	b = get(mm);
	EXPECT(b != a);
	mmu_notifier_synchronize();
	EXPECT(a->freed && !b->freed);
	EXPECT_EQ(a->releases, 0);
	wr(mm, VA, 1);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_RECORDED(a, "");
	EXPECT_RECORDED(b, "start clear 0-1; range 0-1; end 0-1");

	mmu_notifier_put(&b->mn);
	mmu_notifier_put(&c->mn);
	mmu_notifier_synchronize();
	EXPECT_EQ(n_freed, 3);
	mm_put(mm);
	mm_put(other);
}

static void shared_enter(struct recorder *r,
			 const struct mmu_notifier_range *range)
{
	sync_point_enter(r->arg);
}

TEST(notifier, put_frees_after_the_readers,
     "the last put returns at once, and the free waits for a running callback "
     "(H7)")
{
	struct mm *mm = mm_fixture(1);
	struct recorder *r;
	struct task change;
	struct sync_point g;

	shared_begin();
	sync_point_set(&g, NULL, NULL);
	shared_point = &g;
	shared_in_start = shared_enter;
	r = get(mm);
	spawn(&change, discard_first, mm);
	sync_point_await(&g);
	mmu_notifier_put(&r->mn);
	EXPECT(!atomic_load(&change.done));
	EXPECT_EQ(n_freed, 0);
	sync_point_release(&g);
	join(&change);
	mmu_notifier_synchronize();
	EXPECT_EQ(n_freed, 1);
	mm_put(mm);
}

static void put_in_release(struct recorder *r)
{
	mmu_notifier_put(&r->mn);
}

TEST(notifier, put_inside_release,
     "the last user may put its notifier from inside release (C50)")
{
	struct mm *mm = mm_fixture(1);

	shared_begin();
	shared_in_release = put_in_release;
	get(mm);
	mm_put(mm);
	mmu_notifier_synchronize();
	EXPECT_EQ(n_freed, 1);
	EXPECT_EQ(shared[0].releases, 1);
}

TEST(notifier, put_after_exit, "a notifier may be put after its mm has exited")
{
	struct mm *mm = mm_fixture(1);
	struct recorder *r;

	shared_begin();
	r = get(mm);
	mm_put(mm);
	EXPECT_EQ(r->releases, 1);
	EXPECT_EQ(n_freed, 0);
	mmu_notifier_put(&r->mn);
	mmu_notifier_synchronize();
	EXPECT_EQ(n_freed, 1);
}

TEST(notifier, get_fails_cleanly,
     "a get without memory, or that overflows the count of users, fails and "
     "keeps nothing")
{
	struct mm *mm = mm_fixture(1);
	struct mmu_notifier *mn = NULL;
	struct recorder *r;

	shared_begin();
	n_shared = ARRAY_SIZE(shared);
	EXPECT_EQ(mmu_notifier_get(&shared_ops, mm, &mn), -ENOMEM);
	shared_begin();
	r = get(mm);
	r->mn.users = UINT32_MAX;
	EXPECT_EQ(mmu_notifier_get(&shared_ops, mm, &mn), -EOVERFLOW);
	EXPECT(!mn);
	EXPECT_EQ(r->mn.users, UINT32_MAX);
	r->mn.users = 1;
	mmu_notifier_put(&r->mn);
	mmu_notifier_synchronize();
	mm_put(mm);
}

/* ---- misuse is loud ----------------------------------------------------- */

static void start_under_lock(void *arg)
{
	struct mmu_notifier_range range;
	struct mm *mm = arg;

	spin_lock(&mm->pt_lock);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, P(0), P(1));
	mmu_notifier_invalidate_range_start(&range);
}

TEST(notifier, start_under_a_spin_lock_panics,
     "a start under pt_lock panics, with or without notifiers (H5)")
{
	char cause[200];
	struct mm *mm;

	CHECKED_ONLY("looks");
	mm = mm_fixture(1);
	EXPECT(panic_catch(start_under_lock, mm, cause, sizeof(cause)));
	mm_put(mm);
}

static int refuse_always(struct mmu_notifier *mn,
			 const struct mmu_notifier_range *range)
{
	return -EAGAIN;
}

static void discard_locked(void *arg)
{
	struct mmu_notifier_range range;
	struct mm *mm = arg;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, P(0), P(1));
	mmu_notifier_invalidate_range_start(&range);
}

TEST(notifier, refusing_a_blockable_start_panics,
     "a notifier that refuses a blockable start makes the kernel panic")
{
	static const struct mmu_notifier_ops ops = {
		.invalidate_range_start = refuse_always,
	};
	struct mmu_notifier mn = { .ops = &ops };
	struct mm *mm = mm_fixture(1);
	char cause[200];

	REQUIRE(mmu_notifier_register(&mn, mm) == 0);
	EXPECT(panic_catch(discard_locked, mm, cause, sizeof(cause)));
	mmu_notifier_unregister(&mn);
	mm_put(mm);
}

static struct {
	struct mmu_notifier mn;
	unsigned calls, wrong;
} context;

static void atomic_here(void)
{
	context.calls++;
	context.wrong += cpu_preempt_count() == 0;
}

static void sleep_here(void)
{
	context.calls++;
	yield(); /* panics where sleeping is not allowed */
}

static int context_start(struct mmu_notifier *mn,
			 const struct mmu_notifier_range *range)
{
	sleep_here();
	return 0;
}

static void context_end(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	sleep_here();
}

static void context_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			  va_t end)
{
	atomic_here();
	context.wrong += !spin_held(&mm->pt_lock);
}

static void context_change(struct mmu_notifier *mn, struct mm *mm, va_t va,
			   uint64_t entry)
{
	atomic_here();
}

static bool context_young(struct mmu_notifier *mn, struct mm *mm, va_t start,
			  va_t end)
{
	atomic_here();
	return false;
}

static void context_release(struct mmu_notifier *mn, struct mm *mm)
{
	sleep_here();
}

TEST(notifier, callbacks_run_in_their_context,
     "start, end and release may sleep, and the other callbacks run under "
     "pt_lock (H5, H6)")
{
	static const struct mmu_notifier_ops ops = {
		.release = context_release,
		.clear_flush_young = context_young,
		.change_pte = context_change,
		.invalidate_range_start = context_start,
		.invalidate_range_end = context_end,
		.invalidate_range = context_range,
	};
	struct mm *mm = mm_fixture(4);
	struct page *page;
	va_t at;

	context.mn = (struct mmu_notifier){ .ops = &ops };
	context.calls = context.wrong = 0;
	rd(mm, P(0));
	REQUIRE(mmu_notifier_register(&context.mn, mm) == 0);
	wr(mm, P(0), 1);     /* start, range, change, end */
	mm_put(fork_of(mm)); /* start, range, end */
	wr(mm, P(0), 2);     /* range */
	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0); /* 3 */
	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
	page = page_at(mm, P(8));         /* that were 3 */
	page_referenced(page);            /* range, young */
	EXPECT_EQ(try_to_unmap(page), 0); /* 3 */
	page_put(page);
	mm_put(mm); /* release */
	EXPECT_EQ(context.calls, 4 + 3 + 1 + 3 + 3 + 2 + 3 + 1);
	EXPECT_EQ(context.wrong, 0);
	mmu_notifier_unregister(&context.mn);
}

/* ---- the semantics of 2014 ---------------------------------------------- */

static void record_2014(struct recorder *r, struct mm *mm)
{
	recorder_init(r, late_flush_2014(&recorder_ops, mm));
	REQUIRE(mmu_notifier_register(&r->mn, mm) == 0);
}

static void record_2014_end(struct recorder *r)
{
	late_flush_over();
	record_end(r);
}

TEST(notifier, series_of_2014_flushes_a_copy_once,
     "with the semantics of 2014 a copy is flushed in place, and not again by "
     "its end (C12)")
{
	struct mm *mm = mm_fixture(1);
	struct recorder r;

	rd(mm, VA);
	record_2014(&r, mm);
	wr(mm, VA, 1);
	EXPECT_RECORDED(&r, "start clear 0-1; range 0-1; change 0-1; end 0-1");
	record_2014_end(&r);
	mm_put(mm);
}

TEST(notifier, series_of_2014_flushes_the_rest_late,
     "with the semantics of 2014 rights and moves are flushed by the end only, "
     "after the lock is dropped, and an unmap twice")
{
	struct mm *mm = mm_fixture(4);
	struct recorder r;
	va_t at;

	for (unsigned i = 0; i < 4; i++)
		wr(mm, P(i), i);
	record_2014(&r, mm);
	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	EXPECT_RECORDED(&r, "start vma 0-1; late 0-1; end 0-1");
	EXPECT_EQ(mm_remap(mm, P(1), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
	EXPECT_RECORDED(&r, "start unmap 1-2; late 1-2; end 1-2");
	EXPECT_EQ(mm_unmap(mm, P(2), P(3)), 0);
	EXPECT_RECORDED(&r, "start unmap 2-3; range 2-3; late 2-3; end 2-3");
	record_2014_end(&r);
	mm_put(mm);
}

TEST(notifier, series_of_2014_misses_upgrades,
     "with the semantics of 2014 a right that is gained in place calls no "
     "notifier (H18)")
{
	struct mm *mm = mm_fixture(1);
	struct recorder old, new;

	wr(mm, VA, 1);
	mm_put(fork_of(mm));
	record_2014(&old, mm);
	record(&new, mm);
	wr(mm, VA, 2);
	EXPECT_RECORDED(&old, "");
	EXPECT_RECORDED(&new, "range 0-1");
	record_2014_end(&old);
	record_end(&new);
	mm_put(mm);
}
