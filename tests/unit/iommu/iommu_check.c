/* SPDX-License-Identifier: MIT */
/*
 * iommu_check.c - the checker of what devices reach finds each error
 */
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV   8
#define IOVA  UINT64_C(0x40000000)
#define IO(n) (IOVA + PAGE_SIZE * (n))
#define RW    (PROT_R | PROT_W)

static struct driver *v;
static struct domain *d;

static void open(void)
{
	v = driver_open(NULL);
	d = domain_create(&v->iommu);
	REQUIRE(d && !domain_attach(d, DEV, 0));
	EXPECT_STR_NULL(iommu_check(&v->iommu));
}

static void close(void)
{
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	REQUIRE(!domain_detach(d, DEV));
	domain_destroy(d);
	driver_close(v);
}

/* Map pa, run the checker, return its message. */
static const char *mapped(pa_t pa, uint64_t bytes, enum prot prot)
{
	static char said[200];
	const char *why;

	REQUIRE(!domain_map(d, IOVA, pa, bytes, prot));
	why = iommu_check(&v->iommu);
	if (why)
		snprintk(said, sizeof(said), "%s", why);
	REQUIRE(!domain_unmap(d, IOVA, IOVA + bytes));
	return why ? said : NULL;
}

static void expect_forbidden(pa_t pa, enum prot prot, const char *glob)
{
	const char *why = mapped(ALIGN_DOWN(pa, PAGE_SIZE), PAGE_SIZE, prot);

	if (!why || !glob_match(glob, why))
		test_fail(__FILE__, __LINE__, "`%s` instead of `%s`",
			  why ? why : "(none)", glob);
}

static pa_t of_image(const void *symbol)
{
	return (va_t)symbol - KERNEL_BASE;
}

TEST(iommu_check, forbidden_frames_are_seen,
     "the checker reports mappings of text, constants, data, stacks, pools, "
     "tables, free frames, kernel pages, the IOMMU's pages and interrupt "
     "controllers")
{
	struct page *kernel, *own = NULL;
	static struct pool pool;
	static int datum = 1;
	void *object;

	open();
	pool_init(&pool, "unit", 64);
	object = pool_alloc(&pool);
	kernel = page_alloc();
	REQUIRE(object && kernel);
	expect_forbidden(of_image(text_start), PROT_R, "*(reserved)*");
	expect_forbidden(of_image(rodata_start), PROT_R, "*(reserved)*");
	expect_forbidden(of_image(&datum), PROT_R, "*(reserved)*");
	expect_forbidden(of_image(dma_start) - 1, PROT_R, "*reaches*");
	expect_forbidden(of_image(dma_end), PROT_R, "*reaches*");
	expect_forbidden(virt_to_phys(object), PROT_R, "*(pool)*");
	expect_forbidden(page_pa(kernel), PROT_R, "*(kernel)*");
	expect_forbidden(pt_root_pa(&d->pt), PROT_R, "*(table)*");
	expect_forbidden(page_pa(v->iommu.table_pages + 511), PROT_R,
			 "*(iommu)*");
	expect_forbidden(page_pa(v->iommu.queue.pages), PROT_R, "*(iommu)*");
	expect_forbidden(page_pa(v->iommu.queue.done_page), PROT_R,
			 "*(iommu)*");
	expect_forbidden(page_pa(v->iommu.events.pages), PROT_R, "*(iommu)*");
	expect_forbidden(page_pa(v->iommu.requests.pages), PROT_R, "*(iommu)*");
	expect_forbidden(page_pa(v->iommu.empty), PROT_R, "*(iommu)*");
	expect_forbidden(page_pa(zero_page), PROT_W, "*shared and writable*");
	expect_forbidden(0xfed80000, PROT_R, "*IOMMU's*");
	expect_forbidden(0xfee00000, PROT_R, "*controller*");
	for (pfn_t pfn = frames_end; pfn-- && !own;)
		if (page_kind(&frames[pfn]) == PAGE_STACK)
			own = &frames[pfn];
	REQUIRE(own);
	expect_forbidden(page_pa(own), PROT_R, "*(stack)*");
	pool_free(&pool, object);
	page_put(kernel);
	close();
}

