/* SPDX-License-Identifier: MIT */
/*
 * watch.c - a client of one interval notifier, and what changes it
 */
#include "kernel/panic.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

static bool watch_invalidate(struct mmu_interval_notifier *mni,
			     const struct mmu_notifier_range *range,
			     uint64_t seq)
{
	struct watch *w = container_of(mni, struct watch, mni);

	if (w->refuses && !range->blockable)
		return false;
	if (mmu_notifier_range_own(range, w))
		return true; /* its own doing */
	if (w->sync_point)
		sync_point_enter(w->sync_point);
	spin_lock(&w->lock);
	mmu_interval_set_seq(mni, seq);
	w->copy = 0;
	w->valid = false;
	w->notified++;
	w->event = range->event;
	spin_unlock(&w->lock);
	return true;
}

const struct mmu_interval_notifier_ops watch_ops = {
	.invalidate = watch_invalidate,
};

void watch(struct watch *w, struct mm *mm, unsigned first, unsigned n)
{
	*w = (struct watch){ .notified = 0 };
	spin_init(&w->lock, RANK_DOMAIN, "watch");
	REQUIRE(mmu_interval_notifier_insert(&w->mni, mm, P(first),
					     n * PAGE_SIZE, &watch_ops) == 0);
}

void invalidation_begin(struct mmu_notifier_range *range, struct mm *mm,
			unsigned from, unsigned to)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, mm, P(from), P(to));
	mmu_notifier_invalidate_range_start(range);
}

struct mm *written(unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), 100 + i);
	return mm;
}

void change(struct mm *mm, unsigned from, unsigned to)
{
	EXPECT_EQ(mm_discard(mm, P(from), P(to)), 0);
}

void discard_first(void *mm)
{
	change(mm, 0, 1);
}
