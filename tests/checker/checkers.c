/* SPDX-License-Identifier: MIT */
/*
 * checkers.c - leaks, locks, tables and reverse map after every test; W^X, the device
 * table, poison and all frames after every suite
 */
#include "tests/checker/checkers.h"
#include "arch/trap.h"
#include "iommu/core/iommu.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/san/san.h"
#include "kernel/thread.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/kernel/kmap.h"
#include "mm/ksm/ksm.h"
#include "mm/notifier/mmu_notifier.h"
#include "mm/rmap/huge_zero.h"

static uint64_t frames_now(void)
{
	pool_trim_all();
	huge_zero_forget();
	pmm_drain();
	return pmm_free_pages() + kstack_cached_pages();
}

void checkers_begin(struct checkers *o)
{
	o->threads = thread_count();
	o->objects = pool_live_all();
	o->frames = frames_now();
}

/* A test that causes stray interrupts takes their count; others have none. */
static const char *check_strays(void)
{
	static char text[80];
	const char *why = NULL;

	for (unsigned v = 0; v < TRAP_VECTORS; v++) {
		uint64_t n = trap_stray_take(v);

		if (!n)
			continue;
		snprintk(text, sizeof(text),
			 "%lu interrupts of vector %#x, which has no handler",
			 n, v);
		why = text;
	}
	return why;
}

static const char *check_all(const struct checkers *o)
{
	static char text[200];
	uint64_t objects = pool_live_all(), frames = frames_now();
	const char *why;

	why = san_take();
	if (!why)
		why = check_strays();
	if (why)
		return why;
	if (thread_count() != o->threads) {
		snprintk(text, sizeof(text), "threads: %u before, %u after",
			 o->threads, thread_count());
		return text;
	}
	if (objects != o->objects || frames != o->frames) {
		snprintk(text, sizeof(text), "leak: %ld frames, %ld objects",
			 (int64_t)(o->frames - frames),
			 (int64_t)(objects - o->objects));
		return text;
	}
	why = mmu_notifier_check();
	if (!why)
		why = mm_check();
	return why ? why : ksm_check();
}

const char *checkers_run(const struct checkers *o)
{
	const char *why;
	bool probing = probe_on;

	/* The checkers' own probes are not part of the failure. */
	probe_on = false;
	mmu_notifier_synchronize(); /* what was put becomes free */
	why = check_all(o);
	probe_on = probing;
	return why;
}

/* Look at the frames that were freed since the last sweep. */
static const char *check_poison(void)
{
	static char text[80];
	pfn_t pfn = 0;
	uint64_t bad = CONFIG_CHECK ? pmm_check_poison(false, &pfn) : 0;

	if (!bad)
		return NULL;
	snprintk(text, sizeof(text),
		 "%lu free frames were written to, the first is %lx", bad, pfn);
	return text;
}

const char *checkers_sweep(void)
{
	const char *why = NULL;
	bool probing = probe_on;

	probe_on = false;
	if (iommu_machine())
		why = iommu_check(iommu_machine());
	if (!why)
		why = pmm_check();
	if (!why)
		why = wx_check();
	if (!why)
		why = check_poison();
	probe_on = probing;
	return why;
}
