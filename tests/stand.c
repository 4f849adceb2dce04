/* SPDX-License-Identifier: MIT */
/*
 * stand.c - set up, transfers, take down
 */
#include "tests/stand_mm.h"
#include "arch/layout.h"
#include "drivers/lsi.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/pmm.h"
#include "tests/endpoint.h"
#include "tests/explain.h"
#include "tests/oracle_device.h"

#define MODEL_DELAY 2 /* steps a command waits                             */

/* One test at a time. */
static struct stand stand;
static struct iommu modelled;
static bool open;

/* ---- set up ------------------------------------------------------------ */

static void kick(void *ctx, uint64_t status_bit)
{
	iommu_kick(ctx);
}

static void answered(void *ctx, uint16_t devid, uint16_t tag, unsigned status)
{
	(void)ctx;
	pri_answered(devid, tag, status);
}

static void open_model(struct stand *s)
{
	static const struct iommu_config config = { .np_cache = true };
	struct iommu_port port;

	s->model = model_create(&(struct model_config){
		.name = "model",
		.negative = true,
		.mode = MODEL_SHUFFLED,
		.delay = MODEL_DELAY,
		.seed = test_seed(),
		.efr = MODEL_EFR | EFR_GT,
		.interrupt = kick,
		.answer = answered,
		.transfer = oracles_transfer,
		.ctx = &modelled,
	});
	REQUIRE(s->model);
	port = model_port(s->model);
	if (iommu_start(&modelled, &port, &config)) {
		model_destroy(s->model);
		s->model = NULL;
		REQUIRE(!"the driver starts on the model");
	}
	s->iommu = &modelled;
	s->devid[0] = PCI_DEVID(0, 0x10, 0);
	s->devid[1] = PCI_DEVID(0, 0x11, 0);
}

static void open_qemu(struct stand *s)
{
	s->iommu = iommu_machine();
	if (!s->iommu)
		SKIP("this machine has no IOMMU");
	for (unsigned i = 0; i < STAND_DEVICES; i++) {
		if (!lsi_at(i))
			SKIP("this machine does not have lsi0 and lsi1");
		s->devid[i] = lsi_at(i)->engine.devid;
	}
}

void stand_test(const char *kind, void (*fn)(struct stand *s))
{
	stand = (struct stand){ .kind = kind };
	open = true;
	if (kind[0] == 'm')
		open_model(&stand);
	else
		open_qemu(&stand);
	explain_model(stand.model);
	for (unsigned i = 0; i < STAND_DEVICES; i++)
		explain_name(EXPLAIN_DEVICE, stand.devid[i],
			     i ? "device 1" : "device 0");
	oracles_open(stand.iommu, stand.model);
	fn(&stand);
}

/* ---- take down --------------------------------------------------------- */

static void must(int error)
{
	if (error)
		panic("the IOMMU does not answer: %d", error);
}

static void close_model(struct stand *s)
{
	static char words[160];
	const char *complaint = model_complaint(s->model);

	if (complaint)
		test_fail("model", 0, "%s", complaint);
	if (!model_coherent(s->model, words, sizeof(words)))
		test_fail("model", 0, "%s", words);
	iommu_stop(&modelled);
	model_destroy(s->model);
}

/* Whoever is still bound goes, as a driver's remove would have it. */
static void close_ppr(struct stand *s)
{
	struct ppr_device *d;

	if (!s->serves)
		return;
	while ((d = TAILQ_FIRST(&s->ppr.devices)))
		ppr_unbind(&s->ppr, LIST_FIRST(&d->bindings));
	ppr_stop(&s->ppr);
	s->serves = false;
}

struct ppr *stand_ppr(struct stand *s)
{
	if (!s->serves)
		REQUIRE(!ppr_start(&s->ppr, s->iommu));
	s->serves = true;
	return &s->ppr;
}

void stand_release(void)
{
	struct stand *s = &stand;

	if (!open)
		return;
	open = false;
	endpoints_release();
	if (s->iommu)
		EXPECT_STR_NULL(iommu_check(s->iommu));
	oracles_look();
	stand_mm_release(s);
	close_ppr(s);
	pri_close();
	for (unsigned i = 0; i < STAND_DEVICES; i++)
		stand_detach(s, i);
	while (s->n_domains)
		domain_destroy(s->domains[--s->n_domains]);
	while (s->n_pages)
		page_put(s->pages[--s->n_pages]);
	oracles_close();
	if (s->model)
		close_model(s);
}

/* ---- domains and devices ----------------------------------------------- */

