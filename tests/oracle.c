/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - leaks, locks, tables, reverse map and W^X, after every test
 */
#include "tests/oracle.h"
#include "iommu/iommu.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/thread.h"
#include "mm/check.h"
#include "mm/kmap.h"
#include "mm/ksm.h"
#include "mm/mmu_notifier.h"
#include "mm/pmm.h"
#include "mm/pool.h"

static uint64_t frames_now(void)
{
	pool_trim_all();
	pmm_drain();
	return pmm_free_pages() + kstack_cached_pages();
}

void oracle_begin(struct oracle *o)
{
	o->threads = thread_count();
	o->objects = pool_live_all();
	o->frames = frames_now();
}

static const char *check_all(const struct oracle *o)
{
	static char words[200];
	uint64_t objects = pool_live_all(), frames = frames_now(), bad;
	const char *why;
	pfn_t pfn = 0;

	if (thread_count() != o->threads) {
		snprintk(words, sizeof(words), "threads: %u before, %u after",
			 o->threads, thread_count());
		return words;
	}
	if (objects != o->objects || frames != o->frames) {
		snprintk(words, sizeof(words), "leak: %ld frames, %ld objects",
			 (int64_t)(o->frames - frames),
			 (int64_t)(objects - o->objects));
		return words;
	}
	why = mmu_notifier_check();
	if (!why)
		why = iommu_machine() ? iommu_check(iommu_machine()) : NULL;
	if (!why)
		why = mm_check();
	if (!why)
		why = ksm_check();
	if (!why)
		why = pmm_check();
	if (!why)
		why = wx_check();
	if (why)
		return why;
	bad = CONFIG_CHECK ? pmm_check_poison(false, &pfn) : 0;
	if (!bad)
		return NULL;
	snprintk(words, sizeof(words),
		 "%lu free frames were written to, the first is %lx", bad, pfn);
	return words;
}

const char *oracle_check(const struct oracle *o)
{
	const char *why;
	bool probing = probe_on;

	/* What the oracles do is not what led to a failure. */
	probe_on = false;
	mmu_notifier_synchronize(); /* what was put is free */
	why = check_all(o);
	probe_on = probing;
	return why;
}
