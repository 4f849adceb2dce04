/* SPDX-License-Identifier: MIT */
/*
 * pmm.h - frames of physical memory: a buddy allocator with per-CPU caches
 *
 * page_alloc() and page_put() touch only this CPU's cache of frames; every
 * PMM_BATCH-th of them goes to the buddy lists.  No page fault, no sleep, not
 * from interrupts.
 */
#pragma once

#include "mm/memmap.h"
#include "mm/page.h"

#define PMM_ORDERS 11                    /* blocks of 2^0 .. 2^10 frames  */
#define PMM_BATCH  32                    /* frames moved at a time        */
#define PMM_POISON 0x9797979797979797ull /* free frames, checking build  */

/*
 * Take over memory: normalise the two lists, put the frame array into the best
 * range, free all below 4 GiB (what the boot tables map).  Called once, on the
 * boot CPU, before any other function of mm/.  reserved must contain the image,
 * the boot tables, modules and the first 64 KiB.  Panics in words when there is
 * not enough memory to live in.
 */
void pmm_init(const struct mem_range *usable, unsigned n_usable,
	      const struct mem_range *reserved, unsigned n_reserved);

/* Free what lies above 4 GiB: once kmap_init() has put it in the direct map. */
void pmm_open_high(void);

/* The RAM that pmm manages, frame array included; fixed after pmm_init(). */
const struct memmap *pmm_map(void);

/*
 * All RAM up to the last managed frame, reserved or not, in whole 2 MiB: what
 * the direct map must show.  The rounding takes in the firmware's tables that
 * border on RAM.
 */
const struct memmap *pmm_ram(void);

/*
 * One frame of kind KERNEL with one reference, content undefined (zeroed by the
 * second); the caller sets its kind.  NULL when no memory is left or a failure
 * is injected.  Takes no lock of its caller's concern: RANK_PMM is below all.
 * Other CPUs' caches are not raided: at the very end up to 2 * PMM_BATCH
 * frames a CPU can be out of reach.
 */
must_check struct page *page_alloc(void);
must_check struct page *page_alloc_zeroed(void);

/*
 * 2^order contiguous, aligned frames; the head carries the reference and the
 * order, page_put() of the head frees all.  The same failures.
 */
must_check struct page *pages_alloc(unsigned order);

/*
 * Give back a frame (or block) whose count has reached 0: what page_put() and
 * page_map_drop() do then, and nobody else needs to.  Panics, naming the frame,
 * if it is free already, reserved, referenced, mapped or pinned.
 */
void page_free(struct page *page);

/*
 * Checking build, for oracles: fn sees each frame (or head of a block) that is
 * about to be free, count 0; NULL: nobody does.  True: fn has taken the frame,
 * given it a reference, and will put it.  Context of fn: any that frees.
 */
void page_free_watch(bool (*fn)(struct page *page));

/* Frames free now, caches included: exact when nobody allocates meanwhile. */
uint64_t pmm_free_pages(void);

/* Those of them that lie in the CPUs' caches. */
uint64_t pmm_cached_pages(void);

/* Frames that pmm ever gave or can give: free + in use. */
uint64_t pmm_total(void);

/* Frames in use for one kind; counted by a walk over the array, for reports. */
uint64_t pmm_used_by(enum page_kind kind);

/*
 * Return every cached frame of every CPU to the buddy lists, so that blocks
 * coalesce.  May wait for other CPUs: interrupts on, no spin lock held.
 */
void pmm_drain(void);

/*
 * For who looks for frames in use: how far it is from this frame to the next
 * that may be, over the free block that begins here.  What lies in the blocks is
 * free: pmm_check() has looked.  Nobody may allocate meanwhile.
 */
static inline pfn_t pmm_stride(const struct page *page)
{
	uint32_t flags = page_flags(page);

	return flags & PG_BUDDY ? UINT64_C(1) << FIELD_GET(PG_ORDER, flags) : 1;
}

/*
 * Oracle: walk all frames and lists.  Free frames have count 0, lists and
 * caches contain exactly the free frames.  Nobody may allocate meanwhile.
 * Returns NULL, or what is wrong in words.
 */
const char *pmm_check(void);

/*
 * Oracle: frames that were freed since the last call (all: all frames ever) and
 * still are free hold their poison; 512 words a frame.  Returns how many do
 * not, *first one of them.
 */
uint64_t pmm_check_poison(bool all, pfn_t *first);
