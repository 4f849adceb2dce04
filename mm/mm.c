/* SPDX-License-Identifier: MIT */
/*
 * mm.c - address spaces come, are loaded, and go
 *
 * mm->cpus is exact: a CPU sets its bit before it loads the table and clears it
 * after it has loaded another.  The scheduler loads the kernel's own table for
 * threads without an mm, so that a bit never lingers and the teardown of an
 * address space finds nobody inside.
 */
#include "mm/mm.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/fault.h"
#include "mm/kmap.h"
#include "mm/ksm.h"
#include "mm/mm_priv.h"
#include "mm/mmu_notifier.h"

static struct rwsem mm_list_lock;
static LIST_HEAD(, mm) mm_list = LIST_HEAD_INITIALIZER(mm_list);
static struct pool mm_pool;
static struct mm *loaded[MAX_CPUS]; /* by each CPU for itself */

/* The scheduler's hook: next becomes this CPU's address space. */
static void mm_load(struct mm *next)
{
	unsigned cpu = cpu_id();
	struct mm *prev = loaded[cpu];

	if (prev == next)
		return;
	/*
	 * First the bit, then the table: whoever changes an entry looks at
	 * cpus after the change (tlb_flush_range()), so either he sees our
	 * bit, or we walk the changed entry.
	 */
	if (next)
		atomic_fetch_or(&next->cpus, BIT(cpu));
	write_cr3(next ? pt_root_pa(&next->pt) : kmap_root());
	if (prev)
		atomic_fetch_and(&prev->cpus, ~BIT(cpu));
	loaded[cpu] = next;
}

void mm_init(void)
{
	pool_init(&mm_pool, "mm", sizeof(struct mm));
	rw_init(&mm_list_lock, RANK_MM_LIST, "mm list");
	region_init();
	anon_vma_init();
	object_init();
	mmu_notifier_init();
	ksm_init();
	thread_set_mm_switch(mm_load);
	fault_init();
}

struct mm *mm_create(void)
{
	static _Atomic unsigned next_id;
	struct mm *mm = pool_alloc(&mm_pool);

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
	rw_write_lock(&mm_list_lock);
	LIST_INSERT_HEAD(&mm_list, mm, link);
	rw_write_unlock(&mm_list_lock);
	return mm;
}

void mm_get(struct mm *mm)
{
	uint32_t old = atomic_fetch_add(&mm->users, 1);

	assert(old > 0);
}

/* A last user that has just left waits for the list before it tears down. */
bool mm_try_get(struct mm *mm)
{
	uint32_t users = atomic_load(&mm->users);

	while (users)
		if (atomic_compare_exchange_weak(&mm->users, &users, users + 1))
			return true;
	return false;
}

struct mm *mm_find(unsigned id)
{
	struct mm *mm;

	rw_read_lock(&mm_list_lock);
	LIST_FOREACH (mm, &mm_list, link)
		if (mm->id == id)
			break;
	if (mm && !mm_try_get(mm))
		mm = NULL;
	rw_read_unlock(&mm_list_lock);
	return mm;
}

void mm_grab(struct mm *mm)
{
	uint32_t old = atomic_fetch_add(&mm->refs, 1);

	assert(old > 0);
}

void mm_drop(struct mm *mm)
{
	if (atomic_fetch_sub(&mm->refs, 1) > 1)
		return;
	mmu_notifier_subscriptions_destroy(mm);
	pool_free(&mm_pool, mm);
}

static void table_put(struct page *table, void *arg)
{
	page_put(table);
}

/* Who looks at its pages; listeners, for whom nothing may be freed before they let go; then entries,
 * then regions, then tables: the order that rmap walks rely on. */
static void mm_teardown(struct mm *mm)
{
	struct region *r;

	assert((atomic_load(&mm->cpus) & ~MM_NOTIFIED) == 0);
	ksm_exit(mm);
	mmu_notifier_release(mm);
	rw_write_lock(&mm->lock);
	for_each_region (r, mm, USER_START, USER_END)
		zap_range(mm, r->start, r->end);
	while ((r = region_first(mm, USER_START, USER_END)))
		region_remove(r);
	assert(mm->mapped == 0);
	rw_write_unlock(&mm->lock);
	pt_destroy(&mm->pt, table_put, NULL);
}

void mm_put(struct mm *mm)
{
	if (atomic_fetch_sub(&mm->users, 1) > 1)
		return;
	rw_write_lock(&mm_list_lock);
	LIST_REMOVE(mm, link);
	rw_write_unlock(&mm_list_lock);
	mm_teardown(mm);
	mm_drop(mm);
}

void mm_bind(struct mm *mm)
{
	thread_bind_mm(mm);
}

void mm_for_each(void (*fn)(struct mm *mm, void *arg), void *arg)
{
	struct mm *mm;

	rw_read_lock(&mm_list_lock);
	LIST_FOREACH (mm, &mm_list, link)
		fn(mm, arg);
	rw_read_unlock(&mm_list_lock);
}
