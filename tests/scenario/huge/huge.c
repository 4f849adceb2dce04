/* SPDX-License-Identifier: MIT */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/frame/pmm.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sweep.h"
/*
 * huge.c - pages of 2 MiB are made and split (mm/huge/HUGE.md)
 */

/* ---- first touch ---------------------------------------------------------- */

TEST(huge, first_write_makes_one_entry,
     "a first write in a region that wants huge pages maps 2 MiB of zeroes by "
     "one dirty entry, and counts one mapping in the head")
{
	struct huge_stat before, after;
	struct page *head;
	struct mm *mm;
	uint64_t e;

	mm_put(huge_filled()); /* its block is used again */
	mm = huge_fixture();
	huge_stat(&before);
	EXPECT_EQ(wr(mm, P(77), 5), 0);
	huge_stat(&after);
	EXPECT_EQ(after.faults - before.faults, 1);
	e = entry_at(mm, VA);
	EXPECT(entry_huge(e) && (e & PTE_W) && (e & PTE_D));
	EXPECT_EQ(mm->mapped, N);
	head = huge_head(mm);
	EXPECT(IS_ALIGNED(page_pa(head), BLOCK_SIZE));
	EXPECT_EQ(page_count(head), PAGE_MAP);
	EXPECT_EQ(page_count(head + 77), 0);
	EXPECT_EQ(rd(mm, P(77)), 5);
	for (unsigned i = 0; i < N; i++)
		if (i != 77)
			EXPECT_EQ(rd(mm, P(i)), 0);
	EXPECT_EQ(entry_at(mm, Q(0)), 0);
	mm_put(mm);
}

TEST(huge, edges_get_small_pages,
     "where the aligned 2 MiB cross the region's edge a first write maps one "
     "page")
{
	struct mm *mm = mm_create();

	REQUIRE(mm);
	REQUIRE(!mm_map(mm, P(1), 2 * BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, P(1), 1), 0);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(wr(mm, Q(N), 1), 0);
	EXPECT_EQ(mm->mapped, 2);
	EXPECT_EQ(wr(mm, Q(5), 1), 0);
	EXPECT_EQ(mm->mapped, 2 + N);
	EXPECT(entry_huge(entry_at(mm, Q(0))));
	mm_put(mm);
}

TEST(huge, small_entry_stands_in_the_way,
     "where a page is mapped already a first write maps one page, and so it "
     "does in a region without the advice, or with an object")
{
	struct object *o = object_create(N);
	struct mm *mm = huge_fixture();

	REQUIRE(o);
	EXPECT_EQ(mm_advise_huge(mm, P(0), Q(0), false), 0);
	EXPECT_EQ(rd(mm, P(3)), 0); /* the zero page of 4 KiB */
	EXPECT_EQ(mm_advise_huge(mm, P(0), Q(0), true), 0);
	EXPECT_EQ(wr(mm, P(4), 1), 0);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(mm_advise_huge(mm, Q(0), R(0), false), 0);
	EXPECT_EQ(wr(mm, Q(4), 1), 0);
	EXPECT_EQ(mm->mapped, 2);
	REQUIRE(!mm_map(mm, R(0), BLOCK_SIZE, RW, MAP_REPLACE | MAP_HUGE, o, 0,
			NULL));
	EXPECT_EQ(wr(mm, R(4), 1), 0);
	EXPECT_EQ(mm->mapped, 3);
	mm_put(mm);
	object_put(o);
}

TEST(huge, advice_is_checked,
     "the advice refuses an unaligned range and a hole, and joins what it "
     "makes "
     "alike")
{
	struct mm *mm = mm_fixture(2 * N);

	EXPECT_EQ(mm_advise_huge(mm, VA + 1, P(2), true), -EINVAL);
	EXPECT_EQ(mm_advise_huge(mm, P(0), P(2 * N + 1), true), -ENOENT);
	EXPECT_EQ(mm_advise_huge(mm, P(0), P(N), true), 0);
	EXPECT_EQ(wr(mm, P(9), 1), 0);
	EXPECT_EQ(mm->mapped, N);
	EXPECT_EQ(mm_advise_huge(mm, P(0), P(N), false), 0);
	rw_read_lock(&mm->lock);
	EXPECT_EQ(region_find(mm, P(0))->end, P(2 * N));
	rw_read_unlock(&mm->lock);
	EXPECT(entry_huge(entry_at(mm, P(0)))); /* stays as it is */
	mm_put(mm);
}

