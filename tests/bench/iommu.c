/* SPDX-License-Identifier: MIT */
/*
 * iommu.c - what mapping for a device costs, flush and wait included
 *
 * QEMU executes a command inside the doorbell's register write, in no time by
 * this clock: the figures are the driver's own instructions.
 */
#include "drivers/lsi.h"
#include "iommu/core/domain.h"
#include "iommu/quirks/quirks.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/block.h"
#include "tests/bench/bench.h"

#define AT     UINT64_C(0x40000000)
#define ROUNDS 64u
#define CROWD  64u

static struct domain *open_domain(void)
{
	struct domain *d;

	if (!iommu_machine()) {
		printk("# no IOMMU: nothing is measured\n");
		return NULL;
	}
	d = domain_create(iommu_machine());
	assert(d);
	/* A device that is never started: the domain has a member. */
	assert(!domain_attach(d, 0x00f8, 0));
	return d;
}

static void close_domain(struct domain *d)
{
	assert(!domain_detach(d, 0x00f8));
	domain_destroy(d);
}

/* n single pages (large: one block) mapped and unmapped, ROUNDS times. */
static void measure(struct domain *d, unsigned n, const char *map,
		    const char *unmap, const char *commands)
{
	struct page *page = page_alloc();
	uint64_t mapping = 0, unmapping = 0, before = d->commands, t;

	assert(page);
	for (unsigned r = 0; r < ROUNDS; r++) {
		t = bench_start();
		for (unsigned i = 0; i < n; i++)
			assert(!domain_map(d, AT + i * PAGE_SIZE, page_pa(page),
					   PAGE_SIZE, PROT_R | PROT_W));
		mapping += bench_stop(t);
		if (!r)
			before = d->commands;
		t = bench_start();
		assert(!domain_unmap(d, AT, AT + n * PAGE_SIZE));
		unmapping += bench_stop(t);
		if (!r)
			before = d->commands - before;
	}
	bench_report(map, mapping, (uint64_t)n * ROUNDS, "instructions");
	bench_report(unmap, unmapping, (uint64_t)n * ROUNDS, "instructions");
	bench_report(commands, before, 1, "commands");
	page_put(page);
}

/* One page, whose tables another page keeps. */
static void measure_there(struct domain *d)
{
	struct page *page = page_alloc();
	iova_t other = AT + 511 * PAGE_SIZE;

	assert(page);
	assert(!domain_map(d, other, page_pa(page), PAGE_SIZE, PROT_R));
	measure(d, 1, "iommu_map_there", "iommu_unmap_there",
		"iommu_unmap_there_flush");
	assert(!domain_unmap(d, other, other + PAGE_SIZE));
	page_put(page);
}

BENCH(iommu_pages, "map page by page, unmap in one call, per page, with flush")
{
	struct domain *d = open_domain();

	if (!d)
		return;
	measure(d, 1, "iommu_map_1", "iommu_unmap_1", "iommu_unmap_1_flush");
	measure_there(d);
	measure(d, 16, "iommu_map_16", "iommu_unmap_16",
		"iommu_unmap_16_flush");
	measure(d, 512, "iommu_map_512", "iommu_unmap_512",
		"iommu_unmap_512_flush");
	close_domain(d);
}

BENCH(iommu_range, "map and unmap a range of 512 pages in one call each")
{
	struct domain *d = open_domain();
	struct page *block = pages_alloc(9);
	uint64_t t, len = 512 * PAGE_SIZE;

	if (!d)
		return;
	assert(block);
	t = bench_start();
	/* Off by a page: no 2 MiB leaf fits. */
	assert(!domain_map(d, AT + PAGE_SIZE, page_pa(block), len,
			   PROT_R | PROT_W));
	bench_report("iommu_map_range_512", bench_stop(t), 512, "instructions");
	t = bench_start();
	assert(!domain_unmap(d, AT + PAGE_SIZE, AT + PAGE_SIZE + len));
	bench_report("iommu_unmap_range_512", bench_stop(t), 512,
		     "instructions");
	page_put(block);
	close_domain(d);
}

