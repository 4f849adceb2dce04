/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - what merging costs, in instructions per page (means)
 *
 * The work is that of the table in README.md: pages that are (a) all equal,
 * (b) all different, (c) equal in pairs, (d) equal but for their last 8 bytes.
 * Pass 1 computes checksums, pass 2 fills the trees and merges, every later one
 * finds what has not changed.
 */
#include "arch/cpu.h"
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"
#include "mm/ksm/ksm.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define MIB 256u /* pages */

static void fill(struct mm *mm, char kind, unsigned pages)
{
	mm_bind(mm);
	for (unsigned i = 0; i < pages; i++) {
		va_t va = kind == 'd' ? P(i + 1) - 8 : P(i);
		uint64_t v = kind == 'a' ? 0 : kind == 'c' ? i / 2 : i;

		assert(user_store64(va, 1 + v) == 0);
	}
	mm_bind(NULL);
}

static struct mm *space(char kind, unsigned pages)
{
	struct mm *mm = mm_create();

	assert(mm);
	assert(!mm_map(mm, VA, pages * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	assert(!ksm_mergeable(mm, VA, P(pages)));
	fill(mm, kind, pages);
	return mm;
}

static uint64_t pass(void)
{
	uint64_t start = bench_start();

	assert(!ksm_full_scan());
	return bench_stop(start);
}

static void report(char kind, unsigned mib, const char *what, uint64_t total,
		   uint64_t count, const char *unit)
{
	char name[48];

	snprintk(name, sizeof(name), "ksm_%s_%u_%c", what, mib, kind);
	bench_report(name, total, count, unit);
}

static uint64_t metadata(void)
{
	struct ksm_stat stat;

	ksm_stat(&stat);
	return stat.bytes;
}

/* Three passes over fresh pages. */
static struct mm *passes(char kind, unsigned mib)
{
	unsigned pages = mib * MIB;
	struct mm *mm = space(kind, pages);
	uint64_t later;

	report(kind, mib, "first", pass(), pages, "instructions");
	report(kind, mib, "second", pass(), pages, "instructions");
	later = pass();
	report(kind, mib, "later", later, pages, "instructions");
	report(kind, mib, "pass", later, 1, "instructions");
	report(kind, mib, "metadata", metadata(), pages, "bytes");
	return mm;
}

/* A store to every fourth page, with its #PF. */
static void breaks(struct mm *mm, char kind, unsigned mib)
{
	unsigned pages = mib * MIB;
	uint64_t start;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < pages; i += 4)
		user_store64(P(i), i);
	report(kind, mib, "break", bench_stop(start), pages / 4,
	       "instructions");
	mm_bind(NULL);
}

/* All that is left merged becomes private; what was written is not counted. */
static void unmerge(struct mm *mm, char kind, unsigned mib)
{
	unsigned pages = mib * MIB;
	uint64_t start = bench_start();

	assert(!ksm_unmergeable(mm, VA, P(pages)));
	report(kind, mib, "unmerge", bench_stop(start), pages - pages / 4,
	       "instructions");
}

BENCH(ksm, "three passes over 64 MiB, and 256 MiB where there is memory for "
	   "it, breaks and unmerging")
{
	static const unsigned sizes[] = { 64, 256 };

	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
		if (pmm_free_pages() < sizes[k] * MIB * 5 / 4)
			break;
		for (const char *kind = "abcd"; *kind; kind++) {
			struct mm *mm = passes(*kind, sizes[k]);

			if (*kind == 'a' || *kind == 'c') {
				breaks(mm, *kind, sizes[k]);
				unmerge(mm, *kind, sizes[k]);
			}
			mm_put(mm);
		}
	}
}

BENCH(ksm_growth, "16 MiB and 1 GiB, where there is memory for it")
{
	static const unsigned sizes[] = { 16, 1024 };

	if (CONFIG_CHECK || pmm_free_pages() < 1200 * MIB)
		return;
	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++)
		for (const char *kind = "abcd"; *kind; kind++)
			mm_put(passes(*kind, sizes[k]));
}
