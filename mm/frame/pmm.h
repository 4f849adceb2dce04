/* SPDX-License-Identifier: MIT */
/*
 * pmm.h - frames of physical memory: a buddy allocator with per-CPU caches
 *
 * page_alloc() and page_put() touch only this CPU's cache of frames; every
 * PMM_BATCH-th call goes to the buddy lists.  They never fault or sleep.
 *
 * Context of everything that allocates or frees: any that may take RANK_PMM,
 * which comes after every lock that a caller may hold; no interrupt handler.
 */
#pragma once

#include "mm/frame/memmap.h"
#include "mm/frame/page.h"

#define PMM_ORDERS 11                    /* blocks of 2^0 .. 2^10 frames  */
#define PMM_BATCH  32                    /* frames moved at a time        */
#define PMM_POISON 0x9797979797979797ull /* free frames, checking build  */

/*
 * Take over memory: normalise the two lists of ranges (bytes, half-open), put
 * the frame array into the highest range that has room, and free all memory
 * below 4 GiB (what the boot tables map).  Memory that the CPU cannot address,
 * or that the frame array has no room to describe, is left out, and a line on
 * the console says how much.  reserved must contain the image, the boot tables,
 * modules and the first 64 KiB.  Panics with a message when there is too little
 * memory.
 * Context: boot CPU, once, before any other function of mm/.
 */
void pmm_init(const struct mem_range *usable, unsigned n_usable,
	      const struct mem_range *reserved, unsigned n_reserved);

/*
 * Free the memory above 4 GiB.  Context: boot CPU, once, after kmap_init() has
 * put it into the direct map.
 */
void pmm_open_high(void);

/* Return the RAM that pmm manages, frame array included; fixed after pmm_init(). */
const struct memmap *pmm_map(void);

/*
 * Return all RAM up to the last managed frame, reserved or not, rounded to
 * whole 2 MiB: what the direct map must show.  The rounding includes the
 * firmware's tables that border on RAM.
 */
const struct memmap *pmm_ram(void);

/*
 * Allocate one frame of kind KERNEL with one reference; the second function
 * fills it with zeroes, the first leaves its content undefined.  The caller
 * sets the kind.  Returns NULL when no memory is left or a failure is injected.
 * Frames in other CPUs' caches are not used: when memory runs out up to
 * 2 * PMM_BATCH frames a CPU can be out of reach.
 */
must_check struct page *page_alloc(void);
must_check struct page *page_alloc_zeroed(void);

/*
 * Push n frames of this kind, which has no owner, each with one reference and undefined
 * content, onto a list that is linked by page->mapping.next.  Costs half of n calls of
 * page_alloc().  Returns 0, or -ENOMEM with the list unchanged, as page_alloc() does.
 */
must_check int page_alloc_list(struct page **list, unsigned n,
			       enum page_kind kind);

/*
 * Free the frames of such a list, single ones that nothing else refers to: each has
 * the count `count`, 0 or PAGE_REF, and its kind has no owner, or the caller has dropped
 * what page->mapping referred to.  Context: any that may take RANK_PMM.
 */
void page_free_list(struct page *list, uint64_t count);

/*
 * Allocate 2^order contiguous frames, aligned to their size; order is below
 * PMM_ORDERS.  The head carries the reference and the order, page_put() of the
 * head frees all.  Returns NULL as page_alloc() does.
 */
must_check struct page *pages_alloc(unsigned order);

/*
 * The same, but the frames after the head stay as they were in the lists, of kind FREE:
 * for a block that is one page until page_tail_begin() makes each of its frames one.
 * No function of page.h but page_head(), page_is_free() and page_part_set_dirty() may be called for them
 * before that.
 */
must_check struct page *pages_alloc_bare(unsigned order);

/* Return whether a block of 2^order frames is free.  Another thread may take it at any
 * time.  Context: any that may take RANK_PMM. */
bool pmm_has_block(unsigned order);

/*
 * Allocate the frame `page`, as page_alloc() would, if it is free and lies in the buddy
 * lists.  Returns false if it is in use, or free in the cache of a CPU (pmm_drain()).
 * Context: any that may take RANK_PMM.
 */
must_check bool page_take(struct page *page);

/*
 * Make 2^order frames from `first`, which is aligned to that, one block, as
 * pages_alloc_bare() returns it.  The caller has each from page_alloc(), page_take() or
 * migrate_page(), with its only reference; other threads may find a frame by
 * its number and have one for a moment.  Context: may sleep: waits for these.
 */
void pages_unite(struct page *first, unsigned order);

/* Return the smallest order whose block holds so many bytes. */
static inline unsigned order_of(uint64_t bytes)
{
	unsigned order = 0;

	while (bytes > PAGE_SIZE << order)
		order++;
	return order;
}

/*
 * Free a frame (or block) after its count reached 0.  Called by page_put() and
 * page_map_drop() only.  Panics, naming the frame, if it is free already,
 * reserved, referenced, mapped or pinned.
 */
void page_free(struct page *page);

/*
 * Set the function that is called for each frame of this kind before it is free: it
 * drops what page->mapping refers to.  Once for each kind, at boot.  A kind without
 * one refers to nothing.  Context of destroy: any that frees.
 */
typedef void page_destructor(struct page *page);
void page_set_destructor(enum page_kind kind, page_destructor *destroy);

/* Set the function that a page of a device's memory is given to when its count is 0, in
 * place of the lists of free frames.  Once, at boot.  Context of give_back: any that
 * frees. */
void pmm_set_device_free(page_destructor *give_back);

/*
 * Set the function that sees each frame (or head of a block) that is about to be
 * freed, with count 0; NULL: none.  If fn returns true it has given the frame a
 * reference and will put it, and the frame is not freed.  For checkers; only the
 * checking build calls fn.  Context of fn: any that frees.
 */
void page_free_watch(bool (*fn)(struct page *page));

/*
 * Call fn each time that frames were taken from the buddy lists and fewer than `frames` are
 * left there; 0: never.  Context of fn: any that may take RANK_WAIT.
 */
void pmm_watch_low(uint64_t frames, void (*fn)(void));

/* Count the free frames, caches included: exact while no thread allocates. */
uint64_t pmm_free_pages(void);

/* Count the free frames that lie in the CPUs' caches. */
uint64_t pmm_cached_pages(void);

/* Return the number of managed frames: free and in use. */
uint64_t pmm_total(void);

/* Count the frames of one kind by a walk over the array.  For reports. */
uint64_t pmm_used_by(enum page_kind kind);

/*
 * Return every cached frame of every CPU to the buddy lists, so that blocks
 * coalesce.  Context: may sleep: waits for other CPUs.
 */
void pmm_drain(void);

/*
 * Return the distance in frames from this frame to the next that may carry a
 * count, for a walk over the frame array: the length of the block that begins
 * here.  A free block has no counts (pmm_check()), an allocated one counts in
 * its head.  Context: no other thread allocates meanwhile.
 */
static inline pfn_t pmm_stride(const struct page *page)
{
	return UINT64_C(1) << page_order(page);
}

/*
 * Check by a walk over all frames and lists: free frames have count 0, lists
 * and caches contain exactly the free frames.  Returns NULL or an error message.
 * Context: no other thread allocates meanwhile.
 */
const char *pmm_check(void);

/*
 * Check that the free frames hold their poison, 512 words a frame: those freed
 * since the last call, or with all every poisoned frame.  Returns how many do
 * not; *first receives one of them.
 */
uint64_t pmm_check_poison(bool all, pfn_t *first);
