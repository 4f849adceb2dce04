/* SPDX-License-Identifier: MIT */
/*
 * swap_off.c - bring everything back, and take the store out of use
 *
 * From swap_close() on no swap-out begins; one that had begun still ends, and may fill
 * its slot.  No other slot is given out or filled, so every pass over the address
 * spaces leaves fewer users.  A fork may take entries to a child that the pass does
 * not meet: the next one does.  The store goes when no slot has a user; a thread that
 * is just dropping one still counts (swap_drop()).
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/core/entry.h"
#include "mm/core/object.h"
#include "mm/space/swap_in.h"
#include "mm/swap/swap.h"

/* Bring in the page of one slot of a table, if it is swapped.  Context: mm->lock
 * held.  Returns 0, -ENOMEM, -EIO. */
static int bring_in(struct region *r, va_t va, uint64_t *slot)
{
	struct mm *mm = r->mm;
	int ret = -EAGAIN;

	require(rw_held(&mm->lock));
	while (ret == -EAGAIN) {
		spin_lock(&mm->pt_lock);
		if (!entry_swapped(pte_read(slot))) {
			spin_unlock(&mm->pt_lock);
			return 0;
		}
		ret = fault_swapped(mm, r, va, slot);
	}
	return ret;
}

/* Bring in all that mm has in swap.  Returns 0, -ENOMEM, -EIO. */
static int bring_in_all(struct mm *mm)
{
	struct region *r;
	struct pt_run run;
	int ret = 0;

	rw_read_lock(&mm->lock);
	for_each_region (r, mm, USER_START, USER_END) {
		va_t va = r->start;

		while (!ret && pt_next_run(&mm->pt, &va, r->end, &run))
			for (unsigned i = 0; !ret && i < run.count; i++)
				ret = bring_in(r, run.va + i * PAGE_SIZE,
					       &run.slots[i]);
	}
	rw_read_unlock(&mm->lock);
	return ret;
}

/* Bring in all that any address space or object has in swap.  Returns 0, -ENOMEM, -EIO. */
static int pass(void)
{
	struct object *object = NULL;
	struct mm *mm;
	int ret = 0;

	for (unsigned id = 0; !ret && (mm = mm_next(id)); mm_put(mm)) {
		id = mm->id;
		ret = bring_in_all(mm);
	}
	while (!ret && (object = object_next(object)))
		ret = object_swap_off(object);
	if (ret && object)
		object_put(object);
	return ret;
}

int swap_off(void)
{
	int ret;

	require(may_sleep() && locks_below(RANK_MM_LIST));
	if (!swap_close())
		return err(EINVAL);
	while (swap_remove() == -EBUSY) {
		ret = pass();
		if (ret) {
			swap_open();
			return ret;
		}
		yield();
	}
	return 0;
}