BENCH(iommu_sg, "map 512 pages of which none follows the other, in one call")
{
	static struct segment sg[512];
	struct domain *d = open_domain();
	struct page *block = pages_alloc(9);
	uint64_t t, len = 512 * PAGE_SIZE, before;

	if (!d)
		return;
	assert(block);
	/* 257 is odd: each page once. */
	for (unsigned i = 0; i < 512; i++)
		sg[i] = (struct segment){
			page_pa(block) + i * 257 % 512 * PAGE_SIZE, PAGE_SIZE
		};
	before = d->commands;
	t = bench_start();
	assert(!domain_map_sg(d, AT, sg, 512, PROT_R | PROT_W));
	bench_report("iommu_map_sg_512", bench_stop(t), 512, "instructions");
	bench_report("iommu_map_sg_512_flush", d->commands - before, 1,
		     "commands");
	assert(!domain_unmap(d, AT, AT + len));
	page_put(block);
	close_domain(d);
}

/* Map and unmap the block in one call each, and report by these names. */
static void measure_block(struct domain *d, struct page *block, const char *map,
			  const char *unmap)
{
	uint64_t t = bench_start();

	assert(!domain_map(d, AT, page_pa(block), BLOCK_SIZE, PROT_R | PROT_W));
	bench_report(map, bench_stop(t), 1, "instructions");
	t = bench_start();
	assert(!domain_unmap(d, AT, AT + BLOCK_SIZE));
	bench_report(unmap, bench_stop(t), 1, "instructions");
}

BENCH(iommu_block, "map and unmap 2 MiB for a device by one entry")
{
	struct domain *d = open_domain();
	struct page *block = pages_alloc(BLOCK_ORDER);

	if (!d)
		return;
	assert(block);
	measure_block(d, block, "iommu_map_2m_alone", "iommu_unmap_2m_alone");
	/* Another page keeps the table in which the entry is. */
	assert(!domain_map(d, AT + 2 * BLOCK_SIZE, page_pa(block), PAGE_SIZE,
			   PROT_R));
	measure_block(d, block, "iommu_map_2m", "iommu_unmap_2m");
	assert(!domain_unmap(d, AT + 2 * BLOCK_SIZE, AT + 3 * BLOCK_SIZE));
	page_put(block);
	close_domain(d);
}

BENCH(iommu_crowd, "the same page in one of 64 domains: no dearer than in one")
{
	static struct domain *crowd[CROWD];
	struct page *page = page_alloc();
	struct iommu *iommu = iommu_machine();
	const struct iommu_ids *firmware = iommu ? iommu->firmware : NULL;
	uint64_t t;

	if (!iommu)
		return;
	assert(page);
	iommu->firmware = NULL; /* it lists no function that does not exist */
	for (unsigned i = 0; i < CROWD; i++) {
		crowd[i] = domain_create(iommu_machine());
		assert(crowd[i]);
		assert(!domain_attach(crowd[i], (uint16_t)(0x100 + i), 0));
		assert(!domain_map(crowd[i], AT, page_pa(page), PAGE_SIZE,
				   PROT_R));
	}
	t = bench_start();
	for (unsigned i = 0; i < CROWD; i++)
		assert(!domain_unmap(crowd[i], AT, AT + PAGE_SIZE));
	bench_report("iommu_unmap_of_64_domains", bench_stop(t), CROWD,
		     "instructions");
	t = bench_start();
	for (unsigned i = 0; i < CROWD; i++)
		assert(!domain_detach(crowd[i], (uint16_t)(0x100 + i)));
	bench_report("iommu_detach", bench_stop(t), CROWD, "instructions");
	iommu->firmware = firmware;
	for (unsigned i = 0; i < CROWD; i++)
		domain_destroy(crowd[i]);
	page_put(page);
}

BENCH(iommu_check, "iommu_check() over all 65,536 entries of the device table")
{
	struct domain *d = open_domain();
	uint64_t t;

	if (!d)
		return;
	t = bench_start();
	if (iommu_check(d->iommu))
		panic("iommu_check: %s", iommu_check(d->iommu));
	bench_report("iommu_check", bench_stop(t), 1, "instructions");
	close_domain(d);
}

BENCH(iommu_probe, "asking the IOMMU what it really does, as at every boot")
{
	struct iommu_quirks found;
	bool broken;
	uint64_t t;

	if (!iommu_machine())
		return;
	t = bench_start();
	if (!quirks_measure(iommu_machine(), quirks_lsis(), &found, &broken))
		bench_report("iommu_probe", bench_stop(t), 1, "instructions");
}
