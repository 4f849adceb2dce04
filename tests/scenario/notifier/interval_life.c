/* SPDX-License-Identifier: MIT */
/*
 * interval_life.c - interval notifiers are inserted, removed, and refuse during
 * invalidations: semantics C55 to C58, H9, H14
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

struct reader {
	struct watch *w;
	uint64_t seq;
};

static void begin(void *arg)
{
	struct reader *r = arg;

	r->seq = mmu_interval_read_begin(&r->w->mni);
}

/* ---- insert and remove -------------------------------------------------- */

TEST(interval, insert_does_not_wait,
     "an insert during an invalidation returns, is not notified of it, and its "
     "first reader waits for its end (C55)")
{
	struct mm *mm = mm_fixture(4);
	struct mmu_notifier_range range;
	struct watch before, w;
	struct reader r = { &w, 0 };
	struct task task;

	watch(&before, mm, 0, 4);
	rw_read_lock(&mm->lock);
	invalidation_begin(&range, mm, 0, 2);
	watch(&w, mm, 1, 2);
	spawn(&task, begin, &r);
	EXPECT(still_waits(&task));
	mmu_notifier_invalidate_range_end(&range);
	join(&task);
	EXPECT_EQ(w.notified, 0);
	EXPECT(!mmu_interval_read_retry(&w.mni, r.seq));
	invalidation_begin(&range, mm, 0, 2);
	EXPECT_EQ(w.notified, 1);
	EXPECT_EQ(before.notified, 2);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&w.mni);
	mmu_interval_notifier_remove(&before.mni);
	mm_put(mm);
}

TEST(interval, insert_locked_subscribes,
     "an interval that is inserted with mm->lock held to write is notified; an "
     "empty one and one that wraps around are refused")
{
	struct mm *mm = mm_fixture(4);
	struct watch before, w;

	watch(&before, mm, 3, 4); /* its operations are lent to w below */
	rw_write_lock(&mm->lock);
	EXPECT_EQ(mmu_interval_notifier_insert_locked(&w.mni, mm, P(1), 0,
						      before.mni.ops),
		  -EOVERFLOW);
	EXPECT_EQ(mmu_interval_notifier_insert_locked(
			  &w.mni, mm, P(1), UINT64_MAX, before.mni.ops),
		  -EOVERFLOW);
	w = before;
	EXPECT_EQ(mmu_interval_notifier_insert_locked(
			  &w.mni, mm, P(1), PAGE_SIZE, before.mni.ops),
		  0);
	rw_write_unlock(&mm->lock);
	EXPECT_EQ(wr(mm, P(1), 1), 0);
	REQUIRE(!mm_unmap(mm, P(0), P(2)));
	EXPECT_EQ(w.notified, 1);
	EXPECT_EQ(before.notified, 0);
	mmu_interval_notifier_remove(&w.mni);
	mmu_interval_notifier_remove(&before.mni);
	mm_put(mm);
}

static void remove_watch(void *w_)
{
	struct watch *w = w_;

	mmu_interval_notifier_remove(&w->mni);
	memset(w, 0x97, sizeof(*w));
}

TEST(interval, remove_waits_for_its_invalidation,
     "a remove during an invalidation waits for its end, and is not delayed by "
     "later invalidations (C56, H9)")
{
	struct mm *mm = mm_fixture(4);
	struct mmu_notifier_range a, b;
	struct task task;
	struct watch w;

	watch(&w, mm, 0, 2);
	rw_read_lock(&mm->lock);
	invalidation_begin(&a, mm, 0, 1);
	spawn(&task, remove_watch, &w);
	EXPECT(still_waits(&task));
	invalidation_begin(&b, mm, 0, 2);
	EXPECT_EQ(w.notified, 1);
	mmu_notifier_invalidate_range_end(&a);
	join(&task); /* although b is open */
	mmu_notifier_invalidate_range_end(&b);
	rw_read_unlock(&mm->lock);
	mm_put(mm);
}

TEST(interval, remove_waits_for_its_callback,
     "a remove returns after a callback of the interval that sleeps (H9)")
{
	struct mm *mm = mm_fixture(2);
	struct task changer, remover;
	struct watch w;
	struct sync_point g;

	watch(&w, mm, 0, 1);
	sync_point_set(&g, NULL, NULL);
	w.sync_point = &g;
	spawn(&changer, discard_first, mm);
	sync_point_await(&g);
	spawn(&remover, remove_watch, &w);
	EXPECT(still_waits(&remover));
	sync_point_release(&g);
	join(&changer);
	join(&remover);
	mm_put(mm);
}

TEST(interval, remove_before_any_notification_does_not_wait,
     "an interval that was inserted during an invalidation is removed without "
     "waiting for it (C56)")
{
	struct mm *mm = mm_fixture(2);
	struct mmu_notifier_range range;
	struct watch before, w;

	watch(&before, mm, 0, 1);
	rw_read_lock(&mm->lock);
	invalidation_begin(&range, mm, 0, 1);
	watch(&w, mm, 0, 1);
	remove_watch(&w); /* or the test hangs */
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&before.mni);
	mm_put(mm);
}

static void insert_watch(void *arg)
{
	struct reader *r = arg;

	watch(r->w, (struct mm *)r->seq, 0, 1);
}

static void evict(void *page)
{
	EXPECT_EQ(try_to_unmap(page), 0);
}

