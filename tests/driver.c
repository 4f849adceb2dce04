/* SPDX-License-Identifier: MIT */
/*
 * driver.c - the driver on a model, with a tap on the registers between them
 */
#include "tests/driver.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/ktap.h"

static struct driver driver;

static uint64_t tapped_read(void *ctx, unsigned reg)
{
	struct driver *v = ctx;

	if (v->between)
		v->between(v);
	return reg_read(&v->port, reg);
}

static void tapped_write(void *ctx, unsigned reg, uint64_t value)
{
	struct driver *v = ctx;

	if (v->between)
		v->between(v);
	reg_write(&v->port, reg, value);
}

static void interrupted(void *ctx, uint64_t status_bit)
{
	iommu_kick(ctx);
}

static void answered(void *ctx, uint16_t devid, uint16_t tag, unsigned status)
{
	struct iommu *iommu = ctx;
	struct driver *v = container_of(iommu, struct driver, iommu);

	v->answers[tag][status]++;
}

struct driver *driver_open_off(const struct model_config *config)
{
	struct model_config c = config ? *config : (struct model_config){ 0 };
	struct driver *v = &driver;

	memset(v, 0, sizeof(*v));
	c.name = "driver";
	c.seed = test_seed();
	c.interrupt = interrupted;
	c.answer = answered;
	c.ctx = &v->iommu;
	waitq_init(&v->iommu.wake); /* an interrupt may come before the start */
	v->m = model_create(&c);
	REQUIRE(v->m);
	v->port = model_port(v->m);
	return v;
}

int driver_start_as(struct driver *v, const struct iommu_config *config)
{
	struct iommu_port tapped = { "driver", tapped_read, tapped_write, v,
				     v->port.limit_ns };

	return iommu_start(&v->iommu, &tapped, config);
}

int driver_start(struct driver *v)
{
	static const struct iommu_config config = { 0 };

	return driver_start_as(v, &config);
}

struct driver *driver_open(const struct model_config *config)
{
	struct driver *v = driver_open_off(config);

	if (driver_start(v)) {
		driver_close_off(v);
		REQUIRE(!"the driver starts");
	}
	return v;
}

void driver_close_off(struct driver *v)
{
	if (!v->complaints_expected)
		EXPECT_STR_NULL(model_complaint(v->m));
	model_destroy(v->m);
	while (v->n_pages)
		page_put(v->pages[--v->n_pages]);
}

void driver_close(struct driver *v)
{
	static char words[160];

	iommu_settle(&v->iommu);
	if (!model_coherent(v->m, words, sizeof(words)))
		test_fail(__FILE__, __LINE__, "%s", words);
	iommu_stop(&v->iommu);
	driver_close_off(v);
}

struct page *driver_page(struct driver *v, uint64_t word)
{
	struct page *page = page_alloc();
	uint64_t *words;

	REQUIRE(page && v->n_pages < DRIVER_PAGES);
	page_set_kind(page, PAGE_DMA);
	v->pages[v->n_pages++] = page;
	words = page_va(page);
	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		words[i] = word;
	return page;
}

uint64_t driver_read(struct driver *v, uint16_t devid, iova_t iova)
{
	uint64_t word = 0;

	model_dma(v->m, devid, iova, &word, sizeof(word), false, NULL);
	return word;
}

bool driver_write(struct driver *v, uint16_t devid, iova_t iova, uint64_t w)
{
	return model_dma(v->m, devid, iova, &w, sizeof(w), true, NULL) ==
	       sizeof(w);
}

/* ---- what is printed --------------------------------------------------- */

char driver_printed[4096];
static size_t n_printed;

/* Context: the console's lock. */
static void collect(const char *text, size_t len)
{
	while (len-- && n_printed < sizeof(driver_printed) - 1)
		driver_printed[n_printed++] = *text++;
	driver_printed[n_printed] = 0;
}

void driver_hush(void)
{
	n_printed = 0;
	driver_printed[0] = 0;
	printk_set_sink(collect);
}

void driver_hush_hung(struct driver *v)
{
	v->port.limit_ns = v->iommu.port.limit_ns = HUNG_NS;
	driver_hush();
}

void driver_speak(void)
{
	driver.port.limit_ns = driver.iommu.port.limit_ns = 0;
	printk_set_sink(ktap_sink);
}
