/* SPDX-License-Identifier: MIT */
/*
 * life.c - an address space begins and ends
 *
 *   mm_alloc()     mm_publish()        last mm_put()        last mm_drop()
 *  ----+----------------+--------------------+---------------------+----> time
 *      | cannot be found| mm_find(),         | torn down: no entry,| freed
 *      |                | mm_for_each()      | no region, no table |
 *
 * A teardown ends first what looks at the pages or translates to them: the users
 * of mm_hooks, then the notifiers, for which nothing may be freed before release()
 * has returned.  Then entries go, then regions, then tables: the order on which
 * a walk of the reverse map relies.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/frame/moving.h"
#include "mm/huge/scan.h"
#include "mm/kernel/kmap.h"
#include "mm/notifier/mmu_notifier.h"
#include "mm/core/device.h"
#include "mm/core/track.h"
#include "mm/space/fault.h"
#include "mm/reclaim/kswapd.h"
#include "mm/space/mm_priv.h"

static struct pool mm_pool;

void mm_init(void)
{
	pool_init(&mm_pool, "mm", sizeof(struct mm));
	mm_core_init();
	region_init();
	anon_vma_init();
	object_init();
	track_init();
	moving_init();
	device_memory_init();
	mmu_notifier_init();
	fault_init();
	huge_scan_init();
	kswapd_init();
}

struct mm *mm_alloc(void)
{
	static _Atomic unsigned next_id;
	struct mm *mm;

	require(locks_below(RANK_POOL));
	mm = pool_alloc(&mm_pool);
	if (!mm)
		return NULL;
	if (pt_init(&mm->pt, &pt_x86_user, PT_X86_LEVELS, 0, USER_END, NULL)) {
		pool_free(&mm_pool, mm);
		return NULL;
	}
	kmap_share(&mm->pt);
	rw_init(&mm->lock, RANK_MM, "mm");
	spin_init(&mm->pt_lock, RANK_PT, "pt");
	itree_init(&mm->regions);
	itree_init(&mm->ksm.chunks);
	atomic_init(&mm->users, 1);
	atomic_init(&mm->refs, 1);
	mm->id = 1 + atomic_fetch_add(&next_id, 1);
	return mm;
}

struct mm *mm_create(void)
{
	struct mm *mm;

	require(may_sleep() && locks_below(RANK_MM_LIST));
	mm = mm_alloc();
	if (mm)
		mm_publish(mm);
	return mm;
}

void mm_drop(struct mm *mm)
{
	require(locks_below(RANK_POOL));
	if (atomic_fetch_sub(&mm->refs, 1) > 1)
		return;
	mmu_notifier_subscriptions_destroy(mm);
	pool_free(&mm_pool, mm);
}

/* Put an unlinked table, which no MMU walks: a pt_release_fn. */
static void table_put(struct page *table, void *arg)
{
	page_put(table);
}

/* Remove everything from an mm without users. */
static void mm_teardown(struct mm *mm)
{
	struct region *r;
	struct track *t;

	require(may_sleep());
	assert((atomic_load(&mm->cpus) & MM_CPUS) == 0);
	mm_hooks_exit(mm);
	mmu_notifier_release(mm);
	rw_write_lock(&mm->lock);
	for_each_region (r, mm, USER_START, USER_END)
		zap_range(mm, r->start, r->end);
	while ((r = region_first(mm, USER_START, USER_END)))
		region_remove(r);
	while ((t = track_find(mm, USER_START, USER_END))) {
		track_remove(mm, t);
		track_free(t);
	}
	assert(mm->mapped == 0 && !mm->deposit);
	rw_write_unlock(&mm->lock);
	pt_destroy(&mm->pt, table_put, NULL);
}

void mm_abandon(struct mm *mm)
{
	uint32_t users = atomic_fetch_sub(&mm->users, 1);

	require(may_sleep() && locks_below(RANK_MM_LIST));
	assert(users == 1);
	mm_teardown(mm);
	mm_drop(mm);
}

void mm_put(struct mm *mm)
{
	require(may_sleep());
	if (atomic_fetch_sub(&mm->users, 1) > 1)
		return;
	mm_unpublish(mm);
	mm_teardown(mm);
	mm_drop(mm);
}
