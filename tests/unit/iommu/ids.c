/* SPDX-License-Identifier: MIT */
/*
 * ids.c - attach follows what firmware says of device numbers
 *
 * Coverage, TLBs, memory of firmware (iommu/core/ids.h), and two IOMMUs that
 * share the numbers between them.  No QEMU has such tables, so the model is
 * used; tools/firmware boots QEMU with some.
 */
#include "arch/bits.h"
#include "iommu/sva/mirror.h"
#include "iommu/sva/sva.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV   8
#define OTHER 0x4008
#define IOVA  UINT64_C(0x40000000)
#define RW    (PROT_R | PROT_W)

static struct iommu_ids numbers;

static void cover(uint16_t devid, bool tlb)
{
	numbers.covers[devid / 64] |= BIT(devid % 64);
	if (!tlb)
		numbers.no_tlb[devid / 64] |= BIT(devid % 64);
}

static struct driver *open_with(const struct iommu_config *config)
{
	struct driver *v = driver_open_off(
		&(struct model_config){ .mode = MODEL_SHUFFLED, .delay = 1 });

	REQUIRE(!driver_start_as(v, config));
	return v;
}

static struct domain *domain_with(struct iommu *iommu, struct page *page)
{
	struct domain *d = domain_create(iommu);

	REQUIRE(d && !domain_map(d, IOVA, page_pa(page), PAGE_SIZE, RW));
	return d;
}

TEST(ids, only_what_is_covered_is_attached,
     "a device that no range of the table covers is refused and stays denied; "
     "a covered one is attached with its alias")
{
	static const struct iommu_alias alias = { DEV + 1, DEV + 1, OTHER };
	struct driver *v;
	struct page *page;
	struct domain *d;

	memset(&numbers, 0, sizeof(numbers));
	cover(DEV, true);
	cover(DEV + 1, true);
	v = open_with(&(struct iommu_config){
		.ids = &numbers, .aliases = &alias, .n_aliases = 1 });
	page = driver_page(v, 'A');
	d = domain_with(&v->iommu, page);
	EXPECT(iommu_covers(&v->iommu, DEV) && !iommu_covers(&v->iommu, 9999));
	EXPECT_EQ(domain_attach(d, OTHER, 0), -ENODEV);
	EXPECT_EQ(driver_read(v, OTHER, IOVA), 0);
	EXPECT_EQ(domain_attach(d, DEV, 0), 0);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	EXPECT_EQ(domain_attach(d, DEV + 1, 0), 0);
	EXPECT_EQ(driver_read(v, DEV + 1, IOVA), 'A');
	EXPECT_EQ(driver_read(v, OTHER, IOVA), 'A');
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	EXPECT(!domain_detach(d, DEV) && !domain_detach(d, DEV + 1));
	EXPECT_EQ(driver_read(v, OTHER, IOVA), 0);
	domain_destroy(d);
	driver_close(v);
}

TEST(ids, no_tlb_where_firmware_forbids_it,
     "a device that must not have a TLB is refused with ATTACH_ATS and "
     "attached without")
{
	struct driver *v;
	struct domain *d;

	memset(&numbers, 0, sizeof(numbers));
	cover(DEV, false);
	cover(DEV + 1, true);
	v = open_with(&(struct iommu_config){ .ids = &numbers });
	d = domain_with(&v->iommu, driver_page(v, 'A'));
	model_set_ats(v->m, DEV + 1, MODEL_ATS_ON);
	EXPECT_EQ(domain_attach(d, DEV, ATTACH_ATS), -EPERM);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	EXPECT_EQ(domain_attach(d, DEV, 0), 0);
	EXPECT(!(iommu_get_dte(&v->iommu, DEV).w[1] & DTE1_I));
	EXPECT_EQ(domain_attach(d, DEV + 1, ATTACH_ATS), 0);
	EXPECT(iommu_get_dte(&v->iommu, DEV + 1).w[1] & DTE1_I);
	EXPECT(!domain_detach(d, DEV) && !domain_detach(d, DEV + 1));
	domain_destroy(d);
	driver_close(v);
}

TEST(ids, control_as_firmware_wants,
     "the bits for an IOMMU's use of its bus are in CONTROL before it is "
     "enabled, and no others")
{
	for (uint64_t bit = 1; bit <= CONTROL_FIRMWARE; bit <<= 1) {
		struct driver *plain = driver_open(NULL), *v;
		uint64_t control = reg_read(&plain->port, REG_CONTROL);

		driver_close(plain);
		if (!(bit & CONTROL_FIRMWARE))
			continue;
		v = open_with(&(struct iommu_config){ .control = bit });
		EXPECT_EQ(reg_read(&v->port, REG_CONTROL), control | bit);
		driver_close(v);
	}
}

/* ---- two IOMMUs -------------------------------------------------------- */

struct half {
	struct model *m;
	struct iommu iommu;
	struct iommu_ids ids;
	struct domain *d;
};

static uint64_t half_read(struct half *h, uint16_t devid)
{
	uint64_t word = 0;

	model_dma(h->m, devid, IOVA, &word, sizeof(word), false, NULL);
	return word;
}

