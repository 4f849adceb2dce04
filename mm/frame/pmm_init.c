/* SPDX-License-Identifier: MIT */
/*
 * pmm_init.c - turn the boot loader's list into free frames; checks and reports
 *
 *      0     1M                              4G                    top
 *      |res. |image| free ......... |frames[]|  hole  | free ..... |
 *      frames[0] ...................................... frames[end - 1]
 *
 * The frame array describes [0, top of usable RAM): holes cost 32 bytes a page
 * and are of kind RESERVED, which is the kind of a zeroed struct page.  The
 * array lies at the top of what the boot tables map, below 4 GiB.  It describes
 * the memory above 4 GiB from the start, but pmm_open_high() frees that memory.
 * After the last frame follow the DEVICE_PAGES of devices (device.h).
 */
#include "mm/frame/buddy.h"
#include "arch/cpu.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/poison.h"

#define BOOT_MAPPED  (UINT64_C(4) << 30) /* start.asm's direct map           */
#define MIB          (UINT64_C(1) << 20)
#define LEAST_MEMORY (UINT64_C(8) << 20) /* with less, pmm_init() panics     */

#define AT_ONCE 16u /* frames that a checker reads at once               */

static struct memmap ram; /* all RAM, reserved included, in 2 MiB      */
static struct memmap map; /* all that is managed, frame array included */
static uint64_t total;    /* frames that can be free                   */

/* Turn the frames of [start, end), in bytes, page-aligned, into free memory. */
static void pmm_release_range(pa_t start, pa_t end)
{
	assert(IS_ALIGNED(start | end, PAGE_SIZE) &&
	       end >> PAGE_SHIFT <= frames_end);
	spin_lock(&pmm_lock);
	for (pfn_t pfn = start >> PAGE_SHIFT; pfn < end >> PAGE_SHIFT; pfn++)
		atomic_store_explicit(&frames[pfn].flags, PAGE_FREE,
				      memory_order_relaxed);
	buddy_give_range(start >> PAGE_SHIFT, end >> PAGE_SHIFT);
	spin_unlock(&pmm_lock);
}

/* Compute what the direct map shows: RAM up to the last described frame. */
static void find_ram(const struct mem_range *usable, unsigned n_usable)
{
	struct mem_range above = { memmap_top(&map), PA_MAX };

	memmap_normalise(&ram, usable, n_usable, &above, 1);
	memmap_widen(&ram, UINT64_C(2) << 20);
}

/* Free the part of the map that lies in [start, end), in bytes. */
static void release(const struct memmap *from, pa_t start, pa_t end)
{
	for (unsigned i = 0; i < from->n; i++) {
		pa_t a = from->r[i].start, b = from->r[i].end;

		a = a < start ? start : a;
		b = b > end ? end : b;
		if (a >= b)
			continue;
		pmm_release_range(a, b);
		total += (b - a) >> PAGE_SHIFT;
	}
}

void pmm_init(const struct mem_range *usable, unsigned n_usable,
	      const struct mem_range *reserved, unsigned n_reserved)
{
	struct memmap rest;
	uint64_t bytes;
	pa_t array;

	assert(cpu_has_cmpxchg16b()); /* for page_tail_end() */
	memmap_normalise(&map, usable, n_usable, reserved, n_reserved);
	memmap_cut(&map, cpu_pa_end());
	memmap_limit(&map, sizeof(struct page));
	memmap_fit(&map, sizeof(struct page), BOOT_MAPPED);
	if (map.lost_bytes)
		printk("# %lu MiB of memory are not used: too far up, or too "
		       "scattered\n",
		       ALIGN_UP(map.lost_bytes, MIB) / MIB);
	if (memmap_bytes(&map) < LEAST_MEMORY)
		panic("not enough memory: %lu KiB usable, %lu KiB needed",
		      memmap_bytes(&map) >> 10, LEAST_MEMORY >> 10);

	find_ram(usable, n_usable);
	rest = map;
	frames_end = memmap_top(&map) >> PAGE_SHIFT;
	device_first = ALIGN_UP(frames_end, AT_ONCE);
	pages_end = device_first + DEVICE_PAGES;
	bytes = ALIGN_UP(pages_end * sizeof(struct page), PAGE_SIZE);
	array = memmap_take(&rest, bytes, BOOT_MAPPED);
	if (!array)
		panic("no room below 4 GiB for %lu KiB of frame array",
		      bytes >> 10);
	frames = phys_to_virt(array);
	memset(frames, 0, bytes);
	release(&rest, 0, BOOT_MAPPED);

	zero_page = page_alloc_zeroed();
	assert(zero_page);
	page_set_kind(zero_page, PAGE_ZERO);
}

