/* SPDX-License-Identifier: MIT */
/*
 * memmap.c - tests memmap.c: normalisation of the loader's memory map
 */
#include "arch/bits.h"
#include "kernel/rand.h"
#include "mm/frame/memmap.h"
#include "tests/base/test.h"

#define MODEL 512 /* pages in the model, one bool each */

static bool covers(const struct memmap *map, pa_t pa)
{
	for (unsigned i = 0; i < map->n; i++)
		if (map->r[i].start <= pa && pa < map->r[i].end)
			return true;
	return false;
}

/* Sorted, disjoint, not adjacent, aligned, not empty. */
static bool well_formed(const struct memmap *map)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct mem_range *r = &map->r[i];

		if (!IS_ALIGNED(r->start | r->end, PAGE_SIZE) ||
		    r->start >= r->end)
			return false;
		if (i && map->r[i - 1].end >= r->start)
			return false;
	}
	return map->n <= MEMMAP_MAX;
}

static struct mem_range random_range(struct rng *rng)
{
	struct mem_range r = {
		rng_below(rng, MODEL * PAGE_SIZE),
		rng_below(rng, MODEL * PAGE_SIZE),
	};

	if (rng_below(rng, 2))
		r.start &= PAGE_MASK;
	if (rng_below(rng, 8)) /* mostly short, and then not reversed */
		r.end = r.start + rng_below(rng, 24 * PAGE_SIZE);
	return r;
}

static bool any_byte(const struct mem_range *r, unsigned n, pa_t page)
{
	for (unsigned i = 0; i < n; i++)
		if (r[i].start < r[i].end && r[i].start < page + PAGE_SIZE &&
		    page < r[i].end)
			return true;
	return false;
}

static bool all_by_one(const struct mem_range *r, unsigned n, pa_t page)
{
	for (unsigned i = 0; i < n; i++)
		if (r[i].start <= page && page + PAGE_SIZE <= r[i].end)
			return true;
	return false;
}

TEST(memmap, any_list_is_normalised,
     "random overlapping lists give exactly the pages of a model")
{
	struct rng rng = rng_seed(test_seed());
	struct mem_range usable[12], reserved[12];
	struct memmap map;

	for (unsigned round = 0; round < 100; round++) {
		unsigned wrong = 0;

		for (unsigned i = 0; i < 12; i++) {
			usable[i] = random_range(&rng);
			reserved[i] = random_range(&rng);
		}
		memmap_normalise(&map, usable, 12, reserved, 12);
		EXPECT(well_formed(&map));
		for (unsigned i = 0; i < MODEL; i++) {
			pa_t pa = i * PAGE_SIZE;
			bool want = all_by_one(usable, 12, pa) &&
				    !any_byte(reserved, 12, pa);

			wrong += covers(&map, pa) != want;
		}
		EXPECT_EQ(wrong, 0);
	}
}

TEST(memmap, reserved_always_wins,
     "with more ranges than fit, usable memory is lost but no reserved byte "
     "becomes usable")
{
	static struct mem_range cuts[200];
	struct mem_range all = { 0, 4096 * PAGE_SIZE };
	struct memmap map;

	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++)
		cuts[i] = (struct mem_range){ i * 20 * PAGE_SIZE,
					      i * 20 * PAGE_SIZE + 1 };
	memmap_normalise(&map, &all, 1, cuts, ARRAY_SIZE(cuts));
	EXPECT(well_formed(&map));
	EXPECT(map.n == MEMMAP_MAX && map.lost > 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++)
		EXPECT(!covers(&map, cuts[i].start));
}

TEST(memmap, smallest_range_is_lost,
     "of one range more than fit the smallest is lost, wherever it lies")
{
	struct mem_range usable[MEMMAP_MAX + 1];
	struct memmap map;

	for (unsigned k = 0; k < ARRAY_SIZE(usable); k++) {
		for (unsigned i = 0; i < ARRAY_SIZE(usable); i++) {
			pa_t at = i * 16 * PAGE_SIZE;

			usable[i] = (struct mem_range){
				at, at + (i == k ? 1 : 2) * PAGE_SIZE
			};
		}
		memmap_normalise(&map, usable, ARRAY_SIZE(usable), NULL, 0);
		EXPECT_EQ(map.lost_bytes, PAGE_SIZE);
		EXPECT(!covers(&map, usable[k].start));
	}
}

