/* SPDX-License-Identifier: MIT */
/*
 * sweep_layout.c - operations on the layout when allocations fail
 * (tests/fixture/mm/sweep.h)
 *
 * The contract of mm/core/mm.h: on an error nothing has changed.
 */
#include "mm/notifier/interval_notifier.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/sweep.h"

static int try_map(struct mm *mm)
{
	return mm_map(mm, P(100), PAGE_SIZE, RW, 0, NULL, 0, NULL);
}

TEST(sweep, map, "a map survives the failure of each of its allocations")
{
	sweep(NULL, try_map, SNAP_FRAMES, 3);
}

static int try_replace(struct mm *mm)
{
	return mm_map(mm, P(100), 3 * PAGE_SIZE, PROT_R, MAP_REPLACE, NULL, 0,
		      NULL);
}

static void map_100(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(99), 5 * PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
}

TEST(sweep, replace,
     "a map that replaces the middle of a region survives the failure of each "
     "of its allocations")
{
	sweep(map_100, try_replace, SNAP_FRAMES, 5);
}

static int try_replace_pages(struct mm *mm)
{
	return mm_map(mm, P(2), 3 * PAGE_SIZE, PROT_R, MAP_REPLACE, NULL, 0,
		      NULL);
}

static struct object *object;

static int try_replace_object(struct mm *mm)
{
	return mm_map(mm, P(2), 3 * PAGE_SIZE, RW, MAP_REPLACE, object, 0,
		      NULL);
}

TEST(sweep, replace_pages,
     "a map that runs out of memory has not unmapped the pages that it was to "
     "replace")
{
	sweep(NULL, try_replace_pages, SNAP_FRAMES, 5);
	object = object_create(3);
	REQUIRE(object);
	sweep(NULL, try_replace_object, SNAP_FRAMES, 3);
	object_put(object);
}

static int try_unmap(struct mm *mm)
{
	return mm_unmap(mm, P(20), P(22));
}

static void map_20(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(18), 6 * PAGE_SIZE, PROT_R, 0, NULL, 0, NULL) ==
		0);
}

TEST(sweep, unmap,
     "an unmap that splits a region survives the failure of each of its "
     "allocations")
{
	sweep(map_20, try_unmap, SNAP_FRAMES, 2);
}

static int try_protect(struct mm *mm)
{
	return mm_protect(mm, P(2), P(5), RW | PROT_X);
}

TEST(sweep, protect,
     "a protect that splits a region twice survives the failure of each of its "
     "allocations")
{
	sweep(NULL, try_protect, SNAP_FRAMES, 4);
}

static int try_remap(struct mm *mm)
{
	int ret =
		mm_remap(mm, P(2), 3 * PAGE_SIZE, P(3000), 3 * PAGE_SIZE, NULL);

	for (unsigned i = 0; !ret && i < 3; i++)
		EXPECT_EQ(rd(mm, P(3000 + i)), i + 3);
	return ret;
}

/* VA is aligned to 2 MiB: one page into a table, two into the next. */
static int try_straddling_move(struct mm *mm)
{
	return mm_remap(mm, P(2), 3 * PAGE_SIZE, P(1535), 3 * PAGE_SIZE, NULL);
}

TEST(sweep, remap,
     "a move into new tables, one or two, survives the failure of each of its "
     "allocations")
{
	sweep(NULL, try_remap, SNAP_FRAMES, 6);
	sweep(NULL, try_straddling_move, SNAP_FRAMES, 7);
}

static int try_shrinking_move(struct mm *mm)
{
	int ret =
		mm_remap(mm, P(2), 4 * PAGE_SIZE, P(3000), 2 * PAGE_SIZE, NULL);

	for (unsigned i = 0; !ret && i < 2; i++)
		EXPECT_EQ(rd(mm, P(3000 + i)), i + 3);
	return ret;
}

static int try_growing_move(struct mm *mm)
{
	va_t at;
	int ret = mm_remap(mm, P(2), 3 * PAGE_SIZE, 0, 600 * PAGE_SIZE, &at);

	for (unsigned i = 0; !ret && i < 3; i++)
		EXPECT_EQ(rd(mm, at + i * PAGE_SIZE), i + 3);
	return ret;
}

static int try_shrink(struct mm *mm)
{
	return mm_remap(mm, P(2), 4 * PAGE_SIZE, 0, 2 * PAGE_SIZE, NULL);
}

TEST(sweep, remap_of_other_lengths,
     "a move to fewer pages that keeps the tail, a move to more pages, and a "
     "mapping that shrinks survive the failure of each of their allocations")
{
	sweep(NULL, try_shrinking_move, SNAP_FRAMES, 8);
	sweep(NULL, try_growing_move, SNAP_FRAMES, 6);
	sweep(NULL, try_shrink, SNAP_FRAMES, 4);
}

