/* SPDX-License-Identifier: MIT */
/*
 * trim.c - an unmap at the end of a region moves that end
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "mm/rmap/block.h"
#include "tests/fixture/mm/mm_fixture.h"

#define PAGES 12u

/* Pages of one region that hold their number plus one. */
static struct mm *filled(struct object *object)
{
	struct mm *mm =
		object ? mm_fixture_shared(object, PAGES) : mm_fixture(PAGES);

	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	return mm;
}

/* [from, to) is mapped, with its content, and nothing else. */
static void expect_rest(struct mm *mm, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(rd(mm, P(i)), i >= from && i < to ? i + 1 : BAD);
}

static void expect_maps(struct mm *mm, unsigned i, unsigned n)
{
	struct page *page = page_at(mm, P(i));

	REQUIRE(page);
	EXPECT_EQ(page_maps(page), n);
	EXPECT_EQ(visits(page), n);
	EXPECT_EQ(mappings(page), n);
	page_put(page);
}

TEST(trim, needs_no_memory,
     "an unmap at either end of a region makes no region: it cannot fail, and "
     "the region stays one")
{
	struct mm *mm = filled(NULL);
	struct region *r;

	inject_arm(1);
	EXPECT_EQ(mm_unmap(mm, P(0), P(2)), 0);
	EXPECT_EQ(mm_unmap(mm, P(9), P(PAGES)), 0);
	EXPECT(!inject_disarm());
	rw_read_lock(&mm->lock);
	r = region_first(mm, USER_START, USER_END);
	EXPECT(r && r->start == P(2) && r->end == P(9));
	EXPECT(r && !region_next(r, USER_START, USER_END));
	rw_read_unlock(&mm->lock);
	expect_rest(mm, 2, 9);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

static void reverse_map_follows(struct object *object)
{
	struct mm *mm = filled(object), *kid = fork_of(mm);

	expect_rest(kid, 0,
		    PAGES); /* the object's pages are mapped by faults */
	/* The parent's part begins behind the child's, then the child's behind. */
	EXPECT_EQ(mm_unmap(mm, P(0), P(3)), 0);
	expect_maps(kid, 1, 1);
	expect_maps(kid, 3, 2);
	EXPECT_EQ(mm_unmap(kid, P(0), P(5)), 0);
	EXPECT_EQ(mm_unmap(kid, P(10), P(PAGES)), 0);
	expect_maps(mm, 4, 1);
	expect_maps(mm, 5, 2);
	expect_maps(mm, 9, 2);
	expect_maps(mm, 10, 1);
	expect_rest(mm, 3, PAGES);
	expect_rest(kid, 5, 10);
	EXPECT_STR_NULL(mm_check());
	mm_put(kid);
	mm_put(mm);
}

TEST(trim, reverse_map_follows,
     "after the regions of a parent and of its child were trimmed at both "
     "ends, "
     "a walk finds each page where it is mapped, and nowhere else (C66)")
{
	struct object *object = object_create(PAGES);

	REQUIRE(object);
	reverse_map_follows(NULL);
	reverse_map_follows(object);
	object_put(object);
}

TEST(trim, evicted_pages_come_back,
     "a page of a trimmed region is evicted from every table, and the next "
     "fault maps the same page: its number is the region's still")
{
	struct mm *mm = filled(NULL), *kid = fork_of(mm);
	struct page *page;

	EXPECT_EQ(mm_unmap(mm, P(0), P(4)), 0);
	page = page_at(mm, P(6));
	REQUIRE(page);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(page_maps(page), 0);
	expect_rest(mm, 4, PAGES);
	expect_rest(kid, 0, PAGES);
	EXPECT_EQ(page_maps(page), 2);
	page_put(page);
	expect_maps(mm, 6, 2);
	EXPECT_STR_NULL(mm_check());
	mm_put(kid);
	expect_rest(mm, 4, PAGES);
	mm_put(mm);
}

TEST(trim, replaced_over_two_ends,
     "a mapping that replaces the end of one region and the begin of the next "
     "trims both")
{
	struct mm *mm = filled(NULL);

	EXPECT_EQ(mm_protect(mm, P(6), P(PAGES), PROT_R), 0);
	EXPECT_EQ(
		mm_map(mm, P(4), 4 * PAGE_SIZE, RW, MAP_REPLACE, NULL, 0, NULL),
		0);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(rd(mm, P(i)), i >= 4 && i < 8 ? 0 : i + 1);
		EXPECT_EQ(wr(mm, P(i), i + 1), i < 8 ? 0 : -EFAULT);
	}
	expect_rest(mm, 0, PAGES);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(trim, huge_entry_is_split,
     "an unmap whose end is inside 2 MiB splits their entry, and the pages "
     "that stay have their content")
{
	struct mm *mm = mm_create();
	unsigned n = BLOCK_SIZE / PAGE_SIZE;

	REQUIRE(mm);
	REQUIRE(!mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, P(1), 2), 0);
	EXPECT_EQ(wr(mm, P(n - 2), n - 1), 0);
	EXPECT(entry_at(mm, VA) & PTE_PS);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	EXPECT_EQ(mm_unmap(mm, P(n - 1), P(n)), 0);
	EXPECT(!(entry_at(mm, P(1)) & PTE_PS));
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(rd(mm, P(2)), 0);
	EXPECT_EQ(rd(mm, P(n - 2)), n - 1);
	EXPECT_EQ(rd(mm, P(n - 1)), BAD);
	EXPECT_EQ(mm->mapped, n - 2);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}
