/* SPDX-License-Identifier: MIT */
/*
 * track.c - which pages of a range were written: mm_track_writes(), B59
 */
#include "mm/core/track.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/ksm/ksm.h"
#include "mm/reclaim/lazy.h"
#include "mm/space/replace.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define PAGES 8u

/* Return which of the first pages were written since the last call: bit i is page i. */
static uint64_t written(struct mm *mm)
{
	uint64_t pages = 0;

	EXPECT_EQ(mm_take_written(mm, P(0), P(PAGES), &pages), 0);
	EXPECT_STR_NULL(mm_check());
	return pages;
}

/* Return an mm with pages that hold their number plus one, tracked from now on. */
static struct mm *tracked(void)
{
	struct mm *mm = mm_fixture(PAGES);

	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(PAGES)), 0);
	return mm;
}

TEST(track, writes_are_reported_once,
     "a page that was written is reported once, and a page that was read is "
     "not; of fresh memory too")
{
	struct mm *mm = tracked();

	EXPECT_EQ(written(mm), 0);
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_EQ(wr(mm, P(1), 'a'), 0);
	EXPECT_EQ(wr(mm, P(3), 'b'), 0);
	EXPECT_EQ(wr(mm, P(3), 'c'), 0);
	EXPECT_EQ(written(mm), 0x0a);
	EXPECT_EQ(written(mm), 0);
	EXPECT_EQ(wr(mm, P(3), 'd'), 0);
	EXPECT_EQ(written(mm), 0x08);
	EXPECT_EQ(mm_discard(mm, P(4), P(7)), 0);
	EXPECT_EQ(written(mm), 0x70);
	EXPECT_EQ(rd(mm, P(4)), 0);
	EXPECT_EQ(written(mm), 0);
	EXPECT_EQ(wr(mm, P(4), 1), 0); /* the zero page is replaced */
	EXPECT_EQ(wr(mm, P(5), 1), 0); /* a first touch */
	EXPECT_EQ(written(mm), 0x30);
	mm_put(mm);
}

TEST(track, part_of_the_range,
     "a report of a part of the range forgets that part only, and after the "
     "end of the record the regions are as before")
{
	struct mm *mm = tracked();
	uint64_t part;

	for (unsigned i = 0; i < PAGES; i += 2)
		EXPECT_EQ(wr(mm, P(i), 'a'), 0);
	EXPECT_EQ(mm_take_written(mm, P(3), P(5), &part), 0);
	EXPECT_EQ(part, 2);
	EXPECT_EQ(written(mm), 0x45);
	EXPECT_EQ(mm_untrack_writes(mm, P(0), P(PAGES)), 0);
	EXPECT_EQ(region_first(mm, P(0), P(1))->prot, RW);
	EXPECT_EQ(region_first(mm, P(0), P(1))->end, P(PAGES));
	EXPECT_EQ(wr(mm, P(0), 'b'), 0);
	EXPECT_EQ(mm_untrack_writes(mm, P(0), P(PAGES)), -ENOENT);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(track, rights_are_changed_under_it,
     "a protect neither forgets a page that was written nor counts one that "
     "was not, and what it forbids stays forbidden")
{
	struct mm *mm = tracked();

	EXPECT_EQ(wr(mm, P(1), 'a'), 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(4), PROT_R), 0);
	EXPECT_EQ(wr(mm, P(2), 'b'), -EFAULT);
	EXPECT_EQ(mm_protect(mm, P(0), P(6), RW), 0);
	EXPECT_EQ(wr(mm, P(5), 'c'), 0);
	EXPECT_EQ(written(mm), 0x22);
	EXPECT_EQ(wr(mm, P(2), 'd'), 0);
	EXPECT_EQ(written(mm), 0x04);
	EXPECT_EQ(mm_protect(mm, P(0), P(4), PROT_R), 0);
	EXPECT_EQ(written(mm), 0);
	EXPECT_EQ(wr(mm, P(2), 'e'), -EFAULT);
	mm_put(mm);
}

