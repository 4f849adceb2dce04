/* SPDX-License-Identifier: MIT */
/*
 * huge_move.c - moves of whole entries of 2 MiB
 */
#include "kernel/err.h"
#include "mm/ksm/ksm.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sweep.h"
#include "tests/fixture/mm/sync_point.h"

#define AWAY P(20 * N)

static int move(struct mm *mm, va_t from, va_t to, unsigned blocks)
{
	uint64_t len = blocks * BLOCK_SIZE;

	return mm_remap(mm, from, len, to, len, NULL);
}

/* Count the pages of [from, to) that do not hold i + 1 in the 2 MiB at va. */
static unsigned wrong_at(struct mm *mm, va_t va, unsigned from, unsigned to)
{
	unsigned n = 0;

	for (unsigned i = from; i < to; i++)
		n += rd(mm, va + i * PAGE_SIZE) != i + 1;
	return n;
}

TEST(huge, whole_move_splits_nothing,
     "a move of 2 MiB from an aligned address to another moves one entry, and "
     "flushes 2 MiB once; the old address is unreachable (B19, H36)")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);
	uint64_t split = huge_splits(), e = entry_at(mm, VA);
	uint64_t tables = mm->pt.tables;
	struct recorder r;

	mm_bind(mm);
	EXPECT_EQ(rd(mm, P(7)), 8);
	record(&r, mm);
	EXPECT_EQ(move(mm, VA, AWAY, 1), 0);
	EXPECT_RECORDED(&r, "start unmap 0-512; range 0-512; end 0-512");
	record_end(&r);
	EXPECT_EQ(rd(mm, P(7)), BAD);
	EXPECT_EQ(wr(mm, P(300), 1), -EFAULT);
	mm_bind(NULL);
	EXPECT_EQ(huge_splits(), split);
	EXPECT_EQ(entry_at(mm, AWAY), e);
	EXPECT_EQ(entry_at(mm, VA), 0);
	EXPECT_EQ(page_count(head), PAGE_MAP);
	EXPECT_EQ(mm->pt.tables, tables);
	EXPECT_EQ(mm->mapped, N);
	EXPECT_EQ(wrong_at(mm, AWAY, 0, N), 0);
	/* The table for its split has come along. */
	EXPECT_EQ(mm_unmap(mm, AWAY, AWAY + PAGE_SIZE), 0);
	EXPECT_EQ(wrong_at(mm, AWAY, 1, N), 0);
	mm_put(mm);
}

TEST(huge, move_of_shared_entry,
     "the reverse map finds a shared block at the address to which its entry "
     "was moved, and the other address space keeps it")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *head = huge_head(mm);

	EXPECT_EQ(move(mm, VA, AWAY, 1), 0);
	EXPECT_EQ(page_count(head), 2 * PAGE_MAP);
	EXPECT_EQ(mappings(head), 2);
	EXPECT_EQ(wr(mm, AWAY + 5 * PAGE_SIZE, 77), 0);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	EXPECT_EQ(mappings(head + 9), 2);
	mm_put(child);
	EXPECT_EQ(rd(mm, AWAY + 5 * PAGE_SIZE), 77);
	mm_put(mm);
}

TEST(huge, move_across_tables,
     "entries of one table of level 1 move into two, each to its place")
{
	va_t to = ALIGN_UP(VA, BIT(30)) - BLOCK_SIZE;
	struct mm *mm = huge_filled();
	uint64_t split = huge_splits();

	EXPECT_EQ(wr(mm, Q(3), 33), 0);
	EXPECT_EQ(wr(mm, R(4), 44), 0);
	EXPECT_EQ(move(mm, VA, to, 3), 0);
	EXPECT_EQ(huge_splits(), split);
	EXPECT(entry_huge(entry_at(mm, to + 2 * BLOCK_SIZE)));
	EXPECT_EQ(wrong_at(mm, to, 0, N), 0);
	EXPECT_EQ(rd(mm, to + BLOCK_SIZE + 3 * PAGE_SIZE), 33);
	EXPECT_EQ(rd(mm, to + 2 * BLOCK_SIZE + 4 * PAGE_SIZE), 44);
	mm_put(mm);
}

static unsigned in_time;

/* Count a flush that comes after the entry has moved.  Context: pt_lock held. */
static void look(struct mmu_notifier *mn, struct mm *mm, va_t start, va_t end)
{
	unsigned level;

	in_time += !pte_read(pt_lookup(&mm->pt, VA, 1, &level)) &&
		   entry_huge(pte_read(pt_lookup(&mm->pt, AWAY, 1, &level)));
}

TEST(huge, move_flushes_what_has_gone,
     "when the flush of a move reaches other MMUs, the entry has left its old "
     "address")
{
	static const struct mmu_notifier_ops ops = { .invalidate_range = look };
	struct mmu_notifier mn = { .ops = &ops };
	struct mm *mm = huge_filled();

	REQUIRE(!mmu_notifier_register(&mn, mm));
	in_time = 0;
	EXPECT_EQ(move(mm, VA, AWAY, 1), 0);
	EXPECT_EQ(in_time, 1);
	mmu_notifier_unregister(&mn);
	mm_put(mm);
}

TEST(huge, other_moves_split,
     "a move to an address that is not aligned, and a move of a part to one "
     "that is, split the entry")
{
	struct mm *mm = huge_filled();
	uint64_t split = huge_splits();

	EXPECT_EQ(move(mm, VA, AWAY + PAGE_SIZE, 1), 0);
	EXPECT_EQ(huge_splits(), split + 1);
	EXPECT_EQ(wrong_at(mm, AWAY + PAGE_SIZE, 0, N), 0);
	mm_put(mm);
	mm = huge_filled();
	EXPECT_EQ(mm_remap(mm, P(0), 9 * PAGE_SIZE, AWAY, 9 * PAGE_SIZE, NULL),
		  0);
	EXPECT_EQ(huge_splits(), split + 2);
	EXPECT_EQ(wrong_at(mm, AWAY, 0, 9), 0);
	EXPECT_EQ(huge_wrong(mm, 9, N), 0);
	mm_put(mm);
}

