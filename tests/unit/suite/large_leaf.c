/* SPDX-License-Identifier: MIT */
/*
 * large_leaf.c - the checker of translation caches knows the size of a leaf
 */
#include "mm/pt/pt_large.h"
#include "tests/checker/cache_checker.h"
#include "tests/fixture/iommu/iommu_fixture.h"
#include "tests/unit/suite/complained.h"

static void flush(struct iommu_fixture *s, struct domain *d, unsigned from,
		  unsigned to)
{
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(from), IO(to)), true);

	fixture_run_commands(s, &c, 1);
}

IOMMU_TEST(checker, small_flush_of_a_large_leaf,
	   "after a flush of 4 KiB every page of a leaf of 2 MiB that a device "
	   "has "
	   "used is reported when it is freed, after one of 2 MiB none")
{
	struct domain *d = fixture_domain(s);
	struct page *block = fixture_large(s, 'A');

	CHECKED_ONLY("has checkers of devices");
	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IO(0), page_pa(block), pt_span(1), IO_RW));
	REQUIRE(fixture_read(s, 0, IO(3)) == 'A' + 3);
	flush(s, d, 3, 4);
	EXPECT(cache_checker_names(block + 3, NULL, 0));
	EXPECT(cache_checker_names(block + 511, NULL, 0));
	EXPECT_STR_NULL(cache_checker_check());
	flush(s, d, 0, 512);
	EXPECT(!cache_checker_names(block + 3, NULL, 0));
	EXPECT(!cache_checker_names(block, NULL, 0));
	EXPECT(complained("none"));
}

IOMMU_TEST(
	checker, part_of_a_large_leaf_is_stale,
	"a cached leaf of 2 MiB is stale when one of the 512 entries that have "
	"replaced it leads elsewhere")
{
	struct domain *d = fixture_domain(s);
	struct page *block = fixture_large(s, 'A');

	CHECKED_ONLY("has checkers of devices");
	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IO(0), page_pa(block), pt_span(1), IO_RW));
	REQUIRE(fixture_read(s, 0, IO(3)) == 'A' + 3);
	REQUIRE(!pt_split(&d->pt, IO(0)));
	EXPECT_STR_NULL(cache_checker_check());
	pt_set(&d->pt, fixture_slot(d, IO(300)), 0);
	EXPECT(cache_checker_check());
	flush(s, d, 0, 512);
	EXPECT_STR_NULL(cache_checker_check());
}