TEST(track, new_memory_counts,
     "a page that was mapped, moved here, or replaced by its owner counts as "
     "written, once; so does memory that grows")
{
	struct mm *mm = tracked();
	struct page *page, *to;

	EXPECT_EQ(mm_unmap(mm, P(6), P(8)), 0);
	EXPECT_EQ(mm_map(mm, P(6), PAGE_SIZE, RW, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(wr(mm, P(6), 1), 0);
	EXPECT_EQ(written(mm) & 0x7f, 0x40);
	EXPECT_EQ(wr(mm, P(6), 2), 0);
	EXPECT_EQ(written(mm), 0x40);
	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(7), PAGE_SIZE, NULL), 0);
	EXPECT_EQ(rd(mm, P(7)), 1);
	EXPECT_EQ(written(mm) & 0xfe, 0x80);
	page = page_at(mm, P(1));
	to = page_alloc();
	REQUIRE(page && to);
	page_copy(to, page);
	EXPECT_EQ(mm_replace_page(mm, P(1), page, to), 0);
	page_put(page);
	page_put(to);
	EXPECT_EQ(written(mm), 0x02);
	EXPECT_EQ(mm_remap(mm, P(7), PAGE_SIZE, 0, 3 * PAGE_SIZE, NULL), 0);
	EXPECT_EQ(wr(mm, P(9), 'z'), 0);
	EXPECT_EQ(written(mm), 0x80);
	EXPECT_EQ(wr(mm, P(7), 'z'), 0);
	EXPECT_EQ(written(mm), 0x80);
	mm_put(mm);
}

TEST(track, page_that_moves_away_is_not_tracked_there,
     "a page that is moved out of the range is written without a note, and a "
     "child is not tracked: its writes do not count in the parent")
{
	struct mm *mm = tracked(), *child;

	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(20), PAGE_SIZE, NULL), 0);
	EXPECT_EQ(wr(mm, P(20), 'm'), 0);
	EXPECT_EQ(wr(mm, P(1), 'a'), 0);
	child = fork_of(mm);
	EXPECT_EQ(wr(child, P(2), 'c'), 0);
	EXPECT_EQ(mm_take_written(child, P(0), P(PAGES), NULL), -ENOENT);
	EXPECT_EQ(written(mm) & ~1u, 0x02);
	EXPECT_EQ(wr(mm, P(3), 'p'), 0); /* a copy */
	EXPECT_EQ(rd(mm, P(4)), 5);
	EXPECT_EQ(written(mm), 0x08);
	EXPECT_EQ(rd(child, P(3)), 4);
	EXPECT_STR_NULL(mm_check());
	mm_put(child);
	EXPECT_EQ(wr(mm, P(5), 'l'), 0); /* the last owner's, in place */
	EXPECT_EQ(written(mm), 0x20);
	mm_put(mm);
}

TEST(track, reaped_page_counts,
     "what the reaper has taken reads as zero, and counts as written")
{
	struct mm *mm = tracked();

	EXPECT_EQ(mm_reap(mm), 0);
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT_EQ(written(mm), 0xff);
	mm_put(mm);
}

/* ---- what becomes of the page -------------------------------------------------- */

TEST(track, note_survives_its_page,
     "a page that was written is reported after it was evicted, moved to "
     "another frame, swapped out or merged; one that was only read there is "
     "not")
{
	struct page *page;
	struct mm *mm;

	swap_fixture_begin(8);
	mm = tracked();
	for (unsigned i = 0; i < 6; i += 2)
		EXPECT_EQ(wr(mm, P(i), 'a' + i), 0);
	for (unsigned i = 0; i < 2; i++) {
		page = page_at(mm, P(i));
		EXPECT_EQ(try_to_unmap(page), 0);
		page_put(page);
		EXPECT_EQ(migrate_at(mm, P(2 + i)), 0);
		EXPECT_EQ(swap_out_at(mm, P(4 + i)), 0);
	}
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(rd(mm, P(i)), i & 1 ? i + 1 : 'a' + i);
	EXPECT_EQ(written(mm), 0x15);
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(wr(mm, P(i), 'x'), 0);
	EXPECT_EQ(written(mm), 0x3f);
	mm_put(mm);
	swap_fixture_end();
}

TEST(track, merged_page_counts_when_it_was_written,
     "a merge counts no page as written and forgets none; the write that "
     "separates two pages counts")
{
	struct mm *mm = tracked();

	EXPECT_EQ(wr(mm, P(3), 3), 0);
	REQUIRE(!ksm_mergeable(mm, P(0), P(PAGES)));
	ksm_scans(2);
	EXPECT(same_frame(mm, P(2), mm, P(3)));
	EXPECT_EQ(written(mm), 0x08);
	EXPECT_EQ(wr(mm, P(2), 'a'), 0);
	EXPECT_EQ(rd(mm, P(3)), 3);
	EXPECT_EQ(written(mm), 0x04);
	REQUIRE(!ksm_unmergeable(mm, P(0), P(PAGES)));
	EXPECT_EQ(written(mm), 0);
	mm_put(mm);
}

