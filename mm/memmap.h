/* SPDX-License-Identifier: MIT */
/*
 * memmap.h - what a boot loader says about memory, made usable
 *
 * Loaders pass ranges that overlap, are unsorted, unaligned, empty or wrap; the
 * kernel wants sorted, disjoint, page-aligned ranges and to stay out of what is
 * reserved.  Pure functions over bounded arrays: no memory, no hardware, so the
 * host can feed them rubbish.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

#define MEMMAP_MAX 64

struct mem_range {
	pa_t start, end; /* [start, end) in bytes */
};

struct memmap {
	unsigned n;
	unsigned lost; /* ranges dropped because more than MEMMAP_MAX arose */
	struct mem_range r[MEMMAP_MAX + 1]; /* one spare while splitting */
};

/*
 * out = the whole pages of usable that touch no byte of reserved: sorted,
 * disjoint, not adjacent, page aligned.  Either array may be in any state:
 * ranges with end <= start are ignored; what lies above PA_MAX is cut off.
 * If the result needs more than MEMMAP_MAX ranges the smallest are dropped.
 */
void memmap_normalise(struct memmap *out, const struct mem_range *usable,
		      unsigned n_usable, const struct mem_range *reserved,
		      unsigned n_reserved);

/* Widen every range to multiples of align (a power of two) and unite. */
void memmap_widen(struct memmap *map, uint64_t align);

/* Bytes in all ranges. */
uint64_t memmap_bytes(const struct memmap *map);

/* End of the highest range, 0 when there is none. */
pa_t memmap_top(const struct memmap *map);

/*
 * Drop ranges from the top while describing every frame below the top, at
 * per_page bytes each, would cost more than an eighth of what the ranges hold:
 * one page at 1 TiB must not cost 8 GiB of frame array.
 */
void memmap_limit(struct memmap *map, uint64_t per_page);

/*
 * Take len bytes (a multiple of PAGE_SIZE) off the end of the highest range
 * that has them below limit.  Returns their address, 0 if there is no room
 * (frame 0 is never given).
 */
must_check pa_t memmap_take(struct memmap *map, uint64_t len, pa_t limit);

/* Physical addresses end here on the machines that we know. */
#define PA_MAX (UINT64_C(1) << 46)