TEST(huge, fault_without_memory_gets_a_small_page,
     "a first write for which there is no block, or no table for its split, "
     "maps one page, and the fallback is counted")
{
	for (unsigned n = 1; n <= 2; n++) {
		struct huge_stat before, after;
		struct mm *mm = huge_fixture();
		int ret;

		huge_stat(&before);
		inject_arm(n);
		ret = mm_fault(mm, P(7), PROT_W);
		EXPECT(inject_disarm());
		huge_stat(&after);
		EXPECT_EQ(ret, 0);
		EXPECT_EQ(mm->mapped, 1);
		EXPECT_EQ(after.fallbacks - before.fallbacks, 1);
		EXPECT_EQ(after.faults, before.faults);
		mm_put(mm);
	}
}

static int try_first_write(struct mm *mm)
{
	return mm_fault(mm, Q(0), PROT_W);
}

static void map_second(struct mm *mm)
{
	REQUIRE(!mm_map(mm, Q(0), BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
}

TEST(huge, fault_survives_each_failure,
     "a first write that may make a huge page survives the failure of each of "
     "its allocations")
{
	sweep(map_second, try_first_write, SNAP_CONTENTS, 0);
}

/* ---- split ---------------------------------------------------------------- */

TEST(huge, split_keeps_frames_rights_and_bits,
     "a split maps the same frames with the same rights, A and D, and each "
     "frame is counted")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);
	uint64_t e = entry_at(mm, VA) & ~PTE_PS;
	unsigned differ = 0, miscounted = 0;

	EXPECT(e & PTE_A && e & PTE_D);
	spin_lock(&mm->pt_lock);
	huge_split(mm, P(300));
	spin_unlock(&mm->pt_lock);
	for (unsigned i = 0; i < N; i++) {
		differ += entry_at(mm, P(i)) != e + i * PAGE_SIZE;
		miscounted += page_count(head + i) != PAGE_MAP ||
			      !page_exclusive(head + i);
	}
	EXPECT_EQ(differ, 0);
	EXPECT_EQ(miscounted, 0);
	EXPECT_EQ(mm->mapped, N);
	EXPECT(!mm->deposit);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge, split_is_flushed_whole,
     "a split makes every MMU drop its translations of the whole 2 MiB, and "
     "opens no invalidation")
{
	struct mm *mm = huge_filled();
	struct recorder r;

	record(&r, mm);
	spin_lock(&mm->pt_lock);
	huge_split(mm, P(300));
	spin_unlock(&mm->pt_lock);
	EXPECT_RECORDED(&r, "range 0-512");
	record_end(&r);
	mm_put(mm);
}

TEST(huge, clean_entry_splits_clean,
     "a split of an entry without A, D and W makes entries without them")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	unsigned set = 0;

	EXPECT(!(entry_at(child, VA) & (PTE_A | ENTRY_W)));
	spin_lock(&child->pt_lock);
	pte_and(huge_slot(child, VA), ~PTE_D);
	huge_split(child, VA);
	spin_unlock(&child->pt_lock);
	for (unsigned i = 0; i < N; i++)
		set += (entry_at(child, P(i)) & (PTE_A | PTE_D | ENTRY_W)) != 0;
	EXPECT_EQ(set, 0);
	mm_put(child);
	mm_put(mm);
}

TEST(huge, partial_unmap_frees_at_once,
     "an unmap of a part splits the entry and frees the frames of the part at "
     "once")
{
	struct mm *mm = huge_filled();
	uint64_t before = free_now();

	EXPECT_EQ(mm_unmap(mm, P(100), P(300)), 0);
	/* The second region needs objects of the pools. */
	EXPECT(free_now() >= before + 200 - 4);
	EXPECT_EQ(mm->mapped, N - 200);
	EXPECT_EQ(rd(mm, P(100)), BAD);
	EXPECT_EQ(huge_wrong(mm, 0, 100), 0);
	EXPECT_EQ(huge_wrong(mm, 300, N), 0);
	mm_put(mm);
}

TEST(huge, whole_unmap_splits_nothing,
     "an unmap of all 2 MiB frees the block and its table without a split")
{
	struct mm *mm = huge_fixture();
	uint64_t before = free_now(), split = huge_splits();

	EXPECT_EQ(wr(mm, P(3), 1), 0);
	EXPECT(free_now() <= before - N - 1);
	EXPECT_EQ(mm_discard(mm, P(0), P(N)), 0);
	EXPECT(free_now() >= before - 3); /* tables above stay */
	EXPECT_EQ(wr(mm, P(3), 1), 0);
	EXPECT_EQ(mm_unmap(mm, P(0), P(3 * N)), 0);
	EXPECT_EQ(huge_splits(), split);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT(!mm->deposit);
	mm_put(mm);
}