TEST(interval, first_insert_waits_for_uncounted_changes,
     "the first insert into an mm, and one during it, wait for changes that "
     "began before invalidations were counted")
{
	struct mm *mm = mm_fixture(1);
	struct watch w[2];
	struct reader a = { &w[0], (uint64_t)mm }, b = { &w[1], (uint64_t)mm };
	struct task unmap, first, second;
	struct page *page;
	struct sync_point g;

	wr(mm, VA, 1);
	page = page_at(mm, VA);
	sync_point_set(&g, "rmap_walk", page);
	spawn(&unmap, evict, page);
	sync_point_await(&g);
	spawn(&first, insert_watch, &a);
	EXPECT(still_waits(&first));
	spawn(&second, insert_watch, &b);
	EXPECT(still_waits(&second));
	sync_point_release(&g);
	join(&unmap);
	join(&first);
	join(&second);
	mmu_interval_notifier_remove(&w[0].mni);
	mmu_interval_notifier_remove(&w[1].mni);
	page_put(page);
	mm_put(mm);
}

/* ---- refusal and exit --------------------------------------------------- */

TEST(interval, refusal_ends_the_invalidation,
     "a refused start leaves no invalidation open, and readers continue (C57)")
{
	struct mm *mm = mm_fixture(2);
	struct recorder r;
	struct watch w, calm;
	uint64_t seq;

	wr(mm, VA, 1);
	record(&r, mm);
	watch(&calm, mm, 0, 1);
	watch(&w, mm, 1, 1);
	w.refuses = true;
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(r.starts, r.ends);
	seq = mmu_interval_read_begin(&w.mni); /* or the test hangs */
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	w.refuses = false;
	EXPECT_EQ(mm_reap(mm), 0);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	record_end(&r);
	mmu_interval_notifier_remove(&w.mni);
	mmu_interval_notifier_remove(&calm.mni);
	mm_put(mm);
}

TEST(interval, owner_ignores_its_migration,
     "the owner of a migration may ignore its invalidation, and no other "
     "event, and no other interval may ignore it (C63, B30)")
{
	struct mm *mm = mm_fixture(1);
	struct mmu_notifier_range range;
	struct watch owner, other;

	watch(&owner, mm, 0, 1);
	watch(&other, mm, 0, 1);
	rw_read_lock(&mm->lock);
	for (unsigned i = 0; i < 2; i++) {
		mmu_notifier_range_init(
			&range, i ? MMU_NOTIFY_CLEAR : MMU_NOTIFY_MIGRATE, mm,
			P(0), P(1));
		range.owner = &owner;
		mmu_notifier_invalidate_range_start(&range);
		mmu_notifier_invalidate_range_end(&range);
		EXPECT_EQ(owner.notified, i);
		EXPECT_EQ(other.notified, i + 1);
	}
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&owner.mni);
	mmu_interval_notifier_remove(&other.mni);
	mm_put(mm);
}

TEST(interval, exit_releases_intervals,
     "exit notifies every interval once, and a later insert is refused (C58)")
{
	struct mm *mm = mm_fixture(4);
	struct watch w[3], late;

	wr(mm, VA, 1);
	for (unsigned i = 0; i < 3; i++)
		watch(&w[i], mm, i, 1);
	mm_put(mm);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(w[i].notified, 1);
		EXPECT_EQ(w[i].event, MMU_NOTIFY_RELEASE);
	}
	EXPECT_EQ(
		mmu_interval_notifier_insert(&late.mni, mm, VA, 1, &watch_ops),
		-ENOENT);
	for (unsigned i = 0; i < 3; i++)
		mmu_interval_notifier_remove(&w[i].mni);
}

/* ---- all at once -------------------------------------------------------- */

#define LOOKUPS 300

static _Atomic bool stop;

static void keep_changing(void *mm)
{
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		wr(mm, P(i % 2), 2 + i);
		change(mm, i % 2, i % 2 + 1);
		yield();
	}
}

static void keep_inserting(void *mm)
{
	struct watch w;

	while (!atomic_load(&stop)) {
		watch(&w, mm, 0, 2);
		yield();
		remove_watch(&w);
	}
}

/* Look page 0 up once, with other threads in between; true: it was kept. */
static bool look_up(struct watch *w, struct mm *mm)
{
	uint64_t seq = mmu_interval_read_begin(&w->mni);
	struct page *page;
	bool kept;

	rd(mm, VA);
	page = page_at(mm, VA);
	yield();
	spin_lock(&w->lock);
	kept = page && !mmu_interval_read_retry(&w->mni, seq);
	if (kept)
		w->copy = (uint64_t)page;
	spin_unlock(&w->lock);
	if (page)
		page_put(page);
	return kept;
}

/* Check that the copy, if there is one, is the page that the entry names. */
static void copy_is_true(struct watch *w, struct mm *mm)
{
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	spin_lock(&w->lock);
	slot = pt_slot(&mm->pt, VA, 0, false);
	if (w->copy)
		EXPECT(slot && pt_pa(pte_read(slot)) ==
				       page_pa((struct page *)w->copy));
	spin_unlock(&w->lock);
	spin_unlock(&mm->pt_lock);
}

TEST_SMP(interval, lookups_make_progress,
	 "while the mm changes and intervals are inserted and removed on all "
	 "CPUs lookups succeed, and what they keep is never stale (H14)",
	 2)
{
	struct mm *mm = mm_fixture(2);
	struct task t[3];
	struct watch w;
	unsigned kept = 0, retries = 0;

	atomic_store(&stop, false);
	watch(&w, mm, 0, 1);
	spawn(&t[0], keep_changing, mm);
	spawn(&t[1], keep_changing, mm);
	spawn(&t[2], keep_inserting, mm);
	while (kept < LOOKUPS || retries < LOOKUPS / 10) {
		if (look_up(&w, mm))
			kept++;
		else
			retries++;
		copy_is_true(&w, mm);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 3; i++)
		join(&t[i]);
	test_note("%u lookups, %u retries, %u calls", kept, retries,
		  w.notified);
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}
