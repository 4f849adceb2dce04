/* SPDX-License-Identifier: MIT */
/*
 * pmm_init.c - from the boot loader's list to free frames, and reports
 *
 *      0     1M                              4G                    top
 *      |res. |image| free ......... |frames[]|  hole  | free ..... |
 *      frames[0] ...................................... frames[end - 1]
 *
 * The frame array describes [0, top of usable RAM): holes cost 32 bytes a page
 * and are of kind RESERVED, which is what a zeroed struct page says.  It lies
 * at the top of what the boot tables map, below 4 GiB; what is above must wait
 * for pmm_open_high(), though the array describes it from the start.
 */
#include "mm/buddy.h"
#include "kernel/string.h"

#define BOOT_MAPPED  (UINT64_C(4) << 30) /* start.asm's direct map           */
#define LEAST_MEMORY (UINT64_C(8) << 20) /* less is not worth the attempt    */

static struct memmap ram; /* all RAM, reserved included, in 2 MiB      */
static struct memmap map; /* all that is managed, frame array included */
static uint64_t total;    /* frames that can be free                   */

/* What the direct map shows: nothing above the frames that are described. */
static void find_ram(const struct mem_range *usable, unsigned n_usable)
{
	struct mem_range above = { memmap_top(&map), PA_MAX };

	memmap_normalise(&ram, usable, n_usable, &above, 1);
	memmap_widen(&ram, UINT64_C(2) << 20);
}

/* Free what the map has in [start, end). */
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

	memmap_normalise(&map, usable, n_usable, reserved, n_reserved);
	memmap_limit(&map, sizeof(struct page));
	if (memmap_bytes(&map) < LEAST_MEMORY)
		panic("not enough memory: %lu KiB usable, %lu KiB needed",
		      memmap_bytes(&map) >> 10, LEAST_MEMORY >> 10);

	find_ram(usable, n_usable);
	rest = map;
	frames_end = memmap_top(&map) >> PAGE_SHIFT;
	bytes = ALIGN_UP(frames_end * sizeof(struct page), PAGE_SIZE);
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

	for (pfn_t pfn = 0; pfn < frames_end; pfn++)
		n += page_kind(&frames[pfn]) == kind;
	return n;
}

/* ------------------------------------------------------------- oracles */

/*
 * Every test ends in a walk over all frames.  So groups of them are looked at
 * without a branch in between, each as two words: count, and flags with pins.
 * Behind the last frame the array's page is zeroes, which say RESERVED.
 */
#define AT_ONCE 16u
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

/* The frames of a group that have all of these flags. */
static uint64_t poison_of(struct page *at, uint32_t want, pfn_t *first)
{
	uint64_t hurt = 0;

	for (struct page *page = at; page < at + AT_ONCE; page++) {
		if ((page_flags(page) & (PG_KIND | want)) != want)
			continue;
		page_clear(page, PG_FRESH);
		if (pmm_poison_hurt(page)) {
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
