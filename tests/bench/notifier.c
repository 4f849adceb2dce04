/* SPDX-License-Identifier: MIT */
/*
 * notifier.c - the cost of notifiers
 *
 * The notifiers do nothing: what is counted is the chain.  The figures of
 * tests/bench/mm.c are those of an mm without notifiers.
 */
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/notifier/interval_notifier.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define PAGES 2048u

static int hear_start(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	return 0;
}

static void hear_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
}

static void hear_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
		       va_t end)
{
}

static bool hear_interval(struct mmu_interval_notifier *mni,
			  const struct mmu_notifier_range *range, uint64_t seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_notifier_ops own_table = {
	.invalidate_range_start = hear_start,
	.invalidate_range_end = hear_end,
};

static const struct mmu_notifier_ops shared_table = {
	.invalidate_range = hear_range,
};

static const struct mmu_interval_notifier_ops interval = {
	.invalidate = hear_interval,
};

static uint64_t store_all(struct mm *mm)
{
	uint64_t start;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < PAGES; i++)
		assert(user_store64(P(i), 1) == 0);
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

/* Measure copies of a fork's pages, with n notifiers of these ops. */
static void copies(const char *name, const struct mmu_notifier_ops *ops,
		   unsigned n)
{
	static struct mmu_notifier mn[8];
	struct mm *mm = mm_create(), *child;

	assert(mm && n <= ARRAY_SIZE(mn));
	assert(!mm_map(mm, VA, PAGES * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	store_all(mm);
	assert(!mm_fork(mm, &child));
	for (unsigned i = 0; i < n; i++) {
		mn[i] = (struct mmu_notifier){ .ops = ops };
		assert(!mmu_notifier_register(&mn[i], mm));
	}
	bench_report(name, store_all(mm), PAGES, "instructions");
	for (unsigned i = 0; i < n; i++)
		mmu_notifier_unregister(&mn[i]);
	mm_put(child);
	mm_put(mm);
}

/*
 * Measure an unmap and a fork of an mm with n notifiers that have all callbacks;
 * tests/bench/users.c counts the commands for their devices.
 */
static void by_listeners(unsigned n)
{
	static const struct mmu_notifier_ops both = {
		.invalidate_range_start = hear_start,
		.invalidate_range_end = hear_end,
		.invalidate_range = hear_range,
	};
	static struct mmu_notifier mn[4];
	struct mm *mm = mm_create(), *child;
	char name[40];
	uint64_t start;

	assert(mm && n <= ARRAY_SIZE(mn));
	assert(!mm_map(mm, VA, PAGES * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	store_all(mm);
	for (unsigned i = 0; i < n; i++) {
		mn[i] = (struct mmu_notifier){ .ops = &both };
		assert(!mmu_notifier_register(&mn[i], mm));
	}
	start = bench_start();
	assert(!mm_fork(mm, &child));
	snprintk(name, sizeof(name), "listened_fork_per_page_%u", n);
	bench_report(name, bench_stop(start), PAGES, "instructions");
	snprintk(name, sizeof(name), "listened_copy_%u", n);
	bench_report(name, store_all(mm), PAGES, "instructions");
	start = bench_start();
	for (unsigned i = 0; i < PAGES; i++)
		assert(!mm_unmap(mm, P(i), P(i + 1)));
	snprintk(name, sizeof(name), "listened_unmap_1_%u", n);
	bench_report(name, bench_stop(start), PAGES, "instructions");
	for (unsigned i = 0; i < n; i++)
		mmu_notifier_unregister(&mn[i]);
	mm_put(child);
	mm_put(mm);
}

BENCH(listeners, "fork, copy fault and unmap of an mm with 0, 1, 4 notifiers")
{
	by_listeners(0);
	by_listeners(1);
	by_listeners(4);
}

BENCH(notifier, "copy faults of an mm with notifiers, and a lookup's sequence")
{
	struct mmu_interval_notifier mni;
	struct mm *mm = mm_create();
	uint64_t start;

	copies("copy_own_table_1", &own_table, 1);
	copies("copy_own_table_8", &own_table, 8);
	copies("copy_shared_table_1", &shared_table, 1);
	copies("copy_shared_table_8", &shared_table, 8);
	assert(mm);
	assert(!mmu_interval_notifier_insert(&mni, mm, VA, PAGE_SIZE,
					     &interval));
	start = bench_start();
	for (unsigned i = 0; i < PAGES; i++)
		assert(!mmu_interval_read_retry(&mni,
						mmu_interval_read_begin(&mni)));
	bench_report("interval_lookup", bench_stop(start), PAGES,
		     "instructions");
	mmu_interval_notifier_remove(&mni);
	mm_put(mm);
}
