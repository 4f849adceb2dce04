/* SPDX-License-Identifier: MIT */
/*
 * domain_random.c - random operations against a flat model
 *
 * Three times 2 MiB of addresses over one block of 2 MiB.  The model says for
 * each address which page of the block is mapped there, with which rights.  Two
 * devices, one with a TLB of its own, check it after every operation.
 */
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV   8
#define DEV2  9
#define LARGE 512u
#define PAGES (3 * LARGE)
#define IOVA  UINT64_C(0x40000000)
#define IO(n) (IOVA + PAGE_SIZE * (n))

static struct {
	uint16_t frame; /* of the block, plus 1; 0: none                   */
	enum prot prot;
} model[PAGES];

static struct rng rng;
static struct page *block;

static unsigned below(unsigned n)
{
	return (unsigned)rng_below(&rng, n);
}

static enum prot some_prot(void)
{
	return (enum prot)(1 + below(3));
}

/* Choose some pages; often up to an edge of 2 MiB. */
static void some_range(unsigned *start, unsigned *end)
{
	unsigned a = below(PAGES), b = below(PAGES);

	if (!below(3))
		b = a;
	if (!below(3))
		a -= a % LARGE;
	if (!below(3))
		b -= b % LARGE;
	*start = a < b ? a : b;
	*end = (a < b ? b : a) + 1;
	if (!below(3))
		*end = (*end + LARGE - 1) / LARGE * LARGE;
}

static void do_map(struct domain *d)
{
	unsigned start, end, frame = 0, n;
	enum prot prot = some_prot();
	bool busy = false;

	some_range(&start, &end);
	n = end - start < LARGE ? end - start : LARGE;
	if (below(2)) { /* a whole leaf of 2 MiB */
		start -= start % LARGE;
		n = LARGE;
	}
	if (n < LARGE)
		frame = below(LARGE - n);
	for (unsigned i = 0; i < n; i++)
		busy |= model[start + i].frame != 0;
	EXPECT_EQ(domain_map(d, IO(start), page_pa(block + frame),
			     n * PAGE_SIZE, prot),
		  busy ? -EEXIST : 0);
	for (unsigned i = 0; i < n && !busy; i++) {
		model[start + i].frame = (uint16_t)(frame + i + 1);
		model[start + i].prot = prot;
	}
}

static void do_unmap(struct domain *d)
{
	unsigned start, end;

	some_range(&start, &end);
	EXPECT_EQ(domain_unmap(d, IO(start), IO(end)), 0);
	for (; start < end; start++)
		model[start].frame = 0;
}

static void do_protect(struct domain *d)
{
	enum prot prot = some_prot();
	unsigned start, end;

	some_range(&start, &end);
	EXPECT_EQ(domain_protect(d, IO(start), IO(end), prot), 0);
	for (; start < end; start++)
		model[start].prot = prot;
}

static void one_operation(struct domain *d)
{
	switch (below(6)) {
	case 0:
	case 1:
		do_map(d);
		return;
	case 2:
		do_unmap(d);
		return;
	case 3:
		do_protect(d);
		return;
	case 4:
		EXPECT_EQ(domain_split(d, IO(below(PAGES))), 0);
		return;
	case 5: {
		int error = domain_join(d, IO(below(PAGES)));

		EXPECT(!error || error == -EINVAL);
	}
	}
}

/* Read and write page i with the device; compare with the model. */
static void look(struct driver *v, uint16_t devid, unsigned i)
{
	enum prot prot = model[i].frame ? model[i].prot : PROT_NONE;

	EXPECT_EQ(driver_read(v, devid, IO(i)),
		  prot & PROT_R ? model[i].frame : 0);
	EXPECT_EQ(driver_write(v, devid, IO(i) + 8, 1), !!(prot & PROT_W));
}

static void fill_block(void)
{
	block = pages_alloc(9);
	REQUIRE(block);
	page_set_kind_block(block, PAGE_DMA);
	for (unsigned i = 0; i < LARGE; i++)
		*(uint64_t *)page_va(block + i) = i + 1;
}

static void run(enum model_mode mode, unsigned operations)
{
	struct driver *v =
		driver_open(&(struct model_config){ .mode = mode,
						    .iotlb = 512,
						    .split = below(2),
						    .whole = below(2) });
	struct domain *d = domain_create(&v->iommu);

	REQUIRE(d);
	model_set_ats(v->m, DEV2, MODEL_ATS_ON);
	REQUIRE(!domain_attach(d, DEV, 0));
	REQUIRE(!domain_attach(d, DEV2, ATTACH_ATS));
	for (unsigned i = 0; i < PAGES; i++)
		model[i].frame = 0;
	while (operations--) {
		one_operation(d);
		for (unsigned i = 0; i < 16; i++)
			look(v, i % 2 ? DEV : DEV2, below(PAGES));
		EXPECT_STR_NULL(pt_check(&d->pt));
	}
	for (unsigned i = 0; i < PAGES; i++)
		look(v, DEV, i);
	REQUIRE(!domain_detach(d, DEV));
	REQUIRE(!domain_detach(d, DEV2));
	domain_destroy(d);
	driver_close(v);
}

TEST(domain_random, matches_a_flat_model,
     "after any sequence of maps, unmaps, protects, splits and joins both "
     "devices reach exactly what the model says")
{
	rng = rng_seed(test_seed());
	fill_block();
	run(MODEL_IMMEDIATE, 300);
	run(MODEL_SHUFFLED, 300);
	page_put(block);
}
