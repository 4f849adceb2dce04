/* SPDX-License-Identifier: MIT */
/*
 * growth.c - the same figures at three sizes: pages, regions, intervals, domains
 *
 * A figure is flat if what it costs depends on the work and not on what lies around it.
 * docs/growth.svg has the curves (tools/plot).
 */
#include "arch/uaccess.h"
#include "iommu/core/domain.h"
#include "iommu/sva/sva.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/interval_notifier.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define ROUNDS 64u
#define MOST   1000u

static void report(const char *what, unsigned size, uint64_t total,
		   unsigned count)
{
	char name[40];

	snprintk(name, sizeof(name), "grow_%s_%u", what, size);
	bench_report(name, total, count, "instructions");
}

static struct mm *space(unsigned pages)
{
	struct mm *mm = mm_create();

	assert(mm);
	assert(!mm_map(mm, VA, pages * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	return mm;
}

/* Instructions of a store to every step-th of n pages. */
static uint64_t store_all(struct mm *mm, unsigned n, unsigned step)
{
	uint64_t start;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < n; i += step)
		assert(!user_store64(P(i), 1));
	start = bench_stop(start);
	mm_bind(NULL);
	return start;
}

static void of_pages(unsigned n)
{
	struct mm *mm = space(n), *child;
	uint64_t t;

	report("write", n, store_all(mm, n, 1), n);
	t = bench_start();
	assert(!mm_fork(mm, &child));
	report("fork", n, bench_stop(t), n);
	report("copy", n, store_all(mm, n, 1), n);
	t = bench_start();
	mm_put(child);
	report("exit", n, bench_stop(t), n);
	t = bench_start();
	assert(!mm_protect(mm, VA, P(n), PROT_R));
	report("protect", n, bench_stop(t), n);
	t = bench_start();
	assert(!mm_discard(mm, VA, P(n)));
	report("discard", n, bench_stop(t), n);
	assert(!mm_protect(mm, VA, P(n), RW));
	store_all(mm, n, 1);
	t = bench_start();
	assert(!mm_unmap(mm, VA, P(n)));
	report("unmap", n, bench_stop(t), n);
	mm_put(mm);
}

/* A copy of each page is made, and both have their tables. */
BENCH(growth_pages,
      "a page of 1,000, 10,000 and 100,000, as far as memory goes")
{
	for (unsigned n = 1000; n <= 100000; n *= 10)
		if (pmm_free_pages() > 2 * n + n / 100)
			of_pages(n);
}

/* Instructions of a fork. */
static uint64_t fork_cost(struct mm *mm)
{
	struct mm *child;
	uint64_t t = bench_start();

	assert(!mm_fork(mm, &child));
	t = bench_stop(t);
	mm_put(child);
	return t;
}

/* Regions of one page, with a hole of one page behind each.  ROUNDS of them are used. */
static void of_regions(unsigned n)
{
	struct mm *mm = mm_create();
	unsigned step = n < ROUNDS ? 1 : n / ROUNDS;
	unsigned used = (n + step - 1) / step;
	uint64_t t;

	assert(mm);
	t = fork_cost(mm);
	for (unsigned i = 0; i < n; i++)
		assert(!mm_map(mm, P(2 * i), PAGE_SIZE, RW, 0, NULL, 0, NULL));
	/* The tables are there for each size. */
	for (unsigned i = 0; i < n; i++)
		assert(!mm_fault(mm, P(2 * i), PROT_R));
	report("region_write", n, store_all(mm, 2 * n, 2 * step), used);
	report("region_fork", n, fork_cost(mm) - t, n);
	t = bench_start();
	for (unsigned i = 0; i < n; i += step)
		assert(!mm_unmap(mm, P(2 * i), P(2 * i + 1)));
	report("region_unmap", n, bench_stop(t), used);
	mm_put(mm);
}

BENCH(growth_regions, "a region of 1, 10, 100 and 1,000")
{
	for (unsigned n = 1; n <= MOST; n *= 10)
		of_regions(n);
}

static bool hear(struct mmu_interval_notifier *mni,
		 const struct mmu_notifier_range *range, uint64_t seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_interval_notifier_ops interval = { .invalidate = hear };

/* n intervals of one page each, of which the work meets none, or one. */
static void of_intervals(unsigned n)
{
	static struct mmu_interval_notifier mni[MOST];
	struct mm *mm = space(MOST + 2 * ROUNDS), *child;
	uint64_t met = 0, t;

	store_all(mm, MOST + 2 * ROUNDS, 1);
	for (unsigned i = 0; i < n; i++)
		assert(!mmu_interval_notifier_insert(
			&mni[i], mm, P(2 * ROUNDS + i), PAGE_SIZE, &interval));
	assert(!mm_fork(mm, &child));
	report("interval_copy", n, store_all(mm, ROUNDS, 1), ROUNDS);
	for (unsigned i = 0; i < ROUNDS; i++) {
		va_t va = P(2 * ROUNDS + i % n);

		assert(!mm_fault(mm, va, PROT_W));
		t = bench_start();
		assert(!mm_discard(mm, va, va + PAGE_SIZE));
		met += bench_stop(t);
	}
	report("interval_met", n, met, ROUNDS);
	for (unsigned i = 0; i < n; i++)
		mmu_interval_notifier_remove(&mni[i]);
	mm_put(child);
	mm_put(mm);
}

BENCH(growth_intervals, "beside 1, 10, 100 and 1,000 interval notifiers")
{
	for (unsigned n = 1; n <= MOST; n *= 10)
		of_intervals(n);
}

/* Map and unmap a page in each of n domains, each with a device. */
static void of_domains(struct iommu *iommu, unsigned n)
{
	static struct domain *d[64];
	const iova_t at = UINT64_C(0x40000000);
	struct page *page = page_alloc();
	uint64_t map = 0, unmap = 0, t;

	assert(page && n <= ARRAY_SIZE(d));
	for (unsigned i = 0; i < n; i++) {
		d[i] = domain_create(iommu);
		assert(d[i]);
		assert(!domain_attach(d[i], (uint16_t)(0x100 + i), 0));
		/* Keeps the tables. */
		assert(!domain_map(d[i], at + PAGE_SIZE, page_pa(page),
				   PAGE_SIZE, PROT_R));
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		t = bench_start();
		assert(!domain_map(d[i % n], at, page_pa(page), PAGE_SIZE,
				   PROT_R));
		map += bench_stop(t);
		t = bench_start();
		assert(!domain_unmap(d[i % n], at, at + PAGE_SIZE));
		unmap += bench_stop(t);
	}
	report("domain_map", n, map, ROUNDS);
	report("domain_unmap", n, unmap, ROUNDS);
	while (n--) {
		assert(!domain_detach(d[n], (uint16_t)(0x100 + n)));
		domain_destroy(d[n]);
	}
	page_put(page);
}

/*
 * Copy and discard a page in each of n spaces, each bound to a device that walks its
 * table.
 */
static void of_bindings(struct iommu *iommu, unsigned n)
{
	static struct sva sva[64];
	static struct mm *mm[64], *child[64];
	uint64_t copy = 0, discard = 0, t;

	assert(n <= ARRAY_SIZE(sva));
	for (unsigned i = 0; i < n; i++) {
		mm[i] = space(ROUNDS);
		store_all(mm[i], ROUNDS, 1);
		assert(!mm_fork(mm[i], &child[i]));
		assert(!sva_bind(&sva[i], iommu, NULL, (uint16_t)(0x100 + i), 0,
				 mm[i]));
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		mm_bind(mm[i % n]);
		t = bench_start();
		assert(!user_store64(P(i), 1));
		copy += bench_stop(t);
		mm_bind(NULL);
		t = bench_start();
		assert(!mm_discard(mm[i % n], P(i), P(i + 1)));
		discard += bench_stop(t);
	}
	report("binding_copy", n, copy, ROUNDS);
	report("binding_discard", n, discard, ROUNDS);
	while (n--) {
		sva_unbind(&sva[n]);
		mm_put(child[n]);
		mm_put(mm[n]);
	}
}

BENCH(growth_domains,
      "a page of one of 1 to 64 domains, or bindings, of as many devices")
{
	struct iommu *iommu = iommu_machine();
	const struct iommu_ids *firmware;

	if (!iommu) {
		printk("# no IOMMU: nothing is measured\n");
		return;
	}
	firmware = iommu->firmware;
	iommu->firmware = NULL; /* it lists no function that does not exist */
	for (unsigned n = 1; n <= 64; n *= 4)
		of_domains(iommu, n);
	for (unsigned n = 1; n <= 64; n *= 4)
		of_bindings(iommu, n);
	iommu->firmware = firmware;
}
