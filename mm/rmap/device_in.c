/* SPDX-License-Identifier: MIT */
/*
 * device_in.c - a fault on a device entry: one thread moves the page, the others wait;
 * and on a device-exclusive one: the devices are notified, then it is mapped
 *
 * The thread that sets PG_MOVING, under pt_lock, moves the page.  It takes its reference
 * there, too, while the entry still holds one (H44).  The others wait without a
 * reference, since one more would make the move fail.
 *
 * A page that only this entry names needs no walk of the reverse map: its entry is at
 * hand, and mm->lock, held to read, keeps forks and moves out.  The steps are those of
 * migrate.c: the entry names the new frame, the page is frozen, copied, mapped.
 */
#include "mm/rmap/device_in.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/mmu_notifier.h"
#include "mm/rmap/migrate.h"

/* A page, named by one entry, on its way to a frame. */
struct in {
	struct region *region;
	va_t va;
	uint64_t *slot;
	struct page *page; /* with a reference, PG_MOVING                  */
	struct page *to;   /* with a reference                             */
};

/* Have the entry name in->to, and freeze the page.  Returns false, with nothing changed,
 * if the entry is another, or the page has another user. */
static bool take_entry(struct in *in)
{
	struct mm *mm = in->region->mm;
	struct mmu_notifier_range range;
	bool taken;
	uint64_t e;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, in->va,
				in->va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	e = pte_read(in->slot);
	taken = entry_names(e, in->page) && page_exclusive(in->page) &&
		page_freeze(in->page, 2 * PAGE_REF);
	if (taken) {
		page_set(in->to, PG_MOVING | PG_EXCLUSIVE);
		page_get(in->to);
		pte_write(in->slot, entry_make_moving(in->to, e, e & PTE_D));
	}
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return taken;
}

/* Map in->to, if the entry still names it: a discard may have cleared it. */
static void map_entry(struct in *in)
{
	struct mm *mm = in->region->mm;
	uint64_t e;

	spin_lock(&mm->pt_lock);
	e = pte_read(in->slot);
	if (entry_evicted(e) && entry_names(e, in->to)) {
		page_ref_to_map(in->to);
		mm->mapped++;
		pte_write(in->slot, entry_unevict(e, in->region->prot));
		PROBE(pte_set, mm, in->va);
	}
	spin_unlock(&mm->pt_lock);
}

/* Have the entry name the page again, which could not be copied and is frozen. */
static void give_entry_back(struct in *in)
{
	struct mm *mm = in->region->mm;
	uint64_t e;
	bool named;

	page_clear_exclusive(in->to);
	spin_lock(&mm->pt_lock);
	e = pte_read(in->slot);
	named = entry_evicted(e) && entry_names(e, in->to);
	page_unfreeze(in->page, named ? 2 * PAGE_REF : PAGE_REF);
	if (named) {
		pte_write(in->slot, entry_make_moving(in->page, e, e & PTE_D));
		page_put(in->to);
	}
	spin_unlock(&mm->pt_lock);
}

/* Copy and map a page whose entry was taken.  Clears PG_MOVING.  Returns 0 or an error of
 * the device. */
static int move_taken(struct in *in)
{
	int ret;

	PROBE(migrate_frozen, in->page, in->to);
	ret = page_move_content(in->to, in->page);
	PROBE(migrate_copied, in->page, in->to);
	if (ret) {
		give_entry_back(in);
	} else {
		page_move_owner(in->page, in->to);
		page_unfreeze(in->page, PAGE_REF);
		map_entry(in);
	}
	moving_clear(in->to);
	moving_end(in->page);
	return ret;
}

/* Bring the page back: by its entry if no other names it.  Clears PG_MOVING.  Returns as
 * device_page_to_ram(). */
static int bring_back(struct in *in)
{
	bool taken;
	int ret = 0;

	if (!page_exclusive(in->page))
		return device_page_to_ram(in->page);
	in->to = page_alloc();
	if (!in->to) {
		moving_end(in->page);
		return err(ENOMEM);
	}
	taken = take_entry(in);
	if (taken)
		ret = move_taken(in);
	page_put(in->to);
	return taken ? ret : device_page_to_ram(in->page);
}

int fault_device(struct region *region, va_t va, uint64_t *slot)
{
	struct mm *mm = region->mm;
	struct in in = { region, va, slot, entry_page(pte_read(slot)), NULL };
	bool first;
	int ret;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	PROBE(device_found, mm, va);
	/* An eviction sets the mark without pt_lock, perhaps since the caller looked. */
	first = moving_begin(in.page);
	if (first)
		page_get(in.page);
	spin_unlock(&mm->pt_lock);
	if (!first) {
		moving_wait(in.page);
		return -EAGAIN;
	}
	PROBE(device_fault, mm, va);
	ret = bring_back(&in);
	page_put(in.page);
	return ret && ret != -EBUSY ? ret : -EAGAIN;
}

/*
 * The entry is read again, under pt_lock, when the devices have been notified: without
 * pt_lock nothing keeps its page, which a discard may have freed (H46).  No reference is
 * needed for that, and none is left to be lost.
 */
int fault_device_exclusive(struct region *region, va_t va, uint64_t *slot)
{
	struct mm *mm = region->mm;
	struct mmu_notifier_range range;
	uint64_t e;

	require(rw_held(&mm->lock) && spin_held(&mm->pt_lock));
	spin_unlock(&mm->pt_lock);
	PROBE(exclusive_found, mm, va);
	/* It has no owner: no client may ignore it. */
	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, mm, va,
				va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	e = pte_read(slot);
	if (entry_device_exclusive(e)) {
		page_ref_to_map(entry_page(e));
		mm->mapped++;
		pte_write(slot, entry_unevict(e, region->prot));
		PROBE(pte_set, mm, va);
	}
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	return -EAGAIN;
}
