/* SPDX-License-Identifier: MIT */
/*
 * parallel.c - write faults of two CPUs in one mm, and in one mm each, beside one CPU
 *
 *	make run RELEASE=1 SMP=2 MODE=mttcg APPEND=bench=parallel
 *
 * The only figures in time of the host, so they are ratios: the three forms take turns,
 * and each ratio is of medians.  What both forms of two CPUs share (free lists, the
 * emulator) they lose alike; between them lies the lock of the mm.
 */
#include "arch/cpu.h"
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define PAGES 4096u /* of each CPU */
#define TURNS 9u

struct faulter {
	struct mm *mm;
	unsigned first; /* its first page */
	uint64_t begun, ended;
};

static _Atomic unsigned waiting; /* threads that are not at the start yet */

static void fault_all(void *arg)
{
	struct faulter *f = arg;

	mm_bind(f->mm);
	atomic_fetch_sub(&waiting, 1);
	while (atomic_load(&waiting))
		cpu_pause();
	f->begun = rdtsc();
	for (unsigned i = 0; i < PAGES; i++)
		assert(!user_store64(P(f->first + i), 1));
	f->ended = rdtsc();
	mm_bind(NULL);
}

static struct mm *space(void)
{
	struct mm *mm = mm_create();

	assert(mm &&
	       !mm_map(mm, VA, 2 * PAGES * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	return mm;
}

/* Return the time from the first fault to the last of n CPUs in so many mms. */
static uint64_t turn(unsigned n, unsigned mms)
{
	struct mm *mm[2] = { space(), mms > 1 ? space() : NULL };
	struct faulter f[2];
	struct task t[2];
	uint64_t begun, ended;

	atomic_store(&waiting, n);
	for (unsigned i = 0; i < n; i++) {
		f[i] = (struct faulter){ .mm = mm[mms > 1 ? i : 0],
					 .first = i * PAGES };
		spawn_on(&t[i], BIT(i), fault_all, &f[i]);
	}
	for (unsigned i = 0; i < n; i++)
		join(&t[i]);
	begun = f[0].begun;
	ended = f[0].ended;
	if (n > 1) {
		begun = f[1].begun < begun ? f[1].begun : begun;
		ended = f[1].ended > ended ? f[1].ended : ended;
	}
	for (unsigned i = 0; i < mms; i++)
		mm_put(mm[i]);
	return ended - begun;
}

static uint64_t median(uint64_t *v)
{
	for (unsigned i = 1; i < TURNS; i++)
		for (unsigned j = i; j && v[j] < v[j - 1]; j--) {
			uint64_t t = v[j];

			v[j] = v[j - 1];
			v[j - 1] = t;
		}
	return v[TURNS / 2];
}

BENCH(parallel, "write faults a second of two CPUs to one, MODE=mttcg SMP=2")
{
	uint64_t alone[TURNS], one[TURNS], two[TURNS];

	if (cpu_count() < 2)
		return;
	for (unsigned i = 0; i < TURNS; i++) {
		alone[i] = turn(1, 1);
		one[i] = turn(2, 1);
		two[i] = turn(2, 2);
	}
	bench_report("parallel_one_mm", 200 * median(alone), median(one),
		     "percent");
	bench_report("parallel_two_mms", 200 * median(alone), median(two),
		     "percent");
}