static void half_kick(void *ctx, uint64_t status_bit)
{
	iommu_kick(ctx);
}

static void half_open(struct half *h, unsigned first, struct page *page)
{
	struct iommu_port port;

	memset(h, 0, sizeof(*h));
	for (unsigned i = first; i < first + DEVIDS / 2; i++)
		h->ids.covers[i / 64] |= BIT(i % 64);
	h->m = model_create(&(struct model_config){
		.name = "half", .interrupt = half_kick, .ctx = &h->iommu });
	REQUIRE(h->m);
	port = model_port(h->m);
	REQUIRE(!iommu_start(&h->iommu, &port,
			     &(struct iommu_config){ .ids = &h->ids }));
	h->d = domain_with(&h->iommu, page);
}

static void half_close(struct half *h)
{
	EXPECT_STR_NULL(iommu_check(&h->iommu));
	EXPECT_STR_NULL(model_complaint(h->m));
	domain_destroy(h->d);
	iommu_stop(&h->iommu);
	model_destroy(h->m);
}

TEST(ids, two_iommus_share_the_numbers,
     "each of two IOMMUs attaches the devices of its own half only; unmap and "
     "detach behind one do not affect the other")
{
	static struct half low, high;
	struct page *page = page_alloc_zeroed();

	REQUIRE(page);
	page_set_kind(page, PAGE_DMA);
	*(uint64_t *)page_va(page) = 'A';
	half_open(&low, 0, page);
	half_open(&high, DEVIDS / 2, page);
	EXPECT_EQ(domain_attach(low.d, 0x9000, 0), -ENODEV);
	EXPECT_EQ(domain_attach(high.d, DEV, 0), -ENODEV);
	EXPECT_EQ(domain_attach(low.d, DEV, 0), 0);
	EXPECT_EQ(domain_attach(high.d, 0x9000, 0), 0);
	EXPECT_EQ(half_read(&low, DEV), 'A');
	EXPECT_EQ(half_read(&high, 0x9000), 'A');
	EXPECT_EQ(half_read(&low, 0x9000), 0);
	EXPECT_EQ(half_read(&high, DEV), 0);
	EXPECT_EQ(domain_unmap(low.d, IOVA, IOVA + PAGE_SIZE), 0);
	EXPECT_EQ(half_read(&low, DEV), 0);
	EXPECT_EQ(half_read(&high, 0x9000), 'A');
	EXPECT_EQ(domain_detach(high.d, 0x9000), 0);
	EXPECT_EQ(half_read(&high, 0x9000), 0);
	EXPECT_EQ(domain_detach(low.d, DEV), 0);
	half_close(&low);
	half_close(&high);
	page_put(page);
}

/* ---- memory of firmware ------------------------------------------------ */

/* A page that firmware requires DEV to read, and DEV + 1 to read and write, and one more
 * that it requires DEV to read. */
struct wanted {
	struct driver *v;
	struct page *page;
	struct domain *d;
	pa_t pa, second;
};

/* The page is at pa, or a new one if that is 0. */
static struct wanted open_wanted_at(pa_t pa)
{
	static struct iommu_unity unity[3];
	struct wanted w = { .v = open_with(&(struct iommu_config){
				    .unity = unity, .n_unity = 3 }) };

	w.page = driver_page(w.v, 'F');
	w.pa = pa ? pa : page_pa(w.page);
	for (uint16_t i = 0; i < 2; i++)
		unity[i] = (struct iommu_unity){ .first = DEV + i,
						 .last = DEV + i,
						 .start = w.pa,
						 .end = w.pa + PAGE_SIZE,
						 .read = true,
						 .write = i };
	w.second = page_pa(driver_page(w.v, 'S'));
	unity[2] = (struct iommu_unity){ .first = DEV,
					 .last = DEV,
					 .start = w.second,
					 .end = w.second + PAGE_SIZE,
					 .read = true };
	w.d = domain_with(&w.v->iommu, driver_page(w.v, 'A'));
	return w;
}

static struct wanted open_wanted(void)
{
	return open_wanted_at(0);
}

static void close_wanted(struct wanted *w)
{
	EXPECT_STR_NULL(iommu_check(&w->v->iommu));
	domain_destroy(w->d);
	driver_close(w->v);
}

TEST(ids, memory_of_firmware_is_reached,
     "while a device is attached it reaches the memory that firmware "
     "requires, at its own address and with its rights, and nothing else can "
     "be mapped there")
{
	struct wanted w = open_wanted();

	EXPECT_EQ(driver_read(w.v, DEV, w.pa), 0);
	EXPECT_EQ(domain_attach(w.d, DEV, 0), 0);
	EXPECT_EQ(driver_read(w.v, DEV, w.pa), 'F');
	EXPECT_EQ(driver_read(w.v, DEV, w.second), 'S');
	EXPECT(!driver_write(w.v, DEV, w.pa, 'X'));
	EXPECT_EQ(driver_read(w.v, DEV, IOVA), 'A');
	EXPECT_EQ(domain_map(w.d, w.pa, w.pa, PAGE_SIZE, RW), -EEXIST);
	EXPECT_EQ(domain_detach(w.d, DEV), 0);
	EXPECT_EQ(driver_read(w.v, DEV, w.pa), 0);
	EXPECT_EQ(driver_read(w.v, DEV, w.second), 0);
	EXPECT(!domain_lookup(w.d, w.pa, &w.pa, &(enum prot){ 0 }));
	/* A device without such memory reaches none of it. */
	EXPECT_EQ(domain_attach(w.d, DEV + 2, 0), 0);
	EXPECT_EQ(driver_read(w.v, DEV + 2, w.pa), 0);
	EXPECT_EQ(domain_detach(w.d, DEV + 2), 0);
	close_wanted(&w);
}

