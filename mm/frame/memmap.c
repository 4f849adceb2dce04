/* SPDX-License-Identifier: MIT */
/*
 * memmap.c - keep a sorted, disjoint list of page-aligned ranges
 *
 *   usable      [=====)   [====)  [==)            in any order, overlapping
 *                  [=====)
 *   reserved         [=)            [====)
 *   result      [====) [==[====)  [)              whole pages, merged
 *
 * Every change is one splice: the ranges [i, j) are replaced by at most two
 * others, so the list grows by at most one at a time and one spare element
 * suffices.  When the list is too long its smallest range is dropped: that
 * loses memory, but never makes reserved memory usable.
 */
#include "mm/frame/memmap.h"

static pa_t min_pa(pa_t a, pa_t b)
{
	return a < b ? a : b;
}

static pa_t max_pa(pa_t a, pa_t b)
{
	return a > b ? a : b;
}

static bool range_empty(const struct mem_range *r)
{
	return r->end <= r->start;
}

static uint64_t range_bytes(const struct mem_range *r)
{
	return r->end - r->start;
}

/* Remove element i. */
static void drop(struct memmap *map, unsigned i)
{
	map->n--;
	for (; i < map->n; i++)
		map->r[i] = map->r[i + 1];
}

/* Make room for one element before i. */
static void open_gap(struct memmap *map, unsigned i)
{
	for (unsigned k = map->n++; k > i; k--)
		map->r[k] = map->r[k - 1];
}

/* Remove the smallest range and count it as lost. */
static void drop_smallest(struct memmap *map)
{
	unsigned least = 0;

	for (unsigned i = 1; i < map->n; i++)
		if (range_bytes(&map->r[i]) < range_bytes(&map->r[least]))
			least = i;
	map->lost_bytes += range_bytes(&map->r[least]);
	drop(map, least);
	map->lost++;
}

/* Replace the ranges [i, j) by those of the two that are not empty.  If both
 * are, at least one range is replaced. */
static void splice(struct memmap *map, unsigned i, unsigned j,
		   struct mem_range first, struct mem_range second)
{
	while (j > i)
		drop(map, --j);
	if (!range_empty(&second)) {
		open_gap(map, i);
		map->r[i] = second;
	}
	if (!range_empty(&first)) {
		open_gap(map, i);
		map->r[i] = first;
	}
	if (map->n > MEMMAP_MAX)
		drop_smallest(map);
}

static const struct mem_range nothing = { 0, 0 };

/* Add a range, united with those that overlap or touch it. */
static void add(struct memmap *map, struct mem_range r)
{
	unsigned i = 0, j;

	while (i < map->n && map->r[i].end < r.start)
		i++;
	for (j = i; j < map->n && map->r[j].start <= r.end; j++) {
		r.start = min_pa(r.start, map->r[j].start);
		r.end = max_pa(r.end, map->r[j].end);
	}
	splice(map, i, j, r, nothing);
}

/* Cut a range out: a range that overlaps keeps its left and its right part. */
static void subtract(struct memmap *map, struct mem_range cut)
{
	for (unsigned i = map->n; i-- > 0;) {
		struct mem_range r = map->r[i];
		struct mem_range left = { r.start, min_pa(r.end, cut.start) };
		struct mem_range right = { max_pa(r.start, cut.end), r.end };

		if (r.start < cut.end && cut.start < r.end)
			splice(map, i, i + 1, left, right);
	}
}

void memmap_normalise(struct memmap *out, const struct mem_range *usable,
		      unsigned n_usable, const struct mem_range *reserved,
		      unsigned n_reserved)
{
	out->n = 0;
	out->lost = 0;
	out->lost_bytes = 0;
	/* Cut at PA_MAX before rounding: rounding up could wrap. */
	for (unsigned i = 0; i < n_usable; i++) {
		struct mem_range r = {
			ALIGN_UP(min_pa(usable[i].start, PA_MAX), PAGE_SIZE),
			ALIGN_DOWN(min_pa(usable[i].end, PA_MAX), PAGE_SIZE),
		};

		if (!range_empty(&r))
			add(out, r);
	}
	for (unsigned i = 0; i < n_reserved; i++) {
		struct mem_range r = {
			ALIGN_DOWN(min_pa(reserved[i].start, PA_MAX),
				   PAGE_SIZE),
			ALIGN_UP(min_pa(reserved[i].end, PA_MAX), PAGE_SIZE),
		};

		if (!range_empty(&reserved[i]) && !range_empty(&r))
			subtract(out, r);
	}
}

void memmap_widen(struct memmap *map, uint64_t align)
{
	struct memmap old = *map;

	map->n = 0;
	for (unsigned i = 0; i < old.n; i++)
		add(map, (struct mem_range){
				 ALIGN_DOWN(old.r[i].start, align),
				 ALIGN_UP(old.r[i].end, align),
			 });
}

uint64_t memmap_bytes(const struct memmap *map)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < map->n; i++)
		bytes += range_bytes(&map->r[i]);
	return bytes;
}

pa_t memmap_top(const struct memmap *map)
{
	return map->n ? map->r[map->n - 1].end : 0;
}

void memmap_limit(struct memmap *map, uint64_t per_page)
{
	while (map->n && (memmap_top(map) >> PAGE_SHIFT) * per_page >
				 memmap_bytes(map) / 8) {
		map->n--;
		map->lost++;
		map->lost_bytes += range_bytes(&map->r[map->n]);
	}
}

void memmap_cut(struct memmap *map, pa_t end)
{
	uint64_t before = memmap_bytes(map);

	subtract(map, (struct mem_range){ end, UINT64_MAX });
	map->lost_bytes += before - memmap_bytes(map);
}

void memmap_fit(struct memmap *map, uint64_t per_page, pa_t limit)
{
	uint64_t room = 0;

	for (unsigned i = 0; i < map->n && map->r[i].start < limit; i++) {
		pa_t end = min_pa(map->r[i].end, limit);

		if (end - map->r[i].start > room)
			room = end - map->r[i].start;
	}
	memmap_cut(map, room / 8 * 7 / per_page << PAGE_SHIFT);
}

pa_t memmap_take(struct memmap *map, uint64_t len, pa_t limit)
{
	for (unsigned i = map->n; i-- > 0;) {
		struct mem_range r = map->r[i];
		pa_t end = min_pa(r.end, limit);

		if (end <= r.start || end - r.start < len || end == len)
			continue;
		splice(map, i, i + 1, (struct mem_range){ r.start, end - len },
		       (struct mem_range){ end, r.end });
		return end - len;
	}
	return 0;
}