TEST(track, given_up_page_counts_when_it_is_dropped,
     "a page that was given up and is dropped reads as zero, and counts as "
     "written")
{
	struct mm *mm = tracked();
	struct page *page;

	EXPECT_EQ(mm_free_lazily(mm, P(2), P(3)), 0);
	EXPECT_EQ(written(mm), 0);
	page = page_at(mm, P(2));
	EXPECT(page_drop_lazy(page));
	page_put(page);
	EXPECT_EQ(rd(mm, P(2)), 0);
	EXPECT_EQ(written(mm), 0x04);
	mm_put(mm);
}

TEST(track, pinned_page_counts_until_it_is_unpinned,
     "a page that is pinned may be written by its frame: each report has it, "
     "and the one after the pin has ended; so does one of a forced pin")
{
	struct mm *mm = tracked();
	struct page *pin;

	REQUIRE(!pin_pages(mm, P(1), 1, PIN_WRITE, &pin));
	EXPECT_EQ(written(mm), 0x02);
	*(uint64_t *)page_va(pin) = 'd';
	EXPECT_EQ(written(mm), 0x02);
	unpin_pages(&pin, 1);
	EXPECT_EQ(written(mm), 0x02);
	EXPECT_EQ(written(mm), 0);
	REQUIRE(!mm_protect(mm, P(2), P(3), PROT_R));
	REQUIRE(!pin_pages(mm, P(2), 1, PIN_WRITE | PIN_FORCE, &pin));
	unpin_pages(&pin, 1);
	EXPECT_EQ(written(mm), 0x04);
	EXPECT_EQ(written(mm), 0);
	mm_put(mm);
}

TEST(track, shared_memory_counts_where_it_is_written,
     "a page of an object counts where it is written, not where it is read or "
     "in the other address space")
{
	struct object *object = object_create(PAGES);
	struct mm *mm, *other;

	REQUIRE(object);
	mm = mm_fixture_shared(object, PAGES);
	other = mm_fixture_shared(object, PAGES);
	object_put(object);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(PAGES)), 0);
	EXPECT_EQ(wr(other, P(0), 'o'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'o');
	EXPECT_EQ(wr(mm, P(1), 'm'), 0);
	EXPECT_EQ(written(mm), 0x02);
	EXPECT_EQ(wr(mm, P(0), 'm'), 0);
	EXPECT_EQ(mm_remap_object(mm, P(4), P(6), 0), 0);
	EXPECT_EQ(written(mm), 0x31);
	mm_put(mm);
	mm_put(other);
}

TEST(track, huge_page_counts_as_a_whole,
     "a write to a page of 2 MiB counts all of it, a read does not, and a "
     "tracked range gets no new one")
{
	static uint64_t bits[N / 64];
	struct mm *mm = huge_filled();
	unsigned n = 0;

	EXPECT_EQ(mm_track_writes(mm, P(0), P(N)), 0);
	EXPECT_EQ(huge_wrong(mm, 0, 5), 0);
	EXPECT_EQ(mm_take_written(mm, P(0), P(N), bits), 0);
	for (unsigned i = 0; i < N / 64; i++)
		EXPECT_EQ(bits[i], 0);
	EXPECT_EQ(wr(mm, P(3) + 8, 'h'), 0);
	EXPECT(entry_huge(entry_at(mm, P(0))));
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(mm_take_written(mm, P(0), P(N), bits), 0);
	for (unsigned i = 0; i < N / 64; i++)
		n += bits[i] == UINT64_MAX;
	EXPECT_EQ(n, N / 64);
	huge_split_slow(mm, P(0));
	EXPECT_EQ(wr(mm, P(70) + 8, 's'), 0);
	EXPECT_EQ(mm_take_written(mm, P(0), P(N), bits), 0);
	EXPECT_EQ(bits[1], BIT(6));
	EXPECT_EQ(bits[0], 0);
	EXPECT_EQ(mm_discard(mm, P(0), P(N)), 0);
	EXPECT_EQ(mm_unmap(mm, P(0), P(N)), 0);
	EXPECT_EQ(mm_map(mm, P(0), BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL), 0);
	EXPECT_EQ(mm_take_written(mm, P(0), P(N), bits), 0);
	EXPECT_EQ(wr(mm, P(3), 'n'), 0);
	EXPECT(!entry_huge(entry_at(mm, P(3))));
	EXPECT_EQ(mm_take_written(mm, P(0), P(N), bits), 0);
	EXPECT_EQ(bits[0], BIT(3));
	mm_put(mm);
}