void pmm_open_high(void)
{
	/* The frame array is below: nothing above was taken from the map. */
	release(&map, BOOT_MAPPED, PA_MAX);
}

const struct memmap *pmm_map(void)
{
	return &map;
}

const struct memmap *pmm_ram(void)
{
	return &ram;
}

uint64_t pmm_total(void)
{
	return total;
}

uint64_t pmm_used_by(enum page_kind kind)
{
	uint64_t n = 0;

	for (pfn_t pfn = 0; pfn < frames_end; pfn++) {
		struct page *page = &frames[pfn];
		pfn_t whole = page_test(page, PG_BARE) ? pmm_stride(page) : 1;

		n += page_kind(page) == kind ? whole : 0;
		pfn += whole - 1;
	}
	return n;
}

/* ------------------------------------------------------------- checkers */

/*
 * Every test ends in a walk over all frames.  So frames are read in groups,
 * without a branch in between, each as two words: count, and flags with pins.
 * After the last frame the array is filled with zeroes, which mean kind RESERVED,
 * to a multiple of AT_ONCE, so that the last group may be read whole.
 */
_Static_assert(PAGE_SIZE % (AT_ONCE * sizeof(struct page)) == 0,
	       "whole groups");
_Static_assert(offsetof(struct page, count) == 0 &&
		       offsetof(struct page, flags) == 8 &&
		       offsetof(struct page, pins) == 12,
	       "count; flags, pins");

struct group {
	uint64_t users;        /* 0: no count                              */
	uint64_t either, both; /* flags and pins that one has, all have    */
};

/* Combine the words of the AT_ONCE frames from page on. */
static inline struct group look_at(const struct page *page)
{
	const uint64_t *word = (const uint64_t *)page;
	struct group g = { 0, 0, ~UINT64_C(0) };

#pragma GCC unroll 16
	for (unsigned i = 0; i < AT_ONCE; i++, word += sizeof(*page) / 8) {
		g.users |= word[0];
		g.either |= word[1];
		g.both &= word[1];
	}
	return g;
}

/* Return true if all frames of the group are free and have no users. */
static inline bool all_idle(const struct page *page)
{
	struct group g = look_at(page);

	return !(g.users | g.either >> 32) &&
	       (g.either & PG_KIND) == PAGE_FREE &&
	       (g.both & PG_KIND) == PAGE_FREE;
}

const char *pmm_check(void)
{
	uint64_t listed, marked = 0, users = 0;
	const char *wrong = pmm_check_lists(&listed);
	const struct page *end = frames + frames_end;

	for (const struct page *at = frames; at < end; at += AT_ONCE) {
		if (all_idle(at)) {
			marked += AT_ONCE;
			continue;
		}
		for (const struct page *page = at; page < at + AT_ONCE;
		     page++) {
			if (page_test(page, PG_BARE)) /* its tails follow */
				marked -= pmm_stride(page) - 1;
			if (page_kind(page) != PAGE_FREE)
				continue;
			marked++;
			users |= page_count(page) | page_pins(page);
		}
	}
	if (!wrong && users)
		wrong = "pmm: a free frame has users";
	if (!wrong && marked != listed)
		wrong = "pmm: frames of kind FREE and listed frames differ";
	return wrong;
}

/* Count the frames of a group that have all of these flags and were written. */
static uint64_t poison_of(struct page *at, uint32_t want, pfn_t *first)
{
	uint64_t hurt = 0;

	for (struct page *page = at; page < at + AT_ONCE; page++) {
		if ((page_flags(page) & (PG_KIND | want)) != want)
			continue;
		page_clear(page, PG_FRESH);
		if (frame_poison_hurt(page)) {
			*first = pfn_of(page);
			hurt++;
		}
	}
	return hurt;
}

uint64_t pmm_check_poison(bool all, pfn_t *first)
{
	uint32_t want = all ? PAGE_FREE : PAGE_FREE | PG_FRESH;
	struct page *end = frames + frames_end;
	uint64_t hurt = 0;

	for (struct page *at = frames; at < end; at += AT_ONCE)
		if (all || look_at(at).either & PG_FRESH)
			hurt += poison_of(at, want, first);
	return hurt;
}

uint64_t pmm_free_pages(void)
{
	return READ_ONCE(buddy_frames) + pmm_cached_pages();
}
