/* SPDX-License-Identifier: MIT */
/*
 * oracle_device.c - who listens to which probe, and what a freed frame meets
 */
#include "tests/oracle_device.h"
#include "arch/smp.h"
#include "drivers/lsi.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/oracle_cache.h"
#include "tests/oracle_order.h"
#include "tests/test.h"

static struct model *model; /* (I) while open                              */
static bool open;
static bool forgiving;
static _Atomic unsigned complaints;
static char words[200];
static _Atomic bool said; /* words are whole                               */

void oracle_complain(const char *fmt, ...)
{
	va_list args;

	if (READ_ONCE(forgiving) || atomic_fetch_add(&complaints, 1))
		return;
	va_start(args, fmt);
	vsnprintk(words, sizeof(words), fmt, args);
	va_end(args);
	atomic_store(&said, true);
}

void oracles_forgive(void)
{
	WRITE_ONCE(forgiving, true);
}

const char *oracle_take_complaint(void)
{
	static char taken[sizeof(words)];

	if (!atomic_load(&said))
		return NULL;
	memcpy(taken, words, sizeof(taken));
	atomic_store(&said, false);
	atomic_store(&complaints, 0);
	return taken;
}

/* ---- a frame is freed -------------------------------------------------- */

static bool look_at(struct page *page)
{
	char why[120];

	if (oracle_cache_names(page, why, sizeof(why)))
		oracle_complain("frame %#lx (%s) is freed: %s", pfn_of(page),
				page_kind_name(page_kind(page)), why);
	if (model && oracle_cache_seen(page) &&
	    (model_names_frame(model, page_pa(page), why, sizeof(why)) ||
	     model_names_table(model, page_pa(page), why, sizeof(why))))
		oracle_complain("frame %#lx (%s) is freed: %s", pfn_of(page),
				page_kind_name(page_kind(page)), why);
	return oracle_cache_forget(page);
}

static bool freed(struct page *page)
{
	unsigned order = page_order(page);
	bool reached = false;

	oracle_order_freed();
	for (unsigned i = 0; i < 1u << order; i++)
		reached |= look_at(page + i);
	/* No device writes to tables: what O3 says of them is enough. */
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

	oracle_cache_use(devid, lsi->engine.own.bus, PAGE_SIZE);
	for (unsigned i = 0; i + 2 < PROGRAM_WORDS && !IS_END(w[i]);
	     i += IS_MOVE(w[i]) ? 3 : 2) {
		uint32_t bytes = w[i] & 0xffffff;

		if (IS_MOVE(w[i])) {
			oracle_cache_use(devid, w[i + 1], bytes);
			oracle_cache_use(devid, w[i + 2], bytes);
		} else if (IS_ACCESS(w[i])) {
			oracle_cache_use(devid, w[i + 1], bytes & 7);
		}
	}
}

/* A program begins or has ended: the engine's lock is held. */
static void ran(uint64_t devid, uint64_t bus, void *name)
{
	for (unsigned i = 0; lsi_at(i); i++)
		if (lsi_at(i)->engine.devid == devid &&
		    lsi_at(i)->engine.own.bus == bus)
			use_program(lsi_at(i));
}

void oracles_transfer(void *ctx, uint16_t devid, iova_t iova, size_t len)
{
	oracle_cache_use(devid, iova, len);
}

static void completed(uint64_t seq, uint64_t queue, void *name)
{
	oracle_cache_complete((const struct command_queue *)queue, seq);
	oracle_order_completed(seq);
}

/* ---- a test ------------------------------------------------------------ */

void oracles_open(struct iommu *iommu, struct model *of)
{
	if (!CONFIG_CHECK || !probe_on)
		return;
	atomic_store(&complaints, 0);
	atomic_store(&said, false);
	forgiving = false;
	model = of;
	oracle_cache_open(iommu);
	oracle_order_open();
	probe_watch("iommu_complete", completed);
	if (!of) {
		probe_watch("lsi_start", ran);
		/* One CPU alone cannot change anything in between. */
		if (cpu_count() > 1)
			probe_watch("lsi_stopped", ran);
	}
	page_free_watch(freed);
	open = true;
}

void oracles_look(void)
{
	const char *why = open ? oracle_cache_check() : NULL;

	if (why)
		oracle_complain("%s", why);
}

void oracles_close(void)
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
	oracle_order_close();
	oracle_cache_close();
	model = NULL;
	why = oracle_take_complaint();
	if (why)
		test_fail("oracle", 0, "%s", why);
}
