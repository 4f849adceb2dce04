/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - a scanner that merges pages while a stress test's actors run
 */
#include "tests/stress/ksm.h"
#include "kernel/err.h"
#include "tests/fixture/mm/ksm_fixture.h"

static struct {
	struct thread *thread;
	struct rng rng;
	_Atomic bool stop;
	uint64_t merged; /* ksm_stat.pages_merged at the start */
} scanner;

static uint64_t merged(void)
{
	struct ksm_stat stat;

	ksm_stat(&stat);
	return stat.pages_merged;
}

static void scan(void *arg)
{
	(void)arg;
	while (!atomic_load(&scanner.stop)) {
		int ret = ksm_scan(1 + rng_below(&scanner.rng, 48));

		EXPECT(ret >= 0);
		if (ret <= 0)
			sleep_ns(20000);
		if (rng_below(&scanner.rng, 8) == 0)
			yield();
	}
}

void stress_ksm_begin(uint64_t seed, uint64_t cpus)
{
	static const unsigned bounds[] = { 2, 4, KSM_DEFAULT_BOUND };

	scanner.rng = rng_seed(seed);
	scanner.merged = merged();
	atomic_store(&scanner.stop, false);
	EXPECT_EQ(ksm_set_bound(bounds[rng_below(&scanner.rng, 3)]), 0);
	ksm_knobs.use_zero_pages = rng_below(&scanner.rng, 2);
	scanner.thread = thread_create_on(cpus, "scanner", scan, NULL);
	EXPECT(scanner.thread);
}

unsigned stress_ksm_end(void)
{
	atomic_store(&scanner.stop, true);
	if (scanner.thread)
		thread_join(scanner.thread);
	return (unsigned)(merged() - scanner.merged);
}

void stress_ksm_reset(void)
{
	EXPECT_EQ(ksm_set_bound(KSM_DEFAULT_BOUND), 0);
	ksm_knobs_reset();
}

void stress_ksm_map(struct mm *mm, va_t start, const struct op *op)
{
	if (!(op->dice & 3))
		return;
	EXPECT_EQ(ksm_mergeable(mm, start, start + op->n * PAGE_SIZE), 0);
	/* Pages of zeroes are equal, whatever the tags of their owners. */
	for (unsigned i = 0; i < op->n; i++) {
		int ret = mm_fault(mm, start + i * PAGE_SIZE, PROT_W);

		EXPECT(ret == 0 || ret == -EFAULT);
	}
}

void stress_ksm_change(struct mm *mm, va_t start, const struct op *op)
{
	va_t end = start + op->n * PAGE_SIZE;
	int ret = 0;

	/* The range may have holes: then the call changes nothing. */
	if (op->dice % 8 == 0)
		ret = ksm_unmergeable(mm, start, end);
	else if (op->dice % 8 == 1)
		ret = ksm_mergeable(mm, start, end);
	EXPECT(ret == 0 || ret == -ENOENT);
}
