/* SPDX-License-Identifier: MIT */
/*
 * swap.c - what it costs to move pages out and in, with a store in RAM
 *
 * The store's part is one copy of a page, 512 moves: a disk takes the host's time
 * instead.
 */
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "mm/core/mm.h"
#include "mm/reclaim/reclaim.h"
#include "mm/rmap/rmap.h"
#include "mm/space/swap_in.h"
#include "mm/swap/ram_store.h"
#include "mm/swap/swap.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define MANY 30000u

static struct ram_store ram;

/* Return an mm of n pages, all written, with a store that has room for them. */
static struct mm *begin(unsigned n)
{
	struct mm *mm;

	assert(!ram_store_init(&ram, n));
	assert(!swap_on(&ram.store));
	mm = mm_create();
	assert(mm && !mm_map(mm, VA, n * PAGE_SIZE, PROT_R | PROT_W, 0, NULL, 0,
			     NULL));
	for (unsigned i = 0; i < n; i++)
		assert(!mm_fault(mm, P(i), PROT_W));
	return mm;
}

static void end(struct mm *mm)
{
	mm_put(mm);
	assert(!swap_off());
	ram_store_destroy(&ram);
}

/* Swap out all n pages; each is found first, which is not measured. */
static uint64_t all_out(struct mm *mm, unsigned n)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_at(mm, P(i));
		uint64_t start = bench_start();

		assert(!swap_out(page));
		page_put(page);
		total += bench_stop(start);
	}
	return total;
}

/* Load a word of each of n pages, page faults included. */
static uint64_t all_in(struct mm *mm, unsigned n)
{
	uint64_t start, v;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < n; i++)
		assert(!user_load64(P(i), &v));
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

/* Reclaim all n pages, which were not used since the hand passed them. */
static uint64_t all_reclaimed(struct mm *mm, unsigned n)
{
	uint64_t start;

	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_at(mm, P(i));

		page_referenced(page);
		page_put(page);
	}
	start = bench_start();
	assert(mm_reclaim(mm, n) == n);
	return bench_stop(start);
}

BENCH(reclaim, "unused pages found and swapped out, one flush for a batch")
{
	enum {
		N = 1000
	};
	struct mm *mm = begin(N);

	bench_report("reclaim_1k", all_reclaimed(mm, N), N, "instructions");
	all_in(mm, N);
	mm_bind(mm);
	bench_report("reclaim_loaded_1k", all_reclaimed(mm, N), N,
		     "instructions");
	mm_bind(NULL);
	end(mm);
}

BENCH(swap, "pages to a store in RAM and back, faults that find the cache")
{
	static const struct {
		unsigned n;
		const char *out, *in;
	} size[] = { { 1000, "swap_out_1k", "swap_in_1k" },
		     { MANY, "swap_out_30k", "swap_in_30k" } };
	struct page *page;
	struct mm *mm;

	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		mm = begin(size[i].n);
		bench_report(size[i].out, all_out(mm, size[i].n), size[i].n,
			     "instructions");
		bench_report(size[i].in, all_in(mm, size[i].n), size[i].n,
			     "instructions");
		end(mm);
	}
	mm = begin(1);
	page = page_at(mm, P(0));
	page_get(
		page); /* one more than swap_out() expects: it stays in the cache */
	assert(swap_out(page));
	bench_report("swap_cache_hit", all_in(mm, 1), 1, "instructions");
	page_put(page);
	page_put(page);
	end(mm);
}

BENCH(swapped, "fork, unmap and swapoff of pages that are swapped out")
{
	enum {
		N = 1000
	};
	struct mm *mm = begin(N), *child;
	uint64_t start;

	all_out(mm, N);
	start = bench_start();
	assert(!mm_fork(mm, &child));
	bench_report("swapped_fork_per_page", bench_stop(start), N,
		     "instructions");
	mm_put(child);
	start = bench_start();
	assert(!mm_unmap(mm, P(0), P(N / 2)));
	bench_report("swapped_unmap_per_page", bench_stop(start), N / 2,
		     "instructions");
	start = bench_start();
	assert(!swap_off());
	bench_report("swapoff_per_page", bench_stop(start), N / 2,
		     "instructions");
	mm_put(mm);
	ram_store_destroy(&ram);
}
