/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - what it costs to move a page to another frame
 */
#include "kernel/panic.h"
#include "mm/frame/pmm.h"
#include "mm/reclaim/compact.h"
#include "mm/move/migrate_block.h"
#include "mm/rmap/migrate.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define FORKS 100

/* Move the n pages of mm; finding and freeing frames is not measured. */
static uint64_t all_move(struct mm *mm, unsigned n)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_at(mm, P(i)), *to = page_alloc();
		uint64_t start = bench_start();

		assert(!migrate_page(page, to));
		total += bench_stop(start);
		page_put(page);
		page_put(to);
	}
	return total;
}

BENCH(migrate, "pages to other frames: with one mapping, and for each more")
{
	enum {
		N = 1000,
		FEW = 10
	};
	struct mm *mm = mm_fixture(N), *child[FORKS];
	uint64_t one;

	for (unsigned i = 0; i < N; i++)
		assert(!mm_fault(mm, P(i), PROT_W));
	one = all_move(mm, N) / N;
	bench_report("migrate_page", one, 1, "instructions");
	for (unsigned i = 0; i < FORKS; i++)
		child[i] = fork_of(mm);
	bench_report("migrate_further_mapping", all_move(mm, FEW) / FEW - one,
		     FORKS, "instructions");
	for (unsigned i = 0; i < FORKS; i++)
		mm_put(child[i]);
	mm_put(mm);
}

BENCH(migrate_huge,
      "a page of 2 MiB to another block: 262,144 moves are the copy")
{
	struct mm *mm = mm_create();
	struct page *head, *to = pages_alloc_bare(BLOCK_ORDER);
	uint64_t start;

	assert(mm && to &&
	       !mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	assert(!mm_fault(mm, VA, PROT_W));
	head = page_of_pa(entry_at(mm, VA) & PTE_ADDR);
	page_get(head);
	start = bench_start();
	assert(!migrate_block(head, to));
	bench_report("migrate_huge_page", bench_stop(start), 1, "instructions");
	page_put(head);
	page_put(to);
	mm_put(mm);
}

BENCH(compact,
      "a block of 2 MiB, half used by one address space, per page that moves")
{
	struct mm *mm = mm_create();
	struct page *first, *block;
	struct compact_stat stat;
	uint64_t start;

	assert(mm && !mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	assert(!mm_fault(mm, VA, PROT_W));
	first = page_of_pa(entry_at(mm, VA) & PTE_ADDR);
	for (unsigned i = 1; i < BLOCK_PAGES; i += 2)
		assert(!mm_discard(mm, P(i), P(i + 1)));
	start = bench_start();
	assert(!block_evacuate(pfn_of(first), &block));
	bench_report("compact_page", bench_stop(start), BLOCK_PAGES / 2,
		     "instructions");
	compact_stat(&stat);
	assert(stat.moved == BLOCK_PAGES / 2);
	page_put(block);
	mm_put(mm);
}
