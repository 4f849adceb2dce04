/* SPDX-License-Identifier: MIT */
/*
 * refused.c - an operation that is refused has changed nothing
 *
 * Refused for what is asked, not for want of memory: that is tests/scenario/mm/sweep.c.  The
 * whole state is compared (tests/fixture/mm/snapshot.h).
 */
#include "kernel/err.h"
#include "mm/ksm/ksm.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/fixture/mm/snapshot.h"

/* Eight private pages that hold their number plus one. */
static struct mm *eight(void)
{
	struct mm *mm = mm_fixture(8);

	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	return mm;
}

/* The call returns error, and that is all. */
#define REFUSED(error, call)                         \
	do {                                         \
		snapshot_take(SNAP_STATE);           \
		EXPECT_EQ(call, error);              \
		EXPECT_STR_NULL(snapshot_changed()); \
	} while (0)

TEST(refused, move_to_a_taken_place_keeps_the_tail,
     "a refused move to fewer pages, at a taken address, unmaps nothing")
{
	struct mm *mm = eight();

	REFUSED(-EEXIST,
		mm_remap(mm, P(0), 4 * PAGE_SIZE, P(6), 2 * PAGE_SIZE, NULL));
	REFUSED(-EEXIST,
		mm_remap(mm, P(0), 2 * PAGE_SIZE, P(6), 2 * PAGE_SIZE, NULL));
	REFUSED(-EEXIST,
		mm_remap(mm, P(0), 2 * PAGE_SIZE, P(5), 4 * PAGE_SIZE, NULL));
	mm_put(mm);
}

TEST(refused, move_of_more_than_one_region_is_refused,
     "a refused move of a hole, of two regions or beyond an object changes "
     "nothing")
{
	struct mm *mm = eight();
	struct object *o = object_create(4);

	REQUIRE(o);
	REQUIRE(!mm_protect(mm, P(4), P(8), PROT_R));
	REQUIRE(!mm_map(mm, P(20), 2 * PAGE_SIZE, RW, 0, o, 1, NULL));
	REFUSED(-ENOENT,
		mm_remap(mm, P(2), 4 * PAGE_SIZE, P(40), 4 * PAGE_SIZE, NULL));
	REFUSED(-ENOENT, mm_remap(mm, P(9), PAGE_SIZE, P(40), PAGE_SIZE, NULL));
	REFUSED(-EINVAL,
		mm_remap(mm, P(20), 2 * PAGE_SIZE, P(40), 4 * PAGE_SIZE, NULL));
	REFUSED(-EINVAL,
		mm_remap(mm, P(2), 2 * PAGE_SIZE, P(3), 2 * PAGE_SIZE, NULL));
	REFUSED(-ENOMEM, mm_remap(mm, P(2), PAGE_SIZE, 0, USER_END, NULL));
	mm_put(mm);
	object_put(o);
}

TEST(refused, protect_and_merge_of_a_hole_are_refused,
     "a protect, an opt-in to merging and a mapping that are refused change "
     "nothing")
{
	struct mm *mm = eight();
	struct object *o = object_create(4);

	REQUIRE(o);
	REFUSED(-EEXIST, mm_map(mm, P(7), 2 * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	REFUSED(-EINVAL,
		mm_map(mm, P(6), 2 * PAGE_SIZE, RW, MAP_REPLACE, o, 3, NULL));
	REFUSED(-ENOENT, mm_protect(mm, P(6), P(10), PROT_R));
	REFUSED(-ENOENT, ksm_mergeable(mm, P(6), P(10)));
	REFUSED(-ENOENT, ksm_unmergeable(mm, P(6), P(10)));
	mm_put(mm);
	object_put(o);
}

/* Each changes something, and says whether it could. */
static int by_map(struct mm *mm)
{
	return mm_map(mm, P(9), PAGE_SIZE, RW, 0, NULL, 0, NULL);
}

static int by_rights(struct mm *mm)
{
	return mm_protect(mm, P(9), P(10), PROT_R); /* no entry is there */
}

static int by_flags(struct mm *mm)
{
	return ksm_mergeable(mm, P(9), P(10));
}

static int by_store(struct mm *mm)
{
	return wr(mm, P(1) + 512, 7);
}

static int by_fork(struct mm *mm)
{
	struct mm *child = fork_of(mm); /* takes W, and goes */

	mm_put(child);
	return 0;
}

static int by_count(struct mm *mm)
{
	return page_at(mm, P(2)) == NULL; /* keeps the reference */
}

static int by_family(struct mm *mm)
{
	int ret = mm_unmap(mm, P(9), P(10));

	return ret ? ret
		   : mm_map(mm, P(9), PAGE_SIZE, PROT_R, 0, NULL, 0, NULL);
}

static int by_table(struct mm *mm)
{
	return mm_unmap(mm, P(0), P(10));
}

TEST(refused, snapshot_detects_each_change,
     "the comparison that these tests use detects a changed region, right, "
     "flag, word, entry, count, anon_vma and table")
{
	static int (*const change[])(struct mm *) = {
		by_map,  by_rights, by_flags,  by_store,
		by_fork, by_count,  by_family, by_table,
	};
	struct mm *mm = eight();
	struct page *page = page_at(mm, P(2));

	for (unsigned i = 0; i < ARRAY_SIZE(change); i++) {
		snapshot_take(SNAP_STATE);
		EXPECT_STR_NULL(snapshot_changed());
		EXPECT_EQ(change[i](mm), 0);
		if (!snapshot_changed())
			test_fail(__FILE__, __LINE__, "change %u is not seen",
				  i);
	}
	page_put(page);
	page_put(page); /* that of by_count() */
	mm_put(mm);
}

TEST(refused, pinned_and_locked_pages_stay,
     "an eviction of a page that is pinned or in a locked region changes no "
     "entry of it")
{
	struct mm *mm = eight();
	struct page *page, *pinned;

	REQUIRE(!mm_map(mm, P(20), PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	REQUIRE(!wr(mm, P(20), 7));
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &pinned));
	page = page_at(mm, P(20));
	REFUSED(-EBUSY, try_to_unmap(page));
	REFUSED(-EBUSY, try_to_unmap(pinned));
	page_put(page);
	unpin_pages(&pinned, 1);
	mm_put(mm);
}
