/* SPDX-License-Identifier: MIT */
/*
 * frames.c - what a frame, an object, a count and a slot cost
 */
#include "kernel/panic.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/pt/pt_x86.h"
#include "tests/bench/bench.h"

#define ROUNDS 10000

BENCH(frame_alloc_put, "page_alloc() and page_put() of one frame")
{
	uint64_t t = bench_start();

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct page *page = page_alloc();

		assert(page);
		page_put(page);
	}
	bench_report("frame_alloc_put", bench_stop(t), ROUNDS, "instructions");
}

BENCH(frame_many, "taking many frames and giving them back, per frame")
{
	struct page *chain = NULL;
	uint64_t t = bench_start();

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct page *page = page_alloc();

		assert(page);
		page->mapping.next = chain;
		chain = page;
	}
	bench_report("frame_many_alloc", bench_stop(t), ROUNDS, "instructions");

	t = bench_start();
	while (chain) {
		struct page *next = chain->mapping.next;

		page_put(chain);
		chain = next;
	}
	bench_report("frame_many_put", bench_stop(t), ROUNDS, "instructions");
}

BENCH(map_add_drop, "counting one mapping up and down")
{
	struct page *page = page_alloc();
	uint64_t t = bench_start();

	assert(page);
	for (unsigned i = 0; i < ROUNDS; i++) {
		page_map_add(page);
		page_map_drop(page);
	}
	bench_report("map_add_drop", bench_stop(t), ROUNDS, "instructions");
	page_put(page);
}

BENCH(pool_alloc_free, "one object of 64 bytes from a pool and back")
{
	struct pool pool;
	void *keep;
	uint64_t t;

	pool_init(&pool, "bench", 64);
	keep = pool_alloc(&pool);
	assert(keep);
	t = bench_start();
	for (unsigned i = 0; i < ROUNDS; i++)
		pool_free(&pool, pool_alloc(&pool));
	bench_report("pool_alloc_free", bench_stop(t), ROUNDS, "instructions");
	pool_free(&pool, keep);
	pool_destroy(&pool);
}

static void put_table(struct page *table, void *arg)
{
	(void)arg;
	page_put(table);
}

BENCH(pt_slot, "finding the slot of a 4 KiB page, four levels")
{
	uint64_t sum = 0, t;
	struct pt pt;

	if (pt_init(&pt, &pt_x86_user, PT_X86_LEVELS, 0, BIT(47), NULL) ||
	    !pt_slot(&pt, BIT(30), 0, true))
		panic("no memory for one path");
	t = bench_start();
	for (unsigned i = 0; i < ROUNDS; i++)
		sum += (uintptr_t)pt_slot(&pt, BIT(30) + i % 512 * PAGE_SIZE, 0,
					  false);
	bench_report("pt_slot", bench_stop(t), ROUNDS, "instructions");
	assert(sum);
	pt_destroy(&pt, put_table, NULL);
}