/* Six pages of an object, written. */
static void map_object(struct mm *mm)
{
	struct object *o = object_create(6);

	REQUIRE(o && !mm_map(mm, P(100), 6 * PAGE_SIZE, RW, 0, o, 0, NULL));
	object_put(o);
	for (unsigned i = 0; i < 6; i++)
		REQUIRE(!wr(mm, P(100 + i), i + 1));
}

static int try_remap_object(struct mm *mm)
{
	int ret = mm_remap_object(mm, P(101), P(103), 4);

	for (unsigned i = 0; !ret && i < 2; i++)
		EXPECT_EQ(rd(mm, P(101 + i)), i + 5);
	return ret;
}

TEST(sweep, remap_object,
     "a change of the order of an object's pages that splits a region twice "
     "survives the failure of each of its allocations")
{
	sweep(map_object, try_remap_object, SNAP_FRAMES, 2);
}

static int try_track(struct mm *mm)
{
	return mm_track_writes(mm, P(2), P(5));
}

static int try_take_written(struct mm *mm)
{
	uint64_t pages = 0;
	int ret = mm_take_written(mm, P(3), P(4), &pages);

	if (!ret)
		EXPECT_EQ(pages, 1);
	return ret;
}

static void track_and_write(struct mm *mm)
{
	REQUIRE(!try_track(mm));
	/* What is mapped anew is not tracked before the report, which cuts it. */
	REQUIRE(!mm_map(mm, P(2), 3 * PAGE_SIZE, RW, MAP_REPLACE, NULL, 0,
			NULL));
}

TEST(sweep, track_writes,
     "the begin of a record of writes, and a report, survive the failure of "
     "each of their allocations, and no page is forgotten")
{
	sweep(NULL, try_track, SNAP_FRAMES, 6);
	sweep(track_and_write, try_take_written, SNAP_FRAMES, 4);
}

static int try_mergeable(struct mm *mm)
{
	return ksm_mergeable(mm, P(2), P(5));
}

TEST(sweep, mergeable,
     "an opt-in to merging that splits a region twice survives the failure of "
     "each of its allocations")
{
	sweep(NULL, try_mergeable, SNAP_FRAMES, 4);
}

/* Merge two of the mm's pages with each other. */
static void merge_two(struct mm *mm)
{
	EXPECT_EQ(wr(mm, P(3), 3), 0);
	REQUIRE(!ksm_mergeable(mm, P(0), P(8)));
	ksm_scans(2);
	EXPECT(same_frame(mm, P(2), mm, P(3)));
}

static int try_unmergeable(struct mm *mm)
{
	return ksm_unmergeable(mm, P(1), P(6));
}

TEST(sweep, unmergeable,
     "an opt-out of merging that splits a region and copies pages survives the "
     "failure of each of its allocations")
{
	sweep(merge_two, try_unmergeable, SNAP_CONTENTS, 5);
}

static void want_merge(struct mm *mm)
{
	EXPECT_EQ(wr(mm, P(3), 3), 0);
	REQUIRE(!ksm_mergeable(mm, P(0), P(8)));
}

static int try_scan(struct mm *mm)
{
	int ret = ksm_full_scan();

	return ret ? ret : ksm_full_scan();
}

TEST(sweep, scan,
     "two passes of the scanner that merge survive the failure of each of "
     "their allocations")
{
	sweep(want_merge, try_scan, SNAP_CONTENTS, 3);
}

static bool notified(struct mmu_interval_notifier *mni,
		     const struct mmu_notifier_range *range, uint64_t seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static int try_interval(struct mm *mm)
{
	static const struct mmu_interval_notifier_ops ops = { notified };
	struct mmu_interval_notifier mni;
	int ret = mmu_interval_notifier_insert(&mni, mm, P(0), PAGE_SIZE, &ops);

	if (!ret)
		mmu_interval_notifier_remove(&mni);
	return ret;
}

static int try_register(struct mm *mm)
{
	static const struct mmu_notifier_ops ops;
	struct mmu_notifier mn = { .ops = &ops };
	int ret = mmu_notifier_register(&mn, mm);

	if (!ret)
		mmu_notifier_unregister(&mn);
	return ret;
}

TEST(sweep, first_notifier,
     "the first notifier and the first interval of an address space survive "
     "the failure of each of their allocations")
{
	sweep(NULL, try_register, SNAP_FRAMES, 1);
	sweep(NULL, try_interval, SNAP_FRAMES, 1);
}
