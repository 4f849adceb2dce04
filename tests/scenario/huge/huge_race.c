/* SPDX-License-Identifier: MIT */
/*
 * huge_race.c - pages of 2 MiB that change under other threads
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* ---- an entry that is split between look and lock --------------------------- */

static struct {
	struct mm *mm;
	bool done;
} between;

/* Split as a pin does, without mm->lock, where a walk has found a huge entry. */
static void split_now(uint64_t mm, uint64_t start, void *unused)
{
	if (mm != (uint64_t)between.mm || between.done)
		return;
	between.done = true;
	huge_split_at(between.mm, P(1));
}

TEST(huge, walk_that_found_a_huge_entry_looks_again,
     "protect and fork read a huge entry again under the lock: one that was "
     "split meanwhile is not taken for a leaf (CVE-2026-31456)")
{
	struct mm *mm = huge_filled(), *child;
	unsigned kept = 0;

	between.mm = mm;
	between.done = false;
	hook("huge_found", split_now, NULL);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_R), 0);
	unhook("huge_found");
	EXPECT(between.done);
	for (unsigned i = 0; i < N; i++)
		kept += (entry_at(mm, P(i)) & ENTRY_W) != 0;
	EXPECT_EQ(kept, 0);
	EXPECT_EQ(wr(mm, P(300), 7), -EFAULT);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);

	between.mm = mm = huge_filled();
	between.done = false;
	hook("huge_found", split_now, NULL);
	child = fork_of(mm);
	unhook("huge_found");
	EXPECT(between.done);
	EXPECT_EQ(wr(mm, P(300), 7), 0);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
	mm_put(mm);
}

/* Return whether the entry of the table that maps page 0 has D. */
static bool table_has_d(struct mm *mm)
{
	unsigned level;

	return *pt_lookup(&mm->pt, P(0), 1, &level) & PTE_D;
}

TEST(huge, fork_marks_no_table_dirty,
     "a fork of an address space with a notifier marks its writable huge "
     "entries dirty, and not the entry of a table that one has become")
{
	static const struct mmu_notifier_ops none;
	struct mmu_notifier mn = { .ops = &none };
	struct mm *mm = huge_filled(), *child;

	REQUIRE(!mmu_notifier_register(&mn, mm));
	between.mm = mm;
	between.done = false;
	hook("huge_found", split_now, NULL);
	child = fork_of(mm);
	unhook("huge_found");
	EXPECT(between.done);
	EXPECT(!table_has_d(mm));
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
	mmu_notifier_unregister(&mn);
	mm_put(mm);
}

/* ---- all at once ------------------------------------------------------------ */

#define ROUNDS  60
#define WRITERS 2

static struct {
	struct mm *mm;
	_Atomic bool stop;
	_Atomic uint64_t lost, rounds;
} storm;

/* Write a rising number to a page of one's own in each of the 2 MiB; what is read
 * back is what was written, or 0 after a discard. */
static void writer(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg, at = 0;

	mm_bind(storm.mm);
	for (uint64_t n = 1; !atomic_load(&storm.stop); n++) {
		va_t va = P(at = (at + 97) % (3 * N)) + 8 * self;
		uint64_t got;

		cpu_pause(); /* under icount the others run meanwhile */
		if (wr(storm.mm, va, n))
			continue; /* read-only or unmapped for a moment */
		got = rd(storm.mm, va);
		if (got != n && got != 0 && got != BAD)
			atomic_fetch_add(&storm.lost, 1);
		atomic_fetch_add(&storm.rounds, 1);
	}
	mm_bind(NULL);
}

/* One operation that splits, shares or takes a part. */
static void disturb(unsigned dice)
{
	unsigned from = dice * 37 % (3 * N - 8), to = from + 1 + dice % 7;
	struct mm *mm = storm.mm, *child;
	struct page *page;

	switch (dice % 6) {
	case 0:
		EXPECT_EQ(mm_discard(mm, P(from), P(to)), 0);
		break;
	case 1:
		EXPECT_EQ(mm_protect(mm, P(from), P(to), PROT_R), 0);
		EXPECT_EQ(mm_protect(mm, P(from), P(to), RW), 0);
		break;
	case 2:
		child = fork_of(mm);
		EXPECT_EQ(wr(child, P(from), 1), 0);
		mm_put(child);
		break;
	case 3:
		EXPECT_EQ(pin_pages(mm, P(from), 1, PIN_WRITE, &page), 0);
		unpin_pages(&page, 1);
		break;
	case 4:
		EXPECT_EQ(mm_discard(mm, P(0), P(3 * N)), 0);
		break;
	case 5:
		EXPECT_EQ(mm_map(mm, P(from / N * N), BLOCK_SIZE, RW,
				 MAP_REPLACE | MAP_HUGE, NULL, 0, NULL),
			  0);
		break;
	}
}

TEST_SMP(
	huge, storm,
	"two CPUs write to 6 MiB while a third splits, shares, protects, pins, "
	"discards and replaces parts: no write is lost",
	2)
{
	struct task t[WRITERS];
	struct huge_stat before, after;

	storm.mm = huge_fixture();
	atomic_store(&storm.stop, false);
	atomic_store(&storm.lost, 0);
	atomic_store(&storm.rounds, 0);
	huge_stat(&before);
	for (unsigned i = 0; i < WRITERS; i++)
		spawn(&t[i], writer, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < ROUNDS; i++)
		disturb(i * 7 + i / 6);
	while (atomic_load(&storm.rounds) < ROUNDS)
		yield();
	atomic_store(&storm.stop, true);
	for (unsigned i = 0; i < WRITERS; i++)
		join(&t[i]);
	huge_stat(&after);
	EXPECT_EQ(atomic_load(&storm.lost), 0);
	EXPECT(after.splits > before.splits);
	EXPECT(after.faults > before.faults);
	mm_put(storm.mm);
}
