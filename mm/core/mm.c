/* SPDX-License-Identifier: MIT */
/*
 * mm.c - the list of address spaces, their users, and the one a CPU has loaded
 *
 * mm->cpus is exact: a CPU sets its bit before it loads the table and clears it
 * after it has loaded another.  The scheduler loads the kernel's own table for
 * threads without an mm, so that a bit is never stale and no CPU has an address
 * space loaded that is torn down.
 */
#include "mm/core/mm.h"
#include "arch/cpu.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/kernel/kmap.h"

static struct rwsem mm_list_lock;
static LIST_HEAD(, mm) mm_list = LIST_HEAD_INITIALIZER(mm_list);
static struct mm *loaded[MAX_CPUS]; /* each written by its own CPU */
static struct mm_hooks *hooks;      /* complete before the first mm */

/* Load the table of next, or the kernel's own: the scheduler's hook. */
static void mm_load(struct mm *next)
{
	unsigned cpu = cpu_id();
	struct mm *prev = loaded[cpu];

	require(cpu_preempt_count() || !irqs_enabled());
	if (prev == next)
		return;
	/*
	 * First the bit, then the table: tlb_flush_range() reads cpus after the
	 * entry was changed.  So either it sees our bit, or we walk the changed
	 * entry.
	 */
	if (next)
		atomic_fetch_or(&next->cpus, BIT(cpu));
	write_cr3(next ? pt_root_pa(&next->pt) : kmap_root());
	if (prev)
		atomic_fetch_and(&prev->cpus, ~BIT(cpu));
	loaded[cpu] = next;
}

void mm_core_init(void)
{
	rw_init(&mm_list_lock, RANK_MM_LIST, "mm list");
	thread_set_mm_switch(mm_load);
}

void mm_hooks_add(struct mm_hooks *added)
{
	added->next = hooks;
	hooks = added;
}

void mm_hooks_fork(struct mm *parent, struct mm *child)
{
	require(rw_held_write(&parent->lock));
	for (struct mm_hooks *h = hooks; h; h = h->next)
		h->fork(parent, child);
}

void mm_hooks_exit(struct mm *mm)
{
	require(may_sleep());
	for (struct mm_hooks *h = hooks; h; h = h->next)
		h->exit(mm);
}

void mm_publish(struct mm *mm)
{
	require(may_sleep() && locks_below(RANK_MM_LIST));
	rw_write_lock(&mm_list_lock);
	LIST_INSERT_HEAD(&mm_list, mm, link);
	rw_write_unlock(&mm_list_lock);
}

void mm_unpublish(struct mm *mm)
{
	require(may_sleep() && locks_below(RANK_MM_LIST));
	rw_write_lock(&mm_list_lock);
	LIST_REMOVE(mm, link);
	rw_write_unlock(&mm_list_lock);
}

void mm_get(struct mm *mm)
{
	uint32_t old = atomic_fetch_add(&mm->users, 1);

	assert(old > 0);
}

/* For an mm on the list this is safe without a reference: mm_put() takes it off
 * the list before it tears it down. */
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

	require(may_sleep() && locks_below(RANK_MM_LIST));
	rw_read_lock(&mm_list_lock);
	LIST_FOREACH (mm, &mm_list, link)
		if (mm->id == id)
			break;
	if (mm && !mm_try_get(mm))
		mm = NULL;
	rw_read_unlock(&mm_list_lock);
	return mm;
}

struct mm *mm_next(unsigned after)
{
	struct mm *mm, *next;

	require(may_sleep() && locks_below(RANK_MM_LIST));
	do {
		next = NULL;
		rw_read_lock(&mm_list_lock);
		LIST_FOREACH (mm, &mm_list, link)
			if (mm->id > after && (!next || mm->id < next->id))
				next = mm;
		after = next ? next->id : after;
		mm = next && mm_try_get(next) ? next : NULL;
		rw_read_unlock(&mm_list_lock);
	} while (next && !mm); /* it is being torn down: the one after it */
	return mm;
}

void mm_grab(struct mm *mm)
{
	uint32_t old = atomic_fetch_add(&mm->refs, 1);

	assert(old > 0);
}

void mm_bind(struct mm *mm)
{
	thread_bind_mm(mm);
}

void mm_for_each(void (*fn)(struct mm *mm, void *arg), void *arg)
{
	struct mm *mm;

	require(may_sleep() && locks_below(RANK_MM_LIST));
	rw_read_lock(&mm_list_lock);
	LIST_FOREACH (mm, &mm_list, link)
		fn(mm, arg);
	rw_read_unlock(&mm_list_lock);
}
