/* SPDX-License-Identifier: MIT */
/*
 * interval.c - interval notifiers: what notifies them, and what waits (C51 to C54,
 * H13)
 *
 * The test's thread begins invalidations itself, with mm->lock held as code that
 * changes entries holds it.
 */
#include "kernel/err.h"
#include "mm/notifier/notifier_priv.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

/* Is the chain's sequence odd? */
static bool changing(struct mm *mm)
{
	return mm->subscriptions->seq & 1;
}

/* ---- which invalidations overlap an interval ---------------------------- */

TEST(interval, notified_only_of_its_range,
     "an interval is not notified of a change of its neighbours, and is "
     "notified of a change of one of its bytes (C52)")
{
	struct mm *mm = mm_fixture(8);
	struct watch w;
	uint64_t seq;

	watch(&w, mm, 2, 2);
	seq = mmu_interval_read_begin(&w.mni);
	change(mm, 6, 8);
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	change(mm, 0, 2); /* half-open: ends where it begins */
	change(mm, 4, 5);
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	EXPECT_EQ(w.notified, 0);
	change(mm, 3, 4);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	EXPECT(mmu_interval_check_retry(&w.mni, seq));
	EXPECT_EQ(w.notified, 1);
	EXPECT(mmu_interval_read_begin(&w.mni) & 1);
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(interval, empty_interval_is_refused,
     "an interval that is empty or wraps around is refused")
{
	struct mm *mm = mm_fixture(1);
	struct watch w;

	EXPECT_EQ(mmu_interval_notifier_insert(&w.mni, mm, VA, 0, &watch_ops),
		  -EOVERFLOW);
	EXPECT_EQ(mmu_interval_notifier_insert(&w.mni, mm, ~UINT64_C(0), 2,
					       &watch_ops),
		  -EOVERFLOW);
	mm_put(mm);
}

#define MANY 24

TEST(interval, random_intervals_match_a_list,
     "of random intervals and invalidations exactly those intervals are "
     "notified that overlap")
{
	struct rng rng = rng_seed(test_seed());
	static struct watch w[MANY];
	static unsigned first[MANY], n[MANY], want[MANY];
	struct mm *mm = mm_fixture(64);

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
		EXPECT_EQ(w[i].notified, want[i]);
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

TEST(interval, readers_wait_for_the_last_invalidation,
     "mmu_interval_read_begin() sleeps while an invalidation of its range is "
     "open, and the lookup that follows is valid (C53)")
{
	struct mm *mm = mm_fixture(4);
	struct mmu_notifier_range a, b;
	struct task task;
	struct reader r;
	struct watch w;

	watch(&w, mm, 0, 4);
	rw_read_lock(&mm->lock);
	EXPECT(!changing(mm));
	invalidation_begin(&a, mm, 0, 1);
	EXPECT(changing(mm));
	invalidation_begin(&b, mm, 3, 4);
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
	EXPECT_EQ(w.notified, 2);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(interval, readers_wait_for_their_own_range_only,
     "an invalidation of another range, however long, delays neither a lookup "
     "nor a removal")
{
	struct mm *mm = mm_fixture(8);
	struct mmu_notifier_range far;
	struct watch w, other;
	uint64_t seq;

	watch(&w, mm, 0, 1);
	watch(&other, mm, 4, 4);
	rw_read_lock(&mm->lock);
	invalidation_begin(&far, mm, 4, 8);
	seq = mmu_interval_read_begin(&w.mni); /* or the test hangs */
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	memset(&w, 0x97, sizeof(w));
	mmu_notifier_invalidate_range_end(&far);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&other.mni);
	mm_put(mm);
}

TEST(interval, each_invalidation_has_its_number,
     "two successive invalidations of an interval have different sequence "
     "numbers, also while a third stays open")
{
	struct mm *mm = mm_fixture(8);
	struct mmu_notifier_range far, near;
	struct watch w, other;
	uint64_t seq;

	watch(&w, mm, 0, 1);
	watch(&other, mm, 4, 4);
	rw_read_lock(&mm->lock);
	invalidation_begin(&far, mm, 4, 8);
	invalidation_begin(&near, mm, 0, 1);
	mmu_notifier_invalidate_range_end(&near);
	seq = mmu_interval_read_begin(&w.mni);
	invalidation_begin(&near, mm, 0, 1);
	mmu_notifier_invalidate_range_end(&near);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	mmu_notifier_invalidate_range_end(&far);
	rw_read_unlock(&mm->lock);
	mmu_interval_notifier_remove(&w.mni);
	mmu_interval_notifier_remove(&other.mni);
	mm_put(mm);
}

TEST(interval, a_flag_misses_what_a_sequence_sees,
     "after an invalidation that begins and ends inside a lookup the flag of "
     "2019 says valid, and the sequence says retry (C51, H13)")
{
	struct mm *mm = mm_fixture(1);
	struct watch w;
	uint64_t seq, seen;

	watch(&w, mm, 0, 1);
	wr(mm, VA, 1);
	seq = mmu_interval_read_begin(&w.mni);
	w.valid = true; /* what the flag of 2019 said at this point */
	seen = rd(mm, VA);
	change(mm, 0, 1);
	w.valid = true; /* its end set the flag again */
	wr(mm, VA, 2);
	EXPECT(w.valid && seen != rd(mm, VA));
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}

TEST(interval, retry_test_holds_under_the_lock,
     "an invalidation that begins after the retry test waits for the client's "
     "lock, and then finds the entry (C54)")
{
	struct mm *mm = mm_fixture(1);
	struct task task;
	struct sync_point g;
	struct watch w;
	uint64_t seq;

	watch(&w, mm, 0, 1);
	wr(mm, VA, 1);
	seq = mmu_interval_read_begin(&w.mni);
	sync_point_set(&g, "interval_called", mm);
	spawn(&task, discard_first, mm);
	sync_point_await(&g); /* the callback is about to take the lock */
	spin_lock(&w.lock);
	EXPECT(!mmu_interval_read_retry(&w.mni, seq));
	w.copy = 1;
	spin_unlock(&w.lock);
	sync_point_release(&g);
	join(&task);
	EXPECT_EQ(w.copy, 0);
	EXPECT(mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	mm_put(mm);
}