/* ---- an entry that is split meanwhile ------------------------------------ */

static struct {
	struct mm *mm;
	unsigned splits;
} meanwhile;

/* Split as a pin does, without mm->lock. */
static void split_now(uint64_t mm, uint64_t start, void *unused)
{
	if (mm != (uint64_t)meanwhile.mm || meanwhile.splits)
		return;
	meanwhile.splits++;
	huge_split_at(meanwhile.mm, P(1));
}

/* Move 2 MiB, whose entry is split at the first probe of this name. */
static void move_split(struct mm *mm, const char *probe)
{
	struct recorder r;

	meanwhile.mm = mm;
	meanwhile.splits = 0;
	record(&r, mm);
	hook(probe, split_now, NULL);
	EXPECT_EQ(move(mm, VA, AWAY, 1), 0);
	unhook(probe);
	EXPECT_RECORDED(&r, "start unmap 0-512; range 0-512; range 0-512; "
			    "end 0-512");
	record_end(&r);
	EXPECT_EQ(meanwhile.splits, 1);
	EXPECT(!entry_huge(entry_at(mm, AWAY)));
}

TEST(huge, entry_split_during_its_move,
     "an entry that is split, without mm->lock, after a move has decided to "
     "move it whole: its table moves, and every page is at its new address")
{
	static const char *const probes[] = { "range_started", "huge_found" };

	for (unsigned i = 0; i < ARRAY_SIZE(probes); i++) {
		struct mm *mm = huge_filled();
		uint64_t tables = mm->pt.tables;

		move_split(mm, probes[i]);
		EXPECT_EQ(wrong_at(mm, AWAY, 0, N), 0);
		EXPECT_EQ(rd(mm, P(3)), BAD);
		EXPECT_EQ(mm->mapped, N);
		EXPECT_EQ(mm->pt.tables, tables + 1);
		EXPECT_EQ(mm_unmap(mm, AWAY, AWAY + PAGE_SIZE), 0);
		EXPECT_EQ(wrong_at(mm, AWAY, 1, N), 0);
		mm_put(mm);
	}
}

/* Clear D, as a scan of KSM does for small entries, in an mm that KSM knows. */
static struct mm *clean(void)
{
	struct mm *mm = huge_filled();

	EXPECT_EQ(wr(mm, Q(0), 1), 0);
	REQUIRE(!ksm_mergeable(mm, Q(0), Q(1)));
	spin_lock(&mm->pt_lock);
	pte_and(huge_slot(mm, VA), ~PTE_D);
	spin_unlock(&mm->pt_lock);
	return mm;
}

TEST(huge, moved_entry_was_not_seen_there,
     "an entry of 2 MiB that moves is dirty, and so are the small ones that it "
     "is split into meanwhile: KSM has not seen these pages at this address")
{
	struct mm *mm = clean();
	unsigned dirty = 0;

	EXPECT_EQ(move(mm, VA, AWAY, 1), 0);
	EXPECT(entry_at(mm, AWAY) & PTE_D);
	mm_put(mm);
	mm = clean();
	move_split(mm, "huge_found");
	for (unsigned i = 0; i < N; i++)
		dirty += (entry_at(mm, AWAY + i * PAGE_SIZE) & PTE_D) != 0;
	EXPECT_EQ(dirty, N);
	mm_put(mm);
}

/* ---- failures, other MMUs ------------------------------------------------- */

static void map_and_write_second(struct mm *mm)
{
	REQUIRE(!mm_map(mm, Q(0), BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	REQUIRE(!wr(mm, Q(3), 33));
}

static int try_move(struct mm *mm)
{
	int ret = move(mm, Q(0), VA + BIT(40), 1);

	if (!ret)
		EXPECT_EQ(rd(mm, VA + BIT(40) + 3 * PAGE_SIZE), 33);
	return ret;
}

TEST(huge, move_survives_each_failure,
     "a move of a whole entry survives the failure of each of its allocations")
{
	sweep(map_and_write_second, try_move, SNAP_FRAMES, 4);
}

static struct fake_mmu a;

TEST(huge, moved_entry_is_at_one_address,
     "secondary MMUs reach the pages of a moved entry at the new address only "
     "(C28)")
{
	for_each_kind (k, fake_mmus()) {
		struct mm *mm;

		if (!fake_knows_huge(*k))
			continue;
		mm = huge_filled();
		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, P(0)), 1);
		EXPECT_EQ(fake_write(&a, P(77), 7), 0);
		EXPECT_EQ(move(mm, VA, AWAY, 1), 0);
		EXPECT(!fake_writes(&a, P(77), 8));
		EXPECT_EQ(fake_read(&a, P(0)), BAD);
		EXPECT_EQ(rd(mm, AWAY + 77 * PAGE_SIZE), 7);
		EXPECT_EQ(move(mm, AWAY, VA, 1), 0);
		EXPECT_EQ(fake_read(&a, P(77)), 7);
		EXPECT_EQ(fake_write(&a, P(100), 9), 0);
		EXPECT_EQ(rd(mm, P(100)), 9);
		EXPECT(entry_huge(entry_at(mm, VA)));
		fake_detach(&a);
		mm_put(mm);
	}
}
