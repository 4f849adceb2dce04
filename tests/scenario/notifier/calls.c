/* SPDX-License-Identifier: MIT */
/*
 * calls.c - which calls the chain makes for an mm whose notifiers have few callbacks
 */
#include "kernel/probe.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

/* Copy page 0 with a notifier of these callbacks only, as outside of tests.  Returns when
 * it began. */
static uint64_t copy_with(struct mm *mm, const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier mn = { .ops = ops };
	struct mm *child = fork_of(mm);
	uint64_t since;

	mmu_notifier_all_calls = false;
	REQUIRE(mmu_notifier_register(&mn, mm) == 0);
	since = probes_begin();
	EXPECT_EQ(wr(mm, VA, 7), 0);
	mmu_notifier_unregister(&mn);
	mm_put(child);
	return since;
}

static void end_nothing(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
}

static void range_nothing(struct mmu_notifier *mn, struct mm *mm, va_t start,
			  va_t end)
{
}

TEST(notifier, calls_only_what_some_notifier_has,
     "an mm whose notifiers have no start and no end has no invalidations, and "
     "one "
     "whose notifiers have no invalidate_range is not walked for it")
{
	static const struct mmu_notifier_ops own_table = {
		.invalidate_range_end = end_nothing,
	};
	static const struct mmu_notifier_ops walker = {
		.invalidate_range = range_nothing,
	};
	struct mm *mm = written(1), *other = written(1);
	uint64_t since;

	since = copy_with(mm, &own_table);
	EXPECT(probes_in_order(since, mm,
			       "range_start pte_clear pte_set range_ended"));
	EXPECT(!probes_in_order(since, mm, "range"));
	EXPECT(!probes_in_order(since, mm, "change_pte"));
	since = copy_with(other, &walker);
	EXPECT(probes_in_order(since, other,
			       "pte_clear range range_flushed pte_set"));
	EXPECT(!probes_in_order(since, other, "range_start"));
	/* A second notifier adds what it has. */
	since = copy_with(mm, &walker);
	EXPECT(probes_in_order(
		since, mm, "range_start pte_clear range pte_set range_end"));
	EXPECT(!probes_in_order(since, mm, "change_pte"));
	mm_put(other);
	mm_put(mm);
}
