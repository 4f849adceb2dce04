/* SPDX-License-Identifier: MIT */
/*
 * huge_zero.c - reads of 2 MiB that nothing was written to (mm/rmap/huge_zero.h)
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/huge/collapse.h"
#include "mm/ksm/ksm.h"
#include "mm/rmap/huge_zero.h"
#include "mm/space/pin.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* An mm with three times 2 MiB at VA, of which the first is the block of zeroes. */
static struct mm *zeroes(void)
{
	struct mm *mm = huge_fixture();

	REQUIRE(rd(mm, P(77)) == 0);
	REQUIRE(huge_head(mm) == huge_zero);
	return mm;
}

/* Are pages [from, to) all zeroes? */
static bool reads_zero(struct mm *mm, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (rd(mm, P(i)))
			return false;
	return true;
}

TEST(huge_zero, first_read_maps_all,
     "a first read in a region that wants huge pages maps 2 MiB of zeroes by "
     "one entry, which no MMU may write through; all such places share one "
     "block, which counts its entries and no memory of the address space")
{
	struct mm *mm = zeroes();
	uint64_t e = entry_at(mm, VA);

	EXPECT(entry_huge(e) && (e & PTE_P) && (e & PTE_A));
	EXPECT(!(e & (ENTRY_W | PTE_D)));
	EXPECT_EQ(entry_state(e), STATE_ZERO);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(page_maps(huge_zero), 1);
	EXPECT_EQ(rd(mm, Q(3)), 0);
	EXPECT(entry_page(entry_at(mm, Q(0))) == huge_zero);
	EXPECT_EQ(page_maps(huge_zero), 2);
	EXPECT(reads_zero(mm, 0, 2 * N));
	mm_put(mm);
	EXPECT_EQ(page_maps(huge_zero), 0);
}

TEST(huge_zero, read_without_memory_gets_a_small_page,
     "a first read for which there is no block of zeroes, or no table for its "
     "split, maps the zero page of 4 KiB, and the fallback is counted")
{
	for (unsigned n = 1; n <= 2; n++) {
		struct huge_stat before, after;
		struct mm *mm = huge_fixture();
		int ret;

		huge_zero_forget();
		huge_stat(&before);
		inject_arm(n);
		ret = mm_fault(mm, P(7), PROT_R);
		EXPECT(inject_disarm());
		huge_stat(&after);
		EXPECT_EQ(ret, 0);
		EXPECT(entry_page(entry_at(mm, P(7))) == zero_page);
		EXPECT_EQ(after.fallbacks - before.fallbacks, 1);
		mm_put(mm);
	}
}

