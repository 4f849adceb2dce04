/* SPDX-License-Identifier: MIT */
/*
 * scn_interval_life.c - interval notifiers come, go and refuse while windows are
 * open: semantics C55 to C58, H9, H14
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "tests/cast.h"
#include "tests/gate.h"

struct reader {
	struct watch *w;
	uint64_t seq;
};

static void begin(void *arg)
{
	struct reader *r = arg;

	r->seq = mmu_interval_read_begin(&r->w->mni);
}

/* ---- come and go -------------------------------------------------------- */

TEST(interval, insert_returns_at_once,
     "an insert into an open window returns, is not told of it, and its reader "
     "waits for it (C55)")
{
	struct mm *mm = world(4);
	struct mmu_notifier_range range;
	struct watch before, w;
	struct reader r = { &w, 0 };
	struct task task;

	watch(&before, mm, 0, 4);
	rw_read_lock(&mm->lock);
	window(&range, mm, 0, 2);
	watch(&w, mm, 1, 2);
	spawn(&task, begin, &r);
	EXPECT(still_waits(&task));
	mmu_notifier_invalidate_range_end(&range);
	join(&task);
	EXPECT_EQ(w.told, 0);
	EXPECT(!mmu_interval_read_retry(&w.mni, r.seq));
	window(&range, mm, 0, 2);
	EXPECT_EQ(w.told, 1);
	EXPECT_EQ(before.told, 2);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
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

TEST(interval, remove_waits_for_its_window,
     "a remove in the middle of a window waits for its end; later windows pass "
     "it by (C56, H9)")
{
	struct mm *mm = world(4);
	struct mmu_notifier_range a, b;
	struct task task;
	struct watch w;

	watch(&w, mm, 0, 2);
	rw_read_lock(&mm->lock);
	window(&a, mm, 0, 1);
	spawn(&task, remove_watch, &w);
	EXPECT(still_waits(&task));
	window(&b, mm, 0, 2);
	EXPECT_EQ(w.told, 1);
	mmu_notifier_invalidate_range_end(&a);
	join(&task); /* although b is open */
	mmu_notifier_invalidate_range_end(&b);
	rw_read_unlock(&mm->lock);
	mm_put(mm);
}

TEST(interval, remove_waits_for_its_callback,
     "a remove while its callback sleeps returns after it (H9)")
{
	struct mm *mm = world(2);
	struct task changer, remover;
	struct watch w;
	struct gate g;

	watch(&w, mm, 0, 1);
	gate_close(&g, NULL, NULL);
	w.gate = &g;
	spawn(&changer, discard_first, mm);
	gate_await(&g);
	spawn(&remover, remove_watch, &w);
	EXPECT(still_waits(&remover));
	gate_open(&g);
	join(&changer);
	join(&remover);
	mm_put(mm);
}

TEST(interval, remove_of_a_newcomer_returns,
     "what was inserted into an open window is removed without waiting for it "
     "(C56)")
{
	struct mm *mm = world(2);
	struct mmu_notifier_range range;
	struct watch before, w;

	watch(&before, mm, 0, 1);
	rw_read_lock(&mm->lock);
	window(&range, mm, 0, 1);
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

TEST(interval, first_insert_waits_for_unknown_windows,
     "the first subscription of an mm, and who comes while it is made, wait "
     "for "
     "windows that nobody counted")
{
	struct mm *mm = world(1);
	struct watch w[2];
	struct reader a = { &w[0], (uint64_t)mm }, b = { &w[1], (uint64_t)mm };
	struct task unmap, first, second;
	struct page *page;
	struct gate g;

	wr(mm, VA, 1);
	page = page_at(mm, VA);
	gate_close(&g, "rmap_walk", page);
	spawn(&unmap, evict, page);
	gate_await(&g);
	spawn(&first, insert_watch, &a);
	EXPECT(still_waits(&first));
	spawn(&second, insert_watch, &b);
	EXPECT(still_waits(&second));
	gate_open(&g);
	join(&unmap);
	join(&first);
	join(&second);
	mmu_interval_notifier_remove(&w[0].mni);
	mmu_interval_notifier_remove(&w[1].mni);
	page_put(page);
	mm_put(mm);
}

/* ---- refusal and exit --------------------------------------------------- */

TEST(interval, refusal_closes_the_window,
     "a refused change leaves nothing open: readers go on (C57)")
{
	struct mm *mm = world(2);
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
     "who migrates a page himself may ignore that, and nothing else; others "
     "may not (C63, B30)")
{
	struct mm *mm = world(1);
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
		EXPECT_EQ(owner.told, i);
		EXPECT_EQ(other.told, i + 1);
	}
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&owner.mni);
	mmu_interval_notifier_remove(&other.mni);
	mm_put(mm);
}

TEST(interval, exit_releases_intervals,
     "exit tells every interval, once, and nobody comes in again (C58)")
{
	struct mm *mm = world(4);
	struct watch w[3], late;

	wr(mm, VA, 1);
	for (unsigned i = 0; i < 3; i++)
		watch(&w[i], mm, i, 1);
	mm_put(mm);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(w[i].told, 1);
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

/* One lookup of page 0, disturbed as often as may be; true: it was kept. */
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

/* The copy is true for as long as it is there. */
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
	 "with changes and other intervals coming and going on all CPUs, "
	 "lookups "
	 "succeed, and what they keep is never stale (H14)",
	 2)
{
	struct mm *mm = world(2);
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
	test_note("%u lookups, %u retries, %u times told", kept, retries,
		  w.told);
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}
