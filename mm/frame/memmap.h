/* SPDX-License-Identifier: MIT */
/*
 * memmap.h - make the boot loader's list of memory usable
 *
 * Loaders pass ranges that overlap, are unsorted, unaligned, empty or wrap; the
 * kernel needs sorted, disjoint, page-aligned ranges that touch nothing that is
 * reserved.  Pure functions over bounded arrays, without memory or hardware, so
 * that the host can test them with arbitrary input.  Any context.
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
	uint64_t lost_bytes; /* in them, and cut off by the functions below  */
	struct mem_range r[MEMMAP_MAX + 1]; /* one spare while splitting */
};

/*
 * Set out to the whole pages of usable that touch no byte of reserved: sorted,
 * disjoint, not adjacent, page-aligned.  Either array may be in any state:
 * ranges with end <= start are ignored; what lies above PA_MAX is cut off.
 * If the result needs more than MEMMAP_MAX ranges the smallest are dropped.
 */
void memmap_normalise(struct memmap *out, const struct mem_range *usable,
		      unsigned n_usable, const struct mem_range *reserved,
		      unsigned n_reserved);

/* Widen every range to multiples of align (a power of two) and unite. */
void memmap_widen(struct memmap *map, uint64_t align);

/* Sum up the bytes of all ranges. */
uint64_t memmap_bytes(const struct memmap *map);

/* Return the end of the highest range, 0 when there is none. */
pa_t memmap_top(const struct memmap *map);

/*
 * Drop ranges from the top while describing every frame below the top, at
 * per_page bytes each, would cost more than an eighth of what the ranges hold:
 * one page at 1 TiB must not cost 8 GiB of frame array.
 */
void memmap_limit(struct memmap *map, uint64_t per_page);

/* Cut off what lies at end or above. */
void memmap_cut(struct memmap *map, pa_t end);

/*
 * Cut off at the top what cannot be described: afterwards per_page bytes for
 * every frame below the top fit into seven eighths of the largest range below
 * limit, and an eighth of it is left for use.
 */
void memmap_fit(struct memmap *map, uint64_t per_page, pa_t limit);

/*
 * Take len bytes (a multiple of PAGE_SIZE) off the end of the highest range
 * that has them below limit.  Returns their address, or 0 if there is no room
 * (frame 0 is never taken).
 */
must_check pa_t memmap_take(struct memmap *map, uint64_t len, pa_t limit);

/* The direct map ends here; a CPU's addresses may end earlier: cpu_pa_end(). */
#define PA_MAX (UINT64_C(1) << 46)
