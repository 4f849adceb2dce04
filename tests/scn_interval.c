/* SPDX-License-Identifier: MIT */
/*
 * scn_interval.c - interval notifiers: who is told, who waits (C51 to C54, H13)
 *
 * The test's thread opens windows itself, with mm->lock held as whoever changes
 * entries has it.
 */
#include "mm/notifier_priv.h"
#include "kernel/err.h"
#include "tests/cast.h"
#include "tests/gate.h"

/* Is the chain's sequence odd? */
static bool changing(struct mm *mm)
{
	return mm->subscriptions->seq & 1;
}

/* ---- which windows concern an interval ---------------------------------- */

TEST(interval, told_only_of_its_range,
     "neighbours change unnoticed; a byte inside is noticed (C52)")
{
	struct mm *mm = world(8);
	struct watch w;
	uint64_t seq;

	watch(&w, mm, 2, 2);
	seq = mmu_interval_read_begin(&w.mni);
	change(mm, 6, 8);
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	change(mm, 0, 2); /* half-open: ends where it begins */
	change(mm, 4, 5);
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	EXPECT_EQ(w.told, 0);
	change(mm, 3, 4);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	EXPECT(mmu_interval_check_retry(&w.mni, seq));
	EXPECT_EQ(w.told, 1);
	EXPECT(mmu_interval_read_begin(&w.mni) & 1);
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(interval, intervals_need_bytes,
     "an empty interval, or one that wraps around, is refused")
{
	struct mm *mm = world(1);
	struct watch w;

	EXPECT_EQ(mmu_interval_notifier_insert(&w.mni, mm, VA, 0, &watch_ops),
		  -EOVERFLOW);
	EXPECT_EQ(mmu_interval_notifier_insert(&w.mni, mm, ~UINT64_C(0), 2,
					       &watch_ops),
		  -EOVERFLOW);
	mm_put(mm);
}

#define MANY 24

TEST(interval, agrees_with_a_list,
     "of random intervals and windows, exactly those that meet are told")
{
	struct rng rng = rng_seed(test_seed());
	static struct watch w[MANY];
	static unsigned first[MANY], n[MANY], want[MANY];
	struct mm *mm = world(64);

	for (unsigned i = 0; i < MANY; i++) {
		first[i] = (unsigned)rng_below(&rng, 60);
		n[i] = 1 + (unsigned)rng_below(&rng, 64 - first[i]);
		want[i] = 0;
		watch(&w[i], mm, first[i], n[i]);
	}
	for (unsigned k = 0; k < 200; k++) {
		unsigned from = (unsigned)rng_below(&rng, 63);
		unsigned to = from + 1 + (unsigned)rng_below(&rng, 64 - from);

		for (unsigned i = 0; i < MANY; i++)
			want[i] += first[i] < to && first[i] + n[i] > from;
		change(mm, from, to);
	}
	for (unsigned i = 0; i < MANY; i++) {
		EXPECT_EQ(w[i].told, want[i]);
		mmu_interval_notifier_remove(&w[i].mni);
	}
	mm_put(mm);
}

/* ---- lookups ------------------------------------------------------------ */

struct reader {
	struct watch *w;
	uint64_t seq;
};

static void begin(void *arg)
{
	struct reader *r = arg;

	r->seq = mmu_interval_read_begin(&r->w->mni);
}

TEST(interval, readers_wait_for_the_last_window,
     "while a window is open over it, read_begin sleeps; then all is fresh "
     "(C53)")
{
	struct mm *mm = world(4);
	struct mmu_notifier_range a, b;
	struct task task;
	struct reader r;
	struct watch w;

	watch(&w, mm, 0, 4);
	rw_read_lock(&mm->lock);
	EXPECT(!changing(mm));
	window(&a, mm, 0, 1);
	EXPECT(changing(mm));
	window(&b, mm, 3, 4);
	r.w = &w;
	spawn(&task, begin, &r);
	EXPECT(still_waits(&task));
	mmu_notifier_invalidate_range_end(&a);
	EXPECT(changing(mm));
	EXPECT(still_waits(&task));
	mmu_notifier_invalidate_range_end(&b);
	EXPECT(!changing(mm));
	join(&task);
	EXPECT(!mmu_interval_read_retry(&w.mni, r.seq));
	EXPECT_EQ(w.told, 2);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(interval, readers_wait_for_their_own_windows,
     "a window elsewhere, however long, delays neither lookup nor removal")
{
	struct mm *mm = world(8);
	struct mmu_notifier_range far;
	struct watch w, other;
	uint64_t seq;

	watch(&w, mm, 0, 1);
	watch(&other, mm, 4, 4);
	rw_read_lock(&mm->lock);
	window(&far, mm, 4, 8);
	seq = mmu_interval_read_begin(&w.mni); /* or the test hangs */
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	memset(&w, 0x97, sizeof(w));
	mmu_notifier_invalidate_range_end(&far);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&other.mni);
	mm_put(mm);
}

TEST(interval, each_window_has_its_number,
     "two windows in a row are told apart, also while a third stays open")
{
	struct mm *mm = world(8);
	struct mmu_notifier_range far, near;
	struct watch w, other;
	uint64_t seq;

	watch(&w, mm, 0, 1);
	watch(&other, mm, 4, 4);
	rw_read_lock(&mm->lock);
	window(&far, mm, 4, 8);
	window(&near, mm, 0, 1);
	mmu_notifier_invalidate_range_end(&near);
	seq = mmu_interval_read_begin(&w.mni);
	window(&near, mm, 0, 1);
	mmu_notifier_invalidate_range_end(&near);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	mmu_notifier_invalidate_range_end(&far);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&w.mni);
	mmu_interval_notifier_remove(&other.mni);
	mm_put(mm);
}

TEST(interval, a_flag_misses_what_a_sequence_sees,
     "a change that begins and ends inside a lookup: the flag of 2019 says "
     "valid, the sequence says retry (C51, H13)")
{
	struct mm *mm = world(1);
	struct watch w;
	uint64_t seq, seen;

	watch(&w, mm, 0, 1);
	wr(mm, VA, 1);
	seq = mmu_interval_read_begin(&w.mni);
	w.valid = true; /* nobody is changing it: so said the old way */
	seen = rd(mm, VA);
	change(mm, 0, 1);
	w.valid = true; /* its end set the flag again */
	wr(mm, VA, 2);
	EXPECT(w.valid && seen != rd(mm, VA));
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(interval, retry_under_the_lock_holds,
     "a change that begins after the retry test waits for the lock, and then "
     "finds the entry (C54)")
{
	struct mm *mm = world(1);
	struct task task;
	struct gate g;
	struct watch w;
	uint64_t seq;

	watch(&w, mm, 0, 1);
	wr(mm, VA, 1);
	seq = mmu_interval_read_begin(&w.mni);
	gate_close(&g, "interval_told", mm);
	spawn(&task, discard_first, mm);
	gate_await(&g); /* the callback is about to take the lock */
	spin_lock(&w.lock);
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	w.copy = 1;
	spin_unlock(&w.lock);
	gate_open(&g);
	join(&task);
	EXPECT_EQ(w.copy, 0);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}