struct domain *stand_domain(struct stand *s)
{
	struct domain *d;

	REQUIRE(s->n_domains < STAND_DOMAINS);
	d = domain_create(s->iommu);
	REQUIRE(d);
	s->domains[s->n_domains++] = d;
	for (unsigned i = 0; i < STAND_DEVICES && !s->model; i++) {
		struct dma_own *own = &lsi_at(i)->engine.own;

		REQUIRE(!domain_map(d, own->bus, own->pa, own->len, IO_RW));
	}
	return d;
}

void stand_destroy(struct stand *s, struct domain *d)
{
	for (unsigned i = 0; i < s->n_domains; i++) {
		if (s->domains[i] != d)
			continue;
		s->domains[i] = s->domains[--s->n_domains];
		domain_destroy(d);
		return;
	}
	REQUIRE(!"a domain of this stand");
}

void stand_attach_as(struct stand *s, unsigned dev, struct domain *d,
		     unsigned flags)
{
	REQUIRE(!s->of[dev]);
	REQUIRE(!domain_attach(d, s->devid[dev], flags));
	s->of[dev] = d;
}

void stand_attach(struct stand *s, unsigned dev, struct domain *d)
{
	stand_attach_as(s, dev, d, 0);
}

void stand_detach(struct stand *s, unsigned dev)
{
	if (s->of[dev])
		must(domain_detach(s->of[dev], s->devid[dev]));
	s->of[dev] = NULL;
}

/* ---- pages ------------------------------------------------------------- */

void stand_fill(struct page *page, uint64_t tag)
{
	uint64_t *word = page_va(page);

	REQUIRE(tag != BLOCKED);
	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		WRITE_ONCE(word[i], tag);
}

uint64_t stand_word(const struct page *page)
{
	return READ_ONCE(*(const uint64_t *)page_va(page));
}

static struct page *keep(struct stand *s, struct page *page)
{
	REQUIRE(page);
	REQUIRE(s->n_pages < STAND_PAGES);
	s->pages[s->n_pages++] = page;
	return page;
}

struct page *stand_page(struct stand *s, uint64_t tag)
{
	struct page *page = keep(s, page_alloc());

	page_set_kind(page, PAGE_DMA);
	stand_fill(page, tag);
	return page;
}

struct page *stand_large(struct stand *s, uint64_t tag)
{
	struct page *block = keep(s, pages_alloc(9));

	page_set_kind_block(block, PAGE_DMA);
	for (unsigned i = 0; i < 512; i++)
		stand_fill(block + i, tag + i);
	return block;
}

void stand_free(struct stand *s, struct page *page)
{
	for (unsigned i = s->n_pages; i-- > 0;) {
		if (s->pages[i] != page)
			continue;
		s->pages[i] = s->pages[--s->n_pages];
		page_put(page);
		return;
	}
	REQUIRE(!"a page of this stand");
}

/* ---- transfers --------------------------------------------------------- */

/* Which device, and where: of a probe (explain.c). */
static uint64_t at_device(const struct stand *s, unsigned dev, iova_t iova)
{
	return (uint64_t)s->devid[dev] << 48 | iova;
}

uint64_t stand_read(struct stand *s, unsigned dev, iova_t iova)
{
	uint64_t word = BLOCKED;

	if (s->model)
		model_dma(s->model, s->devid[dev], iova, &word, sizeof(word),
			  false, NULL);
	else if (dma_read(&lsi_at(dev)->engine, iova, &word, sizeof(word)))
		word = BLOCKED; /* it could not even fetch its program */
	PROBE(device_read, at_device(s, dev, iova), word);
	return word;
}

void stand_write(struct stand *s, unsigned dev, iova_t iova, uint64_t v)
{
	int ignored = 0;

	if (s->model)
		model_dma(s->model, s->devid[dev], iova, &v, sizeof(v), true,
			  NULL);
	else
		ignored = dma_write(&lsi_at(dev)->engine, iova, &v, sizeof(v));
	(void)ignored; /* what arrived is seen in the page */
	PROBE(device_write, at_device(s, dev, iova), v);
}

uint64_t *stand_slot(struct domain *d, iova_t iova)
{
	uint64_t *slot = pt_slot(&d->pt, iova, 0, true);

	REQUIRE(slot);
	return slot;
}

void stand_run_commands(struct stand *s, const struct command *c, unsigned n)
{
	REQUIRE(!queue_run(&s->iommu->queue, c, n));
}

bool stand_names(struct stand *s, const struct page *page)
{
	return s->model && model_names_frame(s->model, page_pa(page), NULL, 0);
}
