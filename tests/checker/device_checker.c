/* SPDX-License-Identifier: MIT */
/*
 * device_checker.c - connects the checkers to probes, and checks freed frames
 */
#include "tests/checker/device_checker.h"
#include "arch/smp.h"
#include "drivers/lsi.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"
#include "tests/checker/cache_checker.h"
#include "tests/checker/order_checker.h"
#include "tests/timeline/explain.h"

static struct model *model; /* (I) while open                              */
static bool open;
static bool errors_allowed;
static _Atomic unsigned complaints;
static char text[200];
static _Atomic bool
	complete; /* the text is complete                          */

void checker_complain(const char *fmt, ...)
{
	va_list args;

	if (READ_ONCE(errors_allowed) || atomic_fetch_add(&complaints, 1))
		return;
	explain_broken();
	va_start(args, fmt);
	vsnprintk(text, sizeof(text), fmt, args);
	va_end(args);
	atomic_store(&complete, true);
}

void device_checkers_allow_errors(void)
{
	WRITE_ONCE(errors_allowed, true);
}

const char *checker_take_complaint(void)
{
	static char taken[sizeof(text)];

	if (!atomic_load(&complete))
		return NULL;
	memcpy(taken, text, sizeof(taken));
	atomic_store(&complete, false);
	atomic_store(&complaints, 0);
	return taken;
}

/* ---- a frame is freed -------------------------------------------------- */

static bool look_at(struct page *page)
{
	char why[120];

	if (cache_checker_names(page, why, sizeof(why)))
		checker_complain("frame %#lx (%s) is freed: %s", pfn_of(page),
				 page_kind_name(page_kind(page)), why);
	if (model && cache_checker_seen(page) &&
	    (model_names_frame(model, page_pa(page), why, sizeof(why)) ||
	     model_names_table(model, page_pa(page), why, sizeof(why))))
		checker_complain("frame %#lx (%s) is freed: %s", pfn_of(page),
				 page_kind_name(page_kind(page)), why);
	return cache_checker_clear_seen(page);
}

static bool freed(struct page *page)
{
	unsigned order = page_order(page);
	bool reached = false;

	order_checker_freed(page);
	for (unsigned i = 0; i < 1u << order; i++)
		reached |= look_at(page + i);
	/* No device writes to tables: checker O3 is enough for them. */
	if (!reached || order || page_kind(page) == PAGE_TABLE)
		return false;
	canary_take(page);
	return true;
}

/* ---- the real devices -------------------------------------------------- */

#define PROGRAM_WORDS (DMA_STAGE / 4)
#define IS_MOVE(w)    ((w) >> 29 == 6) /* 110: memory to memory             */
#define IS_ACCESS(w)  ((w) >> 29 == 7) /* 111: load or store                */
#define IS_END(w)     ((w) == 0x98080000)

static void use_program(struct lsi *lsi)
{
	const uint32_t *w = (const uint32_t *)lsi->engine.own.va;
	uint16_t devid = lsi->engine.devid;

	cache_checker_use(devid, lsi->engine.own.bus, PAGE_SIZE);
	for (unsigned i = 0; i + 2 < PROGRAM_WORDS && !IS_END(w[i]);
	     i += IS_MOVE(w[i]) ? 3 : 2) {
		uint32_t bytes = w[i] & 0xffffff;

		if (IS_MOVE(w[i])) {
			cache_checker_use(devid, w[i + 1], bytes);
			cache_checker_use(devid, w[i + 2], bytes);
		} else if (IS_ACCESS(w[i])) {
			cache_checker_use(devid, w[i + 1], bytes & 7);
		}
	}
}

/* A program starts or has ended: the engine's lock is held. */
static void ran(uint64_t devid, uint64_t bus, void *name)
{
	for (unsigned i = 0; lsi_at(i); i++)
		if (lsi_at(i)->engine.devid == devid &&
		    lsi_at(i)->engine.own.bus == bus)
			use_program(lsi_at(i));
}

void device_checkers_transfer(void *ctx, uint16_t devid, iova_t iova,
			      size_t len)
{
	cache_checker_use(devid, iova, len);
}

static void completed(uint64_t seq, uint64_t queue, void *name)
{
	cache_checker_complete((const struct command_queue *)queue, seq);
	order_checker_completed(seq);
}

/* ---- a test ------------------------------------------------------------ */

void device_checkers_open(struct iommu *iommu, struct model *of)
{
	if (!CONFIG_CHECK || !probe_on)
		return;
	atomic_store(&complaints, 0);
	atomic_store(&complete, false);
	errors_allowed = false;
	model = of;
	cache_checker_open(iommu);
	order_checker_open();
	probe_watch("iommu_complete", completed);
	if (!of) {
		probe_watch("lsi_start", ran);
		/* With one CPU nothing can change in between. */
		if (cpu_count() > 1)
			probe_watch("lsi_stopped", ran);
	}
	page_free_watch(freed);
	open = true;
}

void device_checkers_look(void)
{
	const char *why = open ? cache_checker_check() : NULL;

	if (why)
		checker_complain("%s", why);
}

void device_checkers_close(void)
{
	const char *why;

	if (!open)
		return;
	open = false;
	page_free_watch(NULL);
	canary_release();
	probe_watch("iommu_complete", NULL);
	probe_watch("lsi_start", NULL);
	probe_watch("lsi_stopped", NULL);
	order_checker_close();
	cache_checker_close();
	model = NULL;
	why = checker_take_complaint();
	if (why)
		test_fail("checker", 0, "%s", why);
}