TEST(huge_zero, edges_get_small_zeroes,
     "where the aligned 2 MiB cross the region's edge, without the advice and "
     "in an address space with a limit a first read maps 4 KiB")
{
	struct mm *mm = mm_create();

	REQUIRE(mm);
	REQUIRE(!mm_map(mm, P(1), 2 * BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT(entry_page(entry_at(mm, P(1))) == zero_page);
	EXPECT_EQ(mm_advise_huge(mm, P(1), Q(N + 1), false), 0);
	EXPECT_EQ(rd(mm, Q(3)), 0);
	EXPECT(entry_page(entry_at(mm, Q(3))) == zero_page);
	mm_put(mm);
	mm = huge_fixture();
	mm_set_limit(mm, 1000);
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT(entry_page(entry_at(mm, P(1))) == zero_page);
	mm_put(mm);
}

TEST(huge_zero, write_gets_a_block,
     "a write puts a block of its own in place of the zeroes, without a split: "
     "start, clear, flush of all MMUs, set, end")
{
	struct mm *mm = zeroes();
	uint64_t split = huge_splits();
	struct recorder r;

	REQUIRE(rd(mm, Q(0)) == 0);
	record(&r, mm);
	EXPECT_EQ(wr(mm, P(300), 5), 0);
	EXPECT_RECORDED(&r, "start clear 0-512; range 0-512; end 0-512");
	EXPECT_EQ(huge_splits(), split);
	EXPECT(entry_huge(entry_at(mm, VA)) && huge_head(mm) != huge_zero);
	EXPECT(page_exclusive(huge_head(mm)));
	EXPECT_EQ(mm->mapped, N);
	EXPECT_EQ(page_maps(huge_zero), 1);
	EXPECT_EQ(rd(mm, P(300)), 5);
	EXPECT(reads_zero(mm, 0, 300) && reads_zero(mm, 301, N));
	EXPECT_EQ(rd(mm, Q(300)), 0); /* the block was not written */
	record_end(&r);
	mm_put(mm);
}

TEST(huge_zero, write_without_memory_splits,
     "a write for which there is no block gets one page; the other 511 stay "
     "zeroes, and the fallback is counted")
{
	struct mm *mm = zeroes();
	struct huge_stat before, after;

	huge_stat(&before);
	inject_arm(1);
	EXPECT_EQ(mm_fault(mm, P(7), PROT_W), 0);
	EXPECT(inject_disarm());
	huge_stat(&after);
	EXPECT_EQ(after.fallbacks - before.fallbacks, 1);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(page_maps(huge_zero), 0);
	EXPECT_EQ(wr(mm, P(7), 7), 0);
	EXPECT(reads_zero(mm, 0, 7) && reads_zero(mm, 8, N));
	EXPECT(entry_page(entry_at(mm, P(8))) == zero_page);
	mm_put(mm);
}

TEST(huge_zero, write_after_the_advice_has_gone,
     "a write to the zeroes of a region that does not want huge pages any more "
     "gets one page")
{
	struct mm *mm = zeroes();

	EXPECT_EQ(mm_advise_huge(mm, P(0), P(3 * N), false), 0);
	EXPECT_EQ(wr(mm, P(7), 7), 0);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT(reads_zero(mm, 0, 7) && reads_zero(mm, 8, N));
	mm_put(mm);
}

TEST(huge_zero, partial_unmap_splits,
     "an unmap, a discard and a protect of a part split the entry into 512 of "
     "the zero page, without memory for a page and clean")
{
	struct mm *mm = zeroes();
	uint64_t split = huge_splits();

	EXPECT_EQ(mm_unmap(mm, P(3), P(4)), 0);
	EXPECT_EQ(huge_splits(), split + 1);
	EXPECT_EQ(rd(mm, P(3)), BAD);
	EXPECT(entry_page(entry_at(mm, P(4))) == zero_page);
	EXPECT(!(entry_at(mm, P(4)) & (PTE_D | ENTRY_W | PTE_PS)));
	EXPECT_EQ(rd(mm, Q(0)), 0);
	EXPECT_EQ(mm_discard(mm, Q(3), Q(4)), 0);
	EXPECT_EQ(rd(mm, R(0)), 0);
	EXPECT_EQ(mm_protect(mm, R(3), R(4), PROT_R), 0);
	EXPECT_EQ(wr(mm, R(3), 1), -EFAULT);
	EXPECT_EQ(huge_splits(), split + 3);
	EXPECT_EQ(page_maps(huge_zero), 0);
	EXPECT(reads_zero(mm, 4, 3 * N));
	EXPECT_EQ(mm->mapped, 0);
	mm_put(mm);
}

TEST(huge_zero, whole_changes_split_nothing,
     "protect, discard and move of the whole entry leave it one entry without "
     "W, and a move of pages that KSM may know sets no D")
{
	struct mm *mm = zeroes();
	uint64_t split = huge_splits();

	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_NONE), 0);
	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), RW), 0);
	EXPECT(!(entry_at(mm, VA) & ENTRY_W));
	EXPECT_EQ(ksm_mergeable(mm, P(0), P(3 * N)), 0);
	EXPECT_EQ(mm_remap(mm, P(0), BLOCK_SIZE, P(8 * N), BLOCK_SIZE, NULL),
		  0);
	EXPECT(entry_page(entry_at(mm, P(8 * N))) == huge_zero);
	EXPECT(!(entry_at(mm, P(8 * N)) & PTE_D));
	EXPECT_EQ(rd(mm, P(8 * N + 5)), 0);
	EXPECT_EQ(mm_discard(mm, P(8 * N), P(9 * N)), 0);
	EXPECT_EQ(page_maps(huge_zero), 0);
	EXPECT_EQ(huge_splits(), split);
	mm_put(mm);
}

TEST(huge_zero, fork_shares_it,
     "a child maps the same zeroes, a write of either side is not seen by the "
     "other, and the exit of one leaves the other's")
{
	struct mm *mm = zeroes(), *child;

	REQUIRE(!mm_fork(mm, &child));
	EXPECT_EQ(page_maps(huge_zero), 2);
	EXPECT_EQ(child->mapped, 0);
	EXPECT_EQ(wr(child, P(5), 5), 0);
	EXPECT_EQ(rd(mm, P(5)), 0);
	EXPECT_EQ(wr(mm, P(6), 6), 0);
	EXPECT_EQ(rd(child, P(6)), 0);
	EXPECT_EQ(page_maps(huge_zero), 0);
	mm_put(mm);
	EXPECT_EQ(rd(child, P(5)), 5);
	mm_put(child);
}