TEST(huge, second_cut_splits_nothing,
     "a cut through a page that is split already leaves its table, also while "
     "the address space has another huge page")
{
	struct mm *mm = huge_filled();
	uint64_t split;

	EXPECT_EQ(wr(mm, Q(0), 1), 0);
	EXPECT_EQ(mm_unmap(mm, P(3), P(4)), 0);
	split = huge_splits();
	EXPECT_EQ(mm_unmap(mm, P(9), P(10)), 0);
	EXPECT_EQ(huge_splits(), split);
	EXPECT_EQ(huge_wrong(mm, 4, 9) + huge_wrong(mm, 10, N), 0);
	EXPECT(entry_huge(entry_at(mm, Q(0))));
	mm_put(mm);
}

TEST(huge, partial_discard_reads_zero,
     "a discard that begins or ends inside 2 MiB takes the pages of its range "
     "alone")
{
	struct mm *mm = huge_filled();

	EXPECT_EQ(wr(mm, Q(0), 1), 0);
	EXPECT_EQ(mm_discard(mm, P(500), Q(10)), 0);
	EXPECT_EQ(huge_wrong(mm, 0, 500), 0);
	for (unsigned i = 500; i < N + 10; i++)
		EXPECT_EQ(rd(mm, P(i)), 0);
	EXPECT_EQ(mm->mapped, 500 + N - 10);
	mm_put(mm);
}

TEST(huge, partial_protect_splits,
     "a protect of a part splits and changes the rights of the part alone, one "
     "of all 2 MiB changes one entry")
{
	struct mm *mm = huge_filled();
	uint64_t split = huge_splits();

	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_R), 0);
	EXPECT_EQ(wr(mm, P(1), 7), -EFAULT);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_NONE), 0);
	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), RW), 0);
	EXPECT_EQ(huge_splits(), split);
	EXPECT(entry_at(mm, VA) & PTE_W); /* exclusive: no fault needed */
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm_protect(mm, P(10), P(20), PROT_R), 0);
	EXPECT_EQ(huge_splits(), split + 1);
	EXPECT_EQ(wr(mm, P(9), 10), 0);
	EXPECT_EQ(wr(mm, P(10), 7), -EFAULT);
	EXPECT_EQ(wr(mm, P(19), 7), -EFAULT);
	EXPECT_EQ(wr(mm, P(20), 21), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge, protect_flushes_the_leaf,
     "a protect of 2 MiB by one entry flushes all of it")
{
	struct mm *mm = huge_filled();
	struct recorder r;

	record(&r, mm);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_R), 0);
	EXPECT_RECORDED(&r, "start vma 0-512; range 0-512; end 0-512");
	record_end(&r);
	mm_put(mm);
}

TEST(huge, split_keeps_what_is_dirty,
     "a frame of a split block is dirty if the block was, or if it was marked "
     "itself")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);

	EXPECT(!page_test(head, PG_DIRTY));
	page_set_dirty(head + 7); /* as a mirror does */
	huge_split_at(mm, P(1));
	EXPECT(page_test(head + 7, PG_DIRTY));
	EXPECT(!page_test(head + 8, PG_DIRTY));
	mm_put(mm);

	mm = huge_filled();
	head = huge_head(mm);
	block_set_dirty(head);
	huge_split_at(mm, P(1));
	EXPECT(page_test(head, PG_DIRTY));
	EXPECT(page_test(head + 8, PG_DIRTY));
	mm_put(mm);
}

TEST(huge, noaccess_entry_splits,
     "a huge entry without access splits into entries without access, which "
     "keep the pages")
{
	struct mm *mm = huge_filled();

	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_NONE), 0);
	EXPECT_EQ(mm_protect(mm, P(10), P(20), RW), 0);
	EXPECT_EQ(rd(mm, P(9)), BAD);
	EXPECT_EQ(rd(mm, P(20)), BAD);
	EXPECT_EQ(huge_wrong(mm, 10, 20), 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), RW), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge, moved_part_keeps_contents,
     "a move of a part, and of all, keeps the contents, to an address of any "
     "alignment")
{
	struct mm *mm = huge_filled();
	unsigned bad = 0;

	EXPECT_EQ(mm_remap(mm, P(10), 20 * PAGE_SIZE, P(9 * N + 5),
			   20 * PAGE_SIZE, NULL),
		  0);
	for (unsigned i = 0; i < 20; i++)
		bad += rd(mm, P(9 * N + 5 + i)) != 10 + i + 1;
	EXPECT_EQ(bad, 0);
	EXPECT_EQ(rd(mm, P(10)), BAD);
	EXPECT_EQ(huge_wrong(mm, 0, 10), 0);
	EXPECT_EQ(huge_wrong(mm, 30, N), 0);
	EXPECT_EQ(wr(mm, Q(3), 33), 0);
	EXPECT_EQ(mm_remap(mm, Q(0), BLOCK_SIZE, P(12 * N), BLOCK_SIZE, NULL),
		  0);
	EXPECT_EQ(rd(mm, P(12 * N + 3)), 33);
	mm_put(mm);
}
