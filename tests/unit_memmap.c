/* SPDX-License-Identifier: MIT */
/*
 * unit_memmap.c - tests memmap.c: a loader's list of memory, made usable
 */
#include "arch/bits.h"
#include "kernel/rand.h"
#include "mm/memmap.h"
#include "tests/test.h"

#define MODEL 512 /* pages that the model knows, one bool each */

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
     "random overlapping lists give exactly the pages that a model gives")
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
     "with more ranges than fit, memory is lost but reserved is never gained")
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

TEST(memmap, far_page_is_not_worth_it,
     "a page at 1 TiB does not cost 8 GiB of frame array")
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

TEST(memmap, take_stays_below_the_limit,
     "taking splits a range that the limit cuts")
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
