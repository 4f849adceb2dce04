/* SPDX-License-Identifier: MIT */
/*
 * hugetlb.c - a device in a region of the fixed pool
 */
#include "mm/frame/huge_pool.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"

#define AWAY(i) P(8 * N + (i))

USER_TEST(hugetlb, freed_block_is_lost_to_the_device,
	  "a device uses two blocks of the pool; after an unmap of one, which "
	  "another address space gets, it reaches no part of that, and all of "
	  "the other: what loses its mapping is what is flushed (H38)")
{
	unsigned at_boot = huge_pool_stat().total;
	static const unsigned parts[] = { 0, 77, 511 };
	struct mm *mm, *other;
	struct page *block;

	if (at_boot || huge_pool_resize(2) != 2) {
		huge_pool_resize(at_boot);
		test_skip("needs memory in blocks of 2 MiB");
	}
	mm = fixture_mm(s, 1);
	other = mm_create();
	REQUIRE(other && !mm_map(mm, AWAY(0), 2 * BLOCK_SIZE, RW, MAP_HUGETLB,
				 NULL, 0, NULL));
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		EXPECT_EQ(fixture_store(s, 0, AWAY(parts[i]), 'a'), 0);
		EXPECT_EQ(rd(mm, AWAY(parts[i])), 'a');
		EXPECT_EQ(fixture_store(s, 0, AWAY(N + parts[i]), 'b'), 0);
	}
	block = entry_page(entry_at(mm, AWAY(0)));
	EXPECT_EQ(mm_unmap(mm, AWAY(0), AWAY(N)), 0);
	REQUIRE(!mm_map(other, VA, BLOCK_SIZE, RW, MAP_HUGETLB, NULL, 0, NULL));
	EXPECT(entry_page(entry_at(other, VA)) == block);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		EXPECT_EQ(fixture_read(s, 0, AWAY(parts[i])), BLOCKED);
		fixture_write(s, 0, AWAY(parts[i]), 'x');
		EXPECT_EQ(rd(other, P(parts[i])), 0);
		EXPECT_EQ(fixture_read(s, 0, AWAY(N + parts[i])), 'b');
	}
	EXPECT_STR_NULL(fixture_check(0));
	EXPECT_EQ(mm_unmap(mm, AWAY(N), AWAY(2 * N)), 0);
	mm_put(other);
	EXPECT_EQ(huge_pool_resize(at_boot), at_boot);
}
