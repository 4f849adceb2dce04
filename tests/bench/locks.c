/* SPDX-License-Identifier: MIT */
/*
 * locks.c - few of each operation, for tools/lockshare, which follows every instruction
 *
 * The tables are there: another page keeps them.
 */
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define FEW 256u

static int hear_start(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	return 0;
}

static void hear_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
}

static const struct mmu_notifier_ops empty = {
	.invalidate_range_start = hear_start,
	.invalidate_range_end = hear_end,
};

static void report(const char *name, uint64_t instructions)
{
	bench_report(name, instructions, FEW, "instructions");
}

/* Instructions of an access to each page. */
static uint64_t access_all(struct mm *mm, bool write)
{
	uint64_t start, v;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < FEW; i++)
		assert(!(write ? user_store64(P(i), 1)
			       : user_load64(P(i), &v)));
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

/* Instructions of a call for each page. */
static uint64_t change_all(struct mm *mm,
			   int (*change)(struct mm *mm, va_t start, va_t end))
{
	uint64_t start = bench_start();

	for (unsigned i = 0; i < FEW; i++)
		assert(!change(mm, P(i), P(i + 1)));
	return bench_stop(start);
}

BENCH(locks, "256 of each operation; tools/lockshare says what locks are held")
{
	struct mmu_notifier mn = { .ops = &empty };
	struct mm *mm = mm_create(), *child;

	assert(mm &&
	       !mm_map(mm, VA, (FEW + 1) * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	assert(!mm_fault(mm, P(FEW), PROT_W));
	report("few_write_fault", access_all(mm, true));
	assert(!mm_fork(mm, &child));
	report("few_copy", access_all(mm, true));
	mm_put(child);
	assert(!mm_fork(mm, &child));
	mm_put(child);
	report("few_reuse", access_all(mm, true));
	report("few_discard", change_all(mm, mm_discard));
	report("few_zero_read", access_all(mm, false));
	access_all(mm, true);
	assert(!mm_fork(mm, &child));
	assert(!mmu_notifier_register(&mn, mm));
	report("few_copy_listened", access_all(mm, true));
	report("few_discard_listened", change_all(mm, mm_discard));
	mmu_notifier_unregister(&mn);
	mm_put(child);
	access_all(mm, true);
	report("few_unmap", change_all(mm, mm_unmap));
	mm_put(mm);
}
