/* SPDX-License-Identifier: MIT */
/*
 * huge.c - what pages of 2 MiB cost, in instructions per page
 *
 * Where frames are cleared the 262,144 stores are taken off.  What is said per page
 * of 2 MiB is the slope: the same work on one page is taken off.
 */
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "mm/huge/collapse.h"
#include "mm/rmap/huge.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define MANY  64u
#define CLEAR (BLOCK_SIZE / 8)

static va_t at(unsigned i)
{
	return VA + i * BLOCK_SIZE;
}

static struct mm *space(unsigned n)
{
	struct mm *mm = mm_create();

	assert(mm &&
	       !mm_map(mm, VA, n * BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	return mm;
}

/* Instructions of one store into each of n pages of 2 MiB. */
static uint64_t store(struct mm *mm, unsigned n)
{
	uint64_t start;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < n; i++)
		user_store64(at(i), 1);
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

static struct mm *filled(unsigned n)
{
	struct mm *mm = space(n);

	store(mm, n);
	assert(mm->mapped == n * BLOCK_PAGES);
	return mm;
}

static uint64_t split(struct mm *mm, unsigned n)
{
	uint64_t start = bench_start();

	for (unsigned i = 0; i < n; i++)
		huge_split_at(mm, at(i) + PAGE_SIZE);
	return bench_stop(start);
}

/* Instructions of one load from each of n pages of 2 MiB. */
static uint64_t load(struct mm *mm, unsigned n)
{
	uint64_t start, v;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < n; i++)
		assert(!user_load64(at(i), &v));
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

BENCH(huge_zero, "first load of 2 MiB, and the first store after it")
{
	struct mm *mm = space(MANY + 1);

	load(mm, 1); /* clears the block of zeroes */
	mm_put(mm);
	mm = space(MANY);
	bench_report("huge_zero_read", load(mm, MANY), MANY, "instructions");
	assert(!mm->mapped);
	bench_report("huge_zero_write", store(mm, MANY) - MANY * CLEAR, MANY,
		     "instructions");
	mm_put(mm);
}

BENCH(huge_fault, "first store, split and copy on write of pages of 2 MiB")
{
	struct mm *mm = space(MANY), *child;

	bench_report("huge_write_fault", store(mm, MANY) - MANY * CLEAR, MANY,
		     "instructions");
	assert(!mm_fork(mm, &child));
	bench_report("huge_split_both", split(mm, MANY), MANY, "instructions");
	bench_report("huge_split_entry", split(child, MANY), MANY,
		     "instructions");
	mm_put(child);
	mm_put(mm);
	mm = filled(MANY);
	assert(!mm_fork(mm, &child));
	bench_report("huge_cow_store", store(child, MANY), MANY,
		     "instructions");
	mm_put(child);
	bench_report("huge_reuse_store", store(mm, 1), 1, "instructions");
	mm_put(mm);
}

/* Instructions of the collapse of the 2 MiB at VA. */
static uint64_t collapse(struct mm *mm)
{
	uint64_t start = bench_start();

	assert(!mm_collapse(mm, VA));
	return bench_stop(start);
}

BENCH(huge_collapse, "collapse of 512 pages, by a copy and after a mere split")
{
	struct mm *mm = mm_create();

	assert(mm && !mm_map(mm, VA, BLOCK_SIZE, RW, 0, NULL, 0, NULL));
	for (unsigned i = BLOCK_PAGES; i-- > 0;)
		assert(!mm_fault(mm, P(i), PROT_W));
	bench_report("huge_collapse_copy", collapse(mm), 1, "instructions");
	split(mm, 1);
	bench_report("huge_collapse_join", collapse(mm), 1, "instructions");
	mm_put(mm);
}

struct cost {
	uint64_t fork, exit, protect, move, unmap;
};

static struct cost cost_of(unsigned n)
{
	struct mm *mm = filled(n), *child;
	va_t end = at(n), away = VA + BIT(36);
	struct cost c;
	uint64_t t = bench_start();

	assert(!mm_fork(mm, &child));
	c.fork = bench_stop(t);
	t = bench_start();
	mm_put(child);
	c.exit = bench_stop(t);
	t = bench_start();
	assert(!mm_protect(mm, VA, end, PROT_R));
	c.protect = bench_stop(t);
	assert(!mm_protect(mm, VA, end, RW));
	t = bench_start();
	assert(!mm_unmap(mm, VA, end));
	c.unmap = bench_stop(t);
	mm_put(mm);
	mm = filled(n);
	t = bench_start();
	assert(!mm_remap(mm, VA, end - VA, away, end - VA, NULL));
	c.move = bench_stop(t);
	mm_put(mm);
	return c;
}

BENCH(huge_range, "fork, exit, unmap, protect and move per page of 2 MiB")
{
	struct cost one = cost_of(1), all = cost_of(MANY + 1);

	bench_report("huge_fork", all.fork - one.fork, MANY, "instructions");
	bench_report("huge_exit", all.exit - one.exit, MANY, "instructions");
	bench_report("huge_protect", all.protect - one.protect, MANY,
		     "instructions");
	bench_report("huge_unmap", all.unmap - one.unmap, MANY, "instructions");
	bench_report("huge_move", all.move - one.move, MANY, "instructions");
}
