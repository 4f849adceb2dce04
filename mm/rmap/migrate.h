/* SPDX-License-Identifier: MIT */
/*
 * migrate.h - move a page to another frame while CPUs and devices use it
 *
 * The states of a page on the way, and what keeps them true: MIGRATE.md.
 */
#pragma once

#include "kernel/probe.h"
#include "mm/core/device.h"
#include "mm/core/entry.h"
#include "mm/rmap/rmap.h"

/*
 * Move a page of an address space or an object to frame `to`, from page_alloc(), which
 * no other thread knows.  Content, owner, PG_DIRTY and PG_EXCLUSIVE, and A and D of
 * each entry of a private page come along.  A private or merged page is mapped by
 * the entries that mapped it, or that were evicted; an object's page is mapped by the
 * next faults.  A fault, a pin, a fork of a page that is on the way waits or gets the
 * new frame.  Linux: migrate_folio(), migrate_pages().
 *
 * A huge mapping is split first.
 *
 * `to` may be from device_page_alloc(): a private page, not a merged one, then goes to
 * that device, and is mapped nowhere.
 *
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference
 * on each frame.
 * Returns 0: `page` is a frame of the kernel's with the caller's reference, and `to`
 * the page, with the caller's reference.
 * Returns -EINVAL for a page of another kind; an error of the device that copies; -EBUSY if the page has another
 * reference or a pin, is in the swap cache or in a region of MAP_LOCKED, or another
 * thread moves it.  After an error the entries are as before, except that those of an
 * object's page may be holes and huge mappings split, and `to` is as it was given.
 */
must_check int migrate_page(struct page *page, struct page *to);

/*
 * Call fn when the frame of a page of this kind changes: content and identity of `to`
 * are complete, and `from` is frozen.  Once, at boot, before the first page of the
 * kind.  Context of fn: locks_below(RANK_STABLE), cannot fail.
 */
typedef void page_mover(struct page *from, struct page *to);
void migrate_set_mover(enum page_kind kind, page_mover *fn);

/*
 * Copy the content of a frozen page to `to`: a device copies if one of the two is its
 * page, else the CPU.  Context: may sleep.  Returns 0 or an error of the device.
 */
must_check int page_move_content(struct page *to, struct page *page);

/*
 * Make `to`, which no other thread knows, the page that `page` is, and `page` one
 * without an owner: identity, PG_DIRTY, PG_EXCLUSIVE.  The content has been copied, and
 * the caller gives `to` its references.  Context: page is frozen.
 */
void page_move_owner(struct page *page, struct page *to);

/*
 * Do the middle of a migration, for mm/move/: copy the content and change the owner of a
 * page that no entry maps.  Both frames have PG_MOVING.  Context: as migrate_page().
 * Returns 0; with nothing changed -EBUSY if another user has a reference, or an error
 * of the device that copies.
 */
must_check int page_move_frame(struct page *page, struct page *to);

/*
 * Undo the beginning of a migration, for mm/move/: each entry that names `to` maps page
 * again.  Both frames have PG_MOVING.  Context: as migrate_page().
 */
void page_move_back(struct page *page, struct page *to);

/* Map page where the evicted entry at slot, the region's at va, names it.
 * Context: region->mm->pt_lock held. */
static inline void entry_map_evicted(struct page *page, struct region *region,
				     va_t va, uint64_t *slot)
{
	struct mm *mm = region->mm;

	require(spin_held(&mm->pt_lock));
	page_ref_to_map(page);
	mm->mapped++;
	pte_write(slot, entry_unevict(pte_read(slot), READ_ONCE(region->prot)));
	PROBE(pte_set, mm, va);
}

/*
 * Bring a page back from the memory of a device to a new frame of RAM, where every entry
 * that names it maps it.
 * Context: may sleep; any that may take RANK_LINKS.  The caller holds a reference on
 * page, and has set PG_MOVING, which is clear afterwards.
 * Returns 0: page is of kind VRAM, and free when the caller drops its reference; -ENOMEM;
 * -EBUSY if another thread has a reference; an error of the device: its entries are as
 * before.  Linux: dev_pagemap_ops.migrate_to_ram().
 */
must_check int device_page_to_ram(struct page *page);

/*
 * Bring up to n pages of dm that are in use back to RAM, to have memory for others, or,
 * after device_memory_close(), because the driver goes.  Returns how many came; the
 * others have another reference, are on their way, or could not be copied.
 * Context: may sleep; any that may take RANK_LINKS.  dm stays meanwhile.
 */
unsigned device_memory_evict(struct device_memory *dm, unsigned n);