TEST(memmap, ends_do_not_wrap, "ranges at the end of 2^64 are cut off")
{
	struct mem_range usable[] = {
		{ UINT64_MAX - 5, UINT64_MAX },
		{ PA_MAX - PAGE_SIZE, UINT64_MAX },
		{ 0x5000, 0x4000 },
		{ 0x7001, 0x7fff },
	};
	struct mem_range reserved[] = { { UINT64_MAX - 1, 3 } };
	struct memmap map;

	memmap_normalise(&map, usable, ARRAY_SIZE(usable), reserved, 1);
	EXPECT_EQ(map.n, 1);
	EXPECT_EQ(map.r[0].start, PA_MAX - PAGE_SIZE);
	EXPECT_EQ(memmap_top(&map), PA_MAX);
	EXPECT_EQ(memmap_bytes(&map), PAGE_SIZE);
}

TEST(memmap, far_page_is_left_out,
     "a single page at 1 TiB is left out, since its frame array would cost 8 "
     "GiB")
{
	struct mem_range usable[] = {
		{ BIT(20), BIT(29) },
		{ BIT(40), BIT(40) + PAGE_SIZE },
	};
	struct memmap map;

	memmap_normalise(&map, usable, 2, NULL, 0);
	memmap_limit(&map, 32);
	EXPECT_EQ(memmap_top(&map), BIT(29));
	EXPECT_EQ(map.lost, 1);
}

TEST(memmap, memory_without_frame_array_is_cut,
     "memory beyond what the frame array can describe is cut, and the lost "
     "bytes are counted")
{
	struct mem_range usable[] = {
		{ BIT(20), BIT(31) },
		{ BIT(32), 302 * BIT(30) },
	};
	uint64_t before, top;
	struct memmap map;

	memmap_normalise(&map, usable, 2, NULL, 0);
	before = memmap_bytes(&map);
	memmap_fit(&map, 32, BIT(32));
	top = memmap_top(&map);
	EXPECT(top > 200 * BIT(30) && top < 230 * BIT(30));
	EXPECT_EQ(map.lost_bytes, 302 * BIT(30) - top);
	EXPECT_EQ(memmap_bytes(&map) + map.lost_bytes, before);
	EXPECT(memmap_take(&map, ALIGN_UP((top >> PAGE_SHIFT) * 32, PAGE_SIZE),
			   BIT(32)));
	EXPECT(covers(&map, BIT(21))); /* part of the low range is left */

	memmap_cut(&map, BIT(32) + BIT(24));
	EXPECT_EQ(memmap_top(&map), BIT(32) + BIT(24));
	memmap_fit(&map, 32, BIT(32)); /* unchanged */
	EXPECT_EQ(memmap_top(&map), BIT(32) + BIT(24));
}

TEST(memmap, take_stays_below_the_limit,
     "an allocation splits a range that crosses the limit")
{
	struct mem_range usable = { BIT(20), BIT(33) };
	struct memmap map;

	memmap_normalise(&map, &usable, 1, NULL, 0);
	EXPECT_EQ(memmap_take(&map, BIT(21), BIT(32)), BIT(32) - BIT(21));
	EXPECT_EQ(map.n, 2);
	EXPECT(!covers(&map, BIT(32) - 1) && covers(&map, BIT(32)));
	EXPECT_EQ(memmap_take(&map, BIT(34), UINT64_MAX), 0);
	EXPECT_EQ(memmap_bytes(&map), BIT(33) - BIT(20) - BIT(21));
}

TEST(memmap, widen_unites, "widened ranges that touch become one")
{
	struct mem_range usable[] = {
		{ 0x1000, 0x2000 },
		{ BIT(20), BIT(21) - PAGE_SIZE },
		{ BIT(21), BIT(21) + PAGE_SIZE },
	};
	struct memmap map;

	memmap_normalise(&map, usable, 3, NULL, 0);
	EXPECT_EQ(map.n, 3);
	memmap_widen(&map, BIT(21));
	EXPECT_EQ(map.n, 1);
	EXPECT(map.r[0].start == 0 && map.r[0].end == BIT(22));
}