TEST(huge_zero, pin_never_gets_it,
     "a pin, to read or forced to write, has a page of its own "
     "(H30, CVE-2017-1000405)")
{
	static const unsigned flags[] = { 0, PIN_WRITE, PIN_FORCE | PIN_WRITE };

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		struct mm *mm = zeroes();
		struct page *page;

		REQUIRE(!pin_pages(mm, P(9), 1, flags[i], &page));
		EXPECT(page_kind(page) == PAGE_ANON);
		*(uint64_t *)page_va(page) = 9;
		EXPECT_EQ(rd(mm, P(9)), 9);
		EXPECT(reads_zero(mm, 0, 9) && reads_zero(mm, 10, N));
		unpin_pages(&page, 1);
		mm_put(mm);
	}
}

TEST(huge_zero, collapse_leaves_it,
     "a collapse of the zeroes finds one entry already; of the 512 entries "
     "that a split made, and one page, it makes a block")
{
	struct mm *mm = zeroes();

	EXPECT_EQ(mm_collapse(mm, P(3)), 0);
	EXPECT(huge_head(mm) == huge_zero);
	huge_split_at(mm, P(1));
	EXPECT_EQ(mm_collapse(mm, P(3)), -ENOENT);
	EXPECT_EQ(wr(mm, P(7), 7), 0);
	EXPECT_EQ(mm_collapse(mm, P(3)), 0);
	EXPECT(entry_huge(entry_at(mm, VA)) && huge_head(mm) != huge_zero);
	EXPECT_EQ(rd(mm, P(7)), 7);
	EXPECT(reads_zero(mm, 0, 7) && reads_zero(mm, 8, N));
	mm_put(mm);
}

/* ---- other threads ------------------------------------------------------- */

static struct mm *meanwhile;

static void split_now(uint64_t mm, uint64_t start, void *unused)
{
	if (mm == (uint64_t)meanwhile)
		huge_split_at(meanwhile, P(1));
}

TEST(huge_zero, split_before_the_replacement,
     "a write whose entry is split by a pin while its block is cleared looks "
     "again, and gets one page")
{
	struct mm *mm = zeroes();

	meanwhile = mm;
	hook("fault_fresh", split_now, NULL);
	EXPECT_EQ(mm_fault(mm, P(7), PROT_W), 0);
	unhook("fault_fresh");
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(wr(mm, P(7), 7), 0);
	EXPECT(reads_zero(mm, 0, 7) && reads_zero(mm, 8, N));
	mm_put(mm);
}

#define ROUNDS 20u

static struct {
	struct mm *mm;
	_Atomic unsigned arrived, wrong;
} race;

/* Each reads and writes a word of its own in each 2 MiB, both from the same moment. */
static void touch(void *arg)
{
	uint64_t id = (uintptr_t)arg;

	mm_bind(race.mm);
	for (unsigned i = 0; i < 3; i++) {
		va_t va = P(i * N) + 8 * id;

		atomic_fetch_add(&race.arrived, 1);
		while (atomic_load(&race.arrived) < 2 * (i + 1))
			yield();
		if (rd(race.mm, va) || wr(race.mm, va, id + 1) ||
		    rd(race.mm, va) != id + 1)
			atomic_fetch_add(&race.wrong, 1);
	}
	mm_bind(NULL);
}

TEST_SMP(huge_zero, faults_at_once,
	 "two CPUs that read and write at once make one block of zeroes, and "
	 "one block for each place that is written: no write is lost",
	 2)
{
	struct task t[2];

	for (unsigned round = 0; round < ROUNDS; round++) {
		huge_zero_forget();
		race.mm = huge_fixture();
		atomic_store(&race.arrived, 0);
		for (unsigned id = 0; id < 2; id++)
			spawn(&t[id], touch, (void *)(uintptr_t)id);
		for (unsigned id = 0; id < 2; id++)
			join(&t[id]);
		EXPECT_EQ(race.mm->mapped, 3 * N);
		for (unsigned i = 0; i < 6; i++)
			EXPECT_EQ(rd(race.mm, P(i / 2 * N) + i % 2 * 8),
				  i % 2 + 1);
		mm_put(race.mm);
	}
	EXPECT_EQ(atomic_load(&race.wrong), 0);
}
