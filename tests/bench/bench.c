/* SPDX-License-Identifier: MIT */
/*
 * bench.c - the meter; what it measures is in bench_*.c
 */
#include "tests/bench/bench.h"
#include "arch/cpu.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/buddy.h"
#include "tests/fixture/iommu/engines.h"

#define ICOUNT_SHIFT 3

extern const struct bench *const __start_vv_bench[];
extern const struct bench *const __stop_vv_bench[];

/* The first instruction of the kernel's (boot/start.asm). */
extern uint64_t boot_tsc;

static uint64_t empty; /* instructions of an empty region */
static uint64_t free_after_boot;
static const char *wanted; /* glob of the figures that are printed        */
static bool matched;       /* at least one was                            */

uint64_t bench_start(void)
{
	return rdtsc();
}

uint64_t bench_stop(uint64_t start)
{
	uint64_t n = (rdtsc() - start) >> ICOUNT_SHIFT;

	return n > empty ? n - empty : 0;
}

void bench_report(const char *name, uint64_t total, uint64_t count,
		  const char *unit)
{
	uint64_t tenths = (total * 10 + count / 2) / count;

	if (!glob_match(wanted, name))
		return;
	matched = true;
	printk("BENCH %s %lu.%lu %s\n", name, tenths / 10, tenths % 10, unit);
}

void bench_boot_left(uint64_t free)
{
	free_after_boot = free;
}

uint64_t bench_free_after_boot(void)
{
	return free_after_boot;
}

/*
 * Take all free blocks but the largest out of the lists, linked by mapping.next with
 * their order as index.  A group then finds memory as it is in whole blocks.  Otherwise
 * where the image ends, and what ran before, choose how freed frames unite, and that
 * moves some figures by 12 %.
 */
static struct page *fragments_take(void)
{
	struct page *chain = NULL, *page;
	unsigned order;

	pmm_drain();
	spin_lock(&pmm_lock);
	while ((page = buddy_take_small(PMM_ORDERS - 1, &order)) &&
	       order < PMM_ORDERS - 1) {
		page->mapping.next = chain;
		page->index = order;
		chain = page;
	}
	if (page)
		buddy_give(page, order);
	spin_unlock(&pmm_lock);
	return chain;
}

static void fragments_give(struct page *chain)
{
	spin_lock(&pmm_lock);
	while (chain) {
		struct page *next = chain->mapping.next;

		buddy_give(chain, (unsigned)chain->index);
		chain = next;
	}
	spin_unlock(&pmm_lock);
}

/* Run a group: in a boot of its own, as tools/bench does, or in one with others, which
 * needs the memory that is in fragments. */
static void run(const struct bench *bench, bool alone)
{
	struct page *fragments = alone ? fragments_take() : NULL;

	bench->fn();
	engines_release();
	fragments_give(fragments);
}

bool bench_main(const char *glob)
{
	bool any = false;

	wanted = "*";
	printk("BENCH boot_instructions %lu instructions\n",
	       (rdtsc() - boot_tsc) >> ICOUNT_SHIFT);
	printk("BENCH boot_from_reset %lu instructions\n",
	       rdtsc() >> ICOUNT_SHIFT);
	empty = bench_stop(bench_start());
	for (const struct bench *const *b = __start_vv_bench;
	     b < __stop_vv_bench; b++) {
		if (!glob_match(glob, (*b)->name))
			continue;
		any = true;
		run(*b, !strcmp(glob, (*b)->name));
	}
	if (any)
		return true;
	/* It may name figures: only running all groups tells. */
	wanted = glob;
	for (const struct bench *const *b = __start_vv_bench;
	     b < __stop_vv_bench; b++)
		run(*b, false);
	if (matched)
		return true;
	printk("visavis: no bench matches `%s`, there are", glob);
	for (const struct bench *const *b = __start_vv_bench;
	     b < __stop_vv_bench; b++)
		printk(" %s", (*b)->name);
	printk("\n");
	return false;
}
