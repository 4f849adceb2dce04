/* SPDX-License-Identifier: MIT */
/*
 * mm.c - what mm costs, in instructions per operation (means)
 *
 * The definitions are those of the table in README.md: page bodies (512 moves)
 * and the exception are included, exit leaves the data pages to the parent.
 */
#include "arch/cpu.h"
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "mm/frame/pmm.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define FAULTS 8192

static struct mm *space(unsigned pages)
{
	struct mm *mm = mm_create();

	assert(mm);
	assert(!mm_map(mm, VA, pages * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	return mm;
}

static void store(va_t va)
{
	assert(user_store64(va, 1) == 0);
}

static void touch(struct mm *mm, unsigned pages)
{
	mm_bind(mm);
	for (unsigned i = 0; i < pages; i++)
		store(P(i));
	mm_bind(NULL);
}

static struct mm *dup(struct mm *mm)
{
	struct mm *child;

	assert(!mm_fork(mm, &child));
	return child;
}

/* Instructions of n accesses, one a page, in mm. */
static uint64_t walk(struct mm *mm, unsigned n, bool write)
{
	uint64_t start, v;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < n; i++)
		if (write)
			user_store64(P(i), 1);
		else
			user_load64(P(i), &v);
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

BENCH(fault, "first touch, zero page, copy and reuse, each with its #PF")
{
	struct mm *mm = space(FAULTS), *child;

	bench_report("anon_write_fault", walk(mm, FAULTS, true), FAULTS,
		     "instructions");
	child = dup(mm);
	bench_report("cow_copy_fault", walk(child, FAULTS, true), FAULTS,
		     "instructions");
	mm_put(child);
	bench_report("cow_reuse_fault", walk(mm, FAULTS, true), FAULTS,
		     "instructions");
	mm_put(mm);
	mm = space(FAULTS);
	bench_report("zero_read_fault", walk(mm, FAULTS, false), FAULTS,
		     "instructions");
	bench_report("zero_write_fault", walk(mm, FAULTS, true), FAULTS,
		     "instructions");
	mm_put(mm);
}

struct cost {
	uint64_t fork, exit;
};

static struct cost fork_cost(unsigned pages)
{
	struct mm *mm = space(pages ? pages : 1), *child;
	struct cost c;
	uint64_t start;

	touch(mm, pages);
	start = bench_start();
	child = dup(mm);
	c.fork = bench_stop(start);
	start = bench_start();
	mm_put(child);
	c.exit = bench_stop(start);
	mm_put(mm);
	return c;
}

BENCH(fork, "fork and exit per mapped page, the cost of 0 pages taken off")
{
	static const struct {
		unsigned pages;
		const char *fork, *exit;
	} size[] = {
		{ 1000, "fork_per_page_1k", "exit_per_page_1k" },
		{ 10000, "fork_per_page_10k", "exit_per_page_10k" },
		{ 50000, "fork_per_page_50k", "exit_per_page_50k" },
	};
	struct cost none = fork_cost(0);

	bench_report("fork_empty", none.fork, 1, "instructions");
	bench_report("exit_empty", none.exit, 1, "instructions");
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct cost c = fork_cost(size[i].pages);

		bench_report(size[i].fork, c.fork - none.fork, size[i].pages,
			     "instructions");
		bench_report(size[i].exit, c.exit - none.exit, size[i].pages,
			     "instructions");
	}
}

#define RANGE 10000

BENCH(range, "unmap, discard and protect per page, pages freed where it says")
{
	struct mm *mm = space(RANGE);
	uint64_t start;

	touch(mm, RANGE);
	start = bench_start();
	assert(!mm_protect(mm, VA, P(RANGE), PROT_R));
	bench_report("protect_ro_per_page", bench_stop(start), RANGE,
		     "instructions");
	start = bench_start();
	assert(!mm_protect(mm, VA, P(RANGE), RW));
	bench_report("protect_rw_per_page", bench_stop(start), RANGE,
		     "instructions");
	start = bench_start();
	assert(!mm_discard(mm, VA, P(RANGE)));
	bench_report("discard_per_page", bench_stop(start), RANGE,
		     "instructions");
	touch(mm, RANGE);
	start = bench_start();
	assert(!mm_unmap(mm, VA, P(RANGE)));
	bench_report("unmap_per_page", bench_stop(start), RANGE,
		     "instructions");
	mm_put(mm);
}

#define FORKS 1000

BENCH(rmap, "try_to_unmap() per mapping, of a page mapped n times")
{
	static struct mm *mm[FORKS];
	static const struct {
		unsigned n;
		const char *name;
	} size[] = { { 1, "unmap_rmap_1" },
		     { 10, "unmap_rmap_10" },
		     { 100, "unmap_rmap_100" },
		     { 1000, "unmap_rmap_1000" } };

	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct page *page;
		uint64_t start;
		unsigned n = size[i].n;

		mm[0] = space(1);
		touch(mm[0], 1);
		for (unsigned k = 1; k < n; k++)
			mm[k] = dup(mm[0]);
		page = page_at(mm[0], VA);
		start = bench_start();
		assert(try_to_unmap(page) == 0);
		bench_report(size[i].name, bench_stop(start), n,
			     "instructions/mapping");
		page_put(page);
		while (n--)
			mm_put(mm[n]);
	}
}

BENCH(memory, "bytes of metadata per mapped page, memory used after boot")
{
	enum {
		PAGES = 32768
	};
	uint64_t before, used, all;
	struct mm *mm;

	pmm_drain();
	before = pmm_free_pages();
	all = memmap_bytes(pmm_ram());
	bench_report("used_after_boot",
		     (all >> 10) - bench_free_after_boot() * 4, 1, "KiB");
	mm = space(PAGES);
	touch(mm, PAGES);
	used = (before - pmm_free_pages() - PAGES) * PAGE_SIZE +
	       PAGES * sizeof(struct page);
	bench_report("metadata_per_page", used, PAGES, "bytes");
	mm_put(mm);
}