/* Attach DEV, whose firmware requires this page, and run the checker. */
static void expect_reported(pa_t pa, const char *glob)
{
	struct wanted w = open_wanted_at(pa);
	const char *why;

	EXPECT_EQ(domain_attach(w.d, DEV, 0), 0);
	why = iommu_check(&w.v->iommu);
	if (!why || !glob_match(glob, why))
		test_fail(__FILE__, __LINE__, "`%s` instead of `%s`",
			  why ? why : "(none)", glob);
	EXPECT_EQ(domain_detach(w.d, DEV), 0);
	close_wanted(&w);
}

TEST(ids, memory_of_firmware_is_not_the_kernels,
     "the checker reports a frame of the kernel and an interrupt controller "
     "also where firmware requires them")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	expect_reported(page_pa(page), "*(kernel)*");
	expect_reported(0xfee00000, "*controller*");
	page_put(page);
}

TEST(ids, memory_beside_that_of_firmware_is_reported,
     "the checker reports reserved memory that a device reaches and firmware "
     "does not require, and none that it does")
{
	const pa_t bios = 0xf0000, beside = bios + PAGE_SIZE;
	struct wanted w = open_wanted_at(bios);
	const char *why;

	EXPECT_EQ(domain_attach(w.d, DEV, 0), 0);
	EXPECT_STR_NULL(iommu_check(&w.v->iommu));
	EXPECT_EQ(domain_map(w.d, beside, beside, PAGE_SIZE, PROT_R), 0);
	why = iommu_check(&w.v->iommu);
	EXPECT(why && glob_match("*reaches f1000*", why));
	EXPECT_EQ(domain_unmap(w.d, beside, beside + PAGE_SIZE), 0);
	EXPECT_EQ(domain_detach(w.d, DEV), 0);
	close_wanted(&w);
}

TEST(ids, memory_of_firmware_stays_for_others,
     "memory of firmware that two members share stays until the last of them "
     "is detached; a member that needs more rights is busy")
{
	struct wanted w = open_wanted();

	EXPECT_EQ(domain_attach(w.d, DEV + 1, 0), 0);
	EXPECT_EQ(domain_attach(w.d, DEV, 0), 0);
	EXPECT_EQ(domain_detach(w.d, DEV + 1), 0);
	EXPECT_EQ(driver_read(w.v, DEV + 1, w.pa), 0);
	EXPECT_EQ(driver_read(w.v, DEV, w.pa), 'F');
	EXPECT_EQ(domain_detach(w.d, DEV), 0);
	EXPECT_EQ(domain_attach(w.d, DEV, 0), 0);
	EXPECT_EQ(domain_attach(w.d, DEV + 1, 0), -EBUSY);
	EXPECT_EQ(driver_read(w.v, DEV + 1, IOVA), 0);
	EXPECT_EQ(driver_read(w.v, DEV, w.pa), 'F');
	EXPECT_EQ(domain_detach(w.d, DEV), 0);
	close_wanted(&w);
}

TEST(ids, memory_of_firmware_finds_its_place,
     "a device is refused if another mapping is at the address of its "
     "firmware memory, and always in a process's address space")
{
	struct wanted w = open_wanted();
	struct page *other = driver_page(w.v, 'O');
	struct mm *mm = mm_create();
	struct mirror mirror;
	struct sva sva;

	REQUIRE(mm);
	EXPECT_EQ(sva_bind(&sva, &w.v->iommu, NULL, DEV, 0, mm), -EINVAL);
	EXPECT_EQ(mirror_bind(&mirror, &w.v->iommu, NULL, DEV, 0, mm), -EINVAL);
	EXPECT_EQ(domain_map(w.d, w.pa, page_pa(other), PAGE_SIZE, RW), 0);
	EXPECT_EQ(domain_attach(w.d, DEV, 0), -EBUSY);
	EXPECT_EQ(driver_read(w.v, DEV, IOVA), 0);
	EXPECT_EQ(domain_map(w.d, w.pa, w.pa, PAGE_SIZE, RW), -EEXIST);
	EXPECT_EQ(domain_unmap(w.d, w.pa, w.pa + PAGE_SIZE), 0);
	EXPECT_EQ(domain_attach(w.d, DEV, 0), 0);
	EXPECT_EQ(domain_detach(w.d, DEV), 0);
	close_wanted(&w);
	mm_put(mm);
}