TEST(iommu_check, free_frame_is_seen,
     "the checker reports a page that was freed while a device may reach it")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	open();
	page_set_kind(page, PAGE_DMA);
	REQUIRE(!domain_map(d, IO(3), page_pa(page), PAGE_SIZE, RW));
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	page_put(page);
	EXPECT(glob_match("*device 8 reaches*(free)*40003000*",
			  iommu_check(&v->iommu)));
	REQUIRE(!domain_unmap(d, IO(3), IO(4)));
	close();
}

TEST(iommu_check, allowed_frames_pass,
     "the checker accepts DMA pages, DMA_MEMORY, what is no RAM, and "
     "read-only shared pages")
{
	open();
	EXPECT_STR_NULL(mapped(page_pa(driver_page(v, 1)), PAGE_SIZE, RW));
	EXPECT_STR_NULL(mapped(of_image(dma_start), PAGE_SIZE, RW));
	EXPECT_STR_NULL(mapped(of_image(dma_end) - PAGE_SIZE, PAGE_SIZE, RW));
	EXPECT_STR_NULL(mapped(page_pa(zero_page), PAGE_SIZE, PROT_R));
	EXPECT_STR_NULL(mapped(0xf0000000, pt_span(1), RW));
	close();
}

TEST(iommu_check, one_frame_of_a_large_leaf,
     "the checker reports 2 MiB of which one frame is forbidden")
{
	struct page *block = pages_alloc(9);

	REQUIRE(block);
	open();
	page_set_kind_block(block, PAGE_DMA);
	EXPECT_STR_NULL(mapped(page_pa(block), pt_span(1), RW));
	page_set_kind(block + 300, PAGE_KERNEL);
	EXPECT(glob_match("*4012c000*",
			  mapped(page_pa(block), pt_span(1), RW)));
	page_put(block);
	close();
}

/* Return the checker's message while word i of a device table entry is w. */
static bool entry_is_fine(uint16_t devid, unsigned i, uint64_t w)
{
	uint64_t *slot = &v->iommu.table[devid].w[i], was = *slot;
	bool fine;

	*slot = w;
	fine = !iommu_check(&v->iommu);
	*slot = was;
	return fine;
}

TEST(iommu_check, device_entries_are_seen,
     "the checker reports an entry that passes, has another tree or id, or a "
     "bit too many, at the first device, the last and a member")
{
	static const uint16_t devids[] = { 0, 0x1234, 0xffff, DEV };

	open();
	for (unsigned i = 0; i < ARRAY_SIZE(devids); i++) {
		struct dte is = iommu_get_dte(&v->iommu, devids[i]);

		EXPECT(entry_is_fine(devids[i], 0, is.w[0]));
		EXPECT(!entry_is_fine(devids[i], 0, 0));
		EXPECT(!entry_is_fine(devids[i], 0, is.w[0] ^ DTE0_TV));
		EXPECT(!entry_is_fine(devids[i], 0, is.w[0] ^ DTE0_IW));
		EXPECT(!entry_is_fine(devids[i], 0, is.w[0] + PAGE_SIZE));
		EXPECT(!entry_is_fine(devids[i], 1, is.w[1] + 1));
		EXPECT(!entry_is_fine(devids[i], 1, is.w[1] ^ DTE1_I));
		EXPECT(!entry_is_fine(devids[i], 2, is.w[2] ^ DTE2_IV));
		EXPECT(!entry_is_fine(
			devids[i], 2,
			is.w[2] ^ FIELD_PREP(DTE2_CONTROL, INT_FORWARD)));
		EXPECT(!entry_is_fine(devids[i], 3, BIT(63)));
	}
	close();
}

TEST(iommu_check, impossible_trees_are_seen,
     "the checker reports an entry that skips a level, and a table that is "
     "none")
{
	struct page *page;
	uint64_t *slot, was;
	unsigned level;

	open();
	page = driver_page(v, 0);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, RW));
	slot = pt_lookup(&d->pt, IOVA, 1, &level);
	was = *slot;
	EXPECT_EQ(level, 1);
	*slot = (was & ~AMDV1_NEXT_LEVEL) | FIELD_PREP(AMDV1_NEXT_LEVEL, 2);
	EXPECT(glob_match("*skips levels*", iommu_check(&v->iommu)));
	*slot = (was & ~PT_ADDRESS) | page_pa(page);
	EXPECT(glob_match("*is not a table page*", iommu_check(&v->iommu)));
	*slot = was & ~(AMDV1_IR | AMDV1_IW); /* without rights: harmless */
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	*slot = was;
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	close();
}