/* ---- at the same time ----------------------------------------------------------- */

static uint64_t taken;

static void take(void *mm)
{
	taken = written(mm);
}

static void write_first(void *mm)
{
	EXPECT_EQ(wr(mm, P(0), 'w'), 0);
}

TEST(track, report_waits_for_a_write_that_was_noted,
     "a report waits for a fault that has noted its page and has not given W "
     "yet, and the page is in it; if the store comes later, it is in the next "
     "one too")
{
	struct task writer, taker;
	struct mm *mm = tracked();
	struct sync_point g;

	sync_point_set(&g, "track_noted", mm);
	spawn(&writer, write_first, mm);
	sync_point_await(&g);
	spawn(&taker, take, mm);
	EXPECT(still_waits(&taker));
	EXPECT_EQ(rd(mm, P(1)), 2);
	sync_point_release(&g);
	join(&writer);
	join(&taker);
	EXPECT_EQ(taken, 1);
	EXPECT_EQ(rd(mm, P(0)), 'w');
	EXPECT_EQ(written(mm) & ~1u, 0);
	mm_put(mm);
}

TEST(track, cpu_faults_after_a_report,
     "a CPU that has written a page, and keeps the address space, faults at "
     "the "
     "next write after a report, so that the next report has it")
{
	struct mm *mm = tracked();

	mm_bind(mm);
	for (unsigned i = 1; i < 10; i++) {
		EXPECT_EQ(wr(mm, P(2), i), 0);
		EXPECT_EQ(written(mm), 4);
		EXPECT_EQ(written(mm), 0);
	}
	mm_bind(NULL);
	mm_put(mm);
}

static _Atomic unsigned
	turn; /* of the writer if odd                           */

/* Write page 2 in each odd turn, without leaving the address space. */
static void write_in_turn(void *mm)
{
	mm_bind(mm);
	for (unsigned i = 1; i < 20; i += 2) {
		while (atomic_load(&turn) != i)
			cpu_pause();
		EXPECT_EQ(wr(mm, P(2), i), 0);
		atomic_store(&turn, i + 1);
	}
	mm_bind(NULL);
}

TEST_SMP(track, other_cpu_faults_after_a_report,
	 "the same is true of another CPU, whose translation is flushed", 2)
{
	struct mm *mm = tracked();
	struct task writer;

	atomic_store(&turn, 0);
	spawn_on(&writer, BIT(1), write_in_turn, mm);
	for (unsigned i = 1; i < 20; i += 2) {
		atomic_store(&turn, i);
		while (atomic_load(&turn) == i)
			yield();
		EXPECT_EQ(written(mm), 4);
		EXPECT_EQ(written(mm), 0);
	}
	join(&writer);
	mm_put(mm);
}

/* ---- refused --------------------------------------------------------------------- */

TEST(track, bad_ranges_are_refused,
     "a range that is tracked already, too long, or not inside one record is "
     "an error, and changes nothing; a record may have holes and outlive its "
     "memory")
{
	struct mm *mm = tracked();
	uint64_t bits;

	EXPECT_EQ(mm_track_writes(mm, P(7), P(9)), -EEXIST);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(PAGES)), -EEXIST);
	EXPECT_EQ(mm_track_writes(mm, P(9), P(9)), -EINVAL);
	EXPECT_EQ(mm_track_writes(mm, P(9), P(10 + TRACK_PAGES)), -EINVAL);
	EXPECT_EQ(mm_track_writes(mm, P(9), P(9 + TRACK_PAGES)), 0);
	EXPECT_EQ(mm_take_written(mm, P(7), P(10), &bits), -ENOENT);
	EXPECT_EQ(mm_take_written(mm, P(8), P(9), &bits), -ENOENT);
	EXPECT_EQ(mm_untrack_writes(mm, P(0), P(4)), -ENOENT);
	EXPECT_EQ(mm_untrack_writes(mm, P(9), P(9 + TRACK_PAGES)), 0);
	EXPECT_EQ(written(mm), 0);
	EXPECT_EQ(mm_unmap(mm, P(0), P(4)), 0);
	EXPECT_EQ(written(mm), 0);
	mm_put(mm);
}
