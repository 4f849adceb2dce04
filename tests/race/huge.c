/* SPDX-License-Identifier: MIT */
/*
 * huge.c - pages of 2 MiB: experiments 29 to 32
 *
 * What is different from a page of 4 KiB: a device may have a part of a page, or the
 * table that a page replaces, and an entry may be split while a thread holds a copy of
 * it.
 */
#include "mm/huge/collapse.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "tests/checker/device_checker.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

#define FAR   P(300) /* a page of the 2 MiB that begin with A                */
#define OTHER (VA + BIT(24))

static struct client client;
static struct mm *mm, *child;
static struct task t0;
static struct sync_point t0_turn;

/* A process with 2 MiB at A, small pages or a huge one by flags: A, B and E hold 10. */
static void begin(unsigned flags)
{
	mm = mm_create();
	REQUIRE(mm);
	REQUIRE(!mm_map(mm, VA, BLOCK_SIZE, RW, flags, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, FAR, 10), 0);
	EXPECT_EQ(wr(mm, B, 10), 0);
	EXPECT_EQ(wr(mm, A, 10), 0);
	explain_name(EXPLAIN_ADDRESS, A, "A");
	explain_name(EXPLAIN_ADDRESS, B, "B");
	explain_name(EXPLAIN_ADDRESS, FAR, "E");
	explain_mm(mm, "P");
	explain_thread("T");
}

static void end(void)
{
	explain_end();
	client_leave(&client);
	mm_put(mm);
}

static void collapse(void *unused)
{
	mm_bind(mm);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
}

/* ---- 29: a copy before the flush ------------------------------------------ */

static bool accepted;

/* The device writes, if it is not refused. */
static void write_if_reached(uint64_t of, uint64_t va, void *unused)
{
	if (of != (uint64_t)mm)
		return;
	accepted = device_reads(&client, A) != BLOCKED;
	if (accepted)
		device_writes(&client, A, 66);
}

/* Collapse.  The device writes when the pages are copied; a write that is refused is made
 * again afterwards.  Returns what the process then reads. */
static uint64_t collapsed(struct iommu_fixture *s,
			  const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	begin(0);
	client_join(&client, s, 0, mm, ops);
	explain_begin();
	device_writes(&client, A, 11);
	hook("collapse_copied", write_if_reached, NULL);
	go(&t0, 0, "T0", collapse, NULL);
	join(&t0);
	unhook("collapse_copied");
	if (!accepted) {
		/* As its page request does: a refusal may be cached. */
		EXPECT_EQ(sva_fault(&client.sva, A, PROT_W), 0);
		device_writes(&client, A, 66);
	}
	v = cpu_reads(mm, A);
	end();
	return v;
}

IOMMU_TEST(race, collapse_before_the_flush_loses_a_write,
	   "with a flush only in end a device writes to a page that a collapse "
	   "has copied already, and the process never reads it")
{
	EXPECT_EQ(collapsed(s, &only_end), 11);
}

IOMMU_TEST(race, collapse_after_the_flush_keeps_every_write,
	   "with a flush in invalidate_range a device is refused while the "
	   "pages are copied, and its next write is in the huge page")
{
	EXPECT_EQ(collapsed(s, SVA), 66);
}

/* ---- 30: a table that a collapse takes away ------------------------------- */

/* The table of A and B becomes that of other pages, of which Z is where B was. */
static void reuse_table(void *unused)
{
	huge_split_at(mm, OTHER + PAGE_SIZE);
	says("the table of A and B is now that of Z");
}

/* The device has cached the table when it read A.  It writes B after the collapse.
 * Returns what Z holds then. */
static uint64_t table_taken(struct iommu_fixture *s,
			    const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches_tables);
	begin(0);
	REQUIRE(!mm_map(mm, OTHER, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, OTHER + PAGE_SIZE, 77), 0);
	explain_name(EXPLAIN_ADDRESS, OTHER + PAGE_SIZE, "Z");
	client_join(&client, s, 0, mm, ops);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	done_by(0, "T0", collapse, NULL);
	done_by(0, "T1", reuse_table, NULL);
	device_writes(&client, B, 66);
	v = cpu_reads(mm, OTHER + PAGE_SIZE);
	end();
	return v;
}

IOMMU_TEST(race, collapsed_table_is_walked,
	   "a flush without directories lets a device walk the table that a "
	   "collapse has taken away, and write to the page that it names now")
{
	EXPECT_EQ(table_taken(s, &only_leaves), 66);
}

IOMMU_TEST(race, collapsed_table_is_flushed,
	   "a table that a collapse takes away is flushed with its directories "
	   "before it is used again")
{
	EXPECT_EQ(table_taken(s, SVA), 77);
}

/* ---- 31: a split that gives a right back ---------------------------------- */

/* Split by the entry that was read without the lock. */
static void split_as_found(void *unused)
{
	struct page *table;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = huge_slot(mm, A);
	e = pte_read(slot);
	spin_unlock(&mm->pt_lock);
	says("finds the entry of 2 MiB: it has W");
	sync_point_enter(&t0_turn);
	spin_lock(&mm->pt_lock);
	table = huge_withdraw(mm);
	table->index = PT_ENTRIES;
	block_split(entry_page(e));
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		((uint64_t *)page_va(table))[i] = (e & ~PTE_PS) + i * PAGE_SIZE;
	pte_write(slot, page_pa(table) | mm->pt.format->table_bits[1]);
	mm->pt.tables++;
	says("splits it: 512 entries with W");
	tlb_flush_range(mm, VA, VA + BLOCK_SIZE);
	spin_unlock(&mm->pt_lock);
}

static void split_as_it_is(void *unused)
{
	sync_point_enter(&t0_turn);
	huge_split_at(mm, B);
}

static void fork_p(void *unused)
{
	child = fork_of(mm);
}

/* P forks before its huge entry is split.  Returns what the child reads after a write of
 * P's device. */
static uint64_t split_by(struct iommu_fixture *s, void (*split)(void *unused))
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	begin(MAP_HUGE);
	client_join(&client, s, 0, mm, SVA);
	explain_begin();
	device_writes(&client, A, 11);
	sync_point_set(&t0_turn, NULL, NULL);
	go(&t0, 0, "T0", split, NULL);
	sync_point_await(&t0_turn);
	done_by(1, "T1", fork_p, NULL);
	explain_mm(child, "Q");
	sync_point_release(&t0_turn);
	join(&t0);
	device_writes(&client, A, 66);
	v = cpu_reads(child, A);
	says("that was Q, the child");
	end();
	mm_put(child);
	return v;
}

IOMMU_TEST(race, split_by_an_old_entry_gives_a_right_back,
	   "a split that uses the entry as it was before a fork makes 512 "
	   "writable ones, and a device of the parent writes to the child's "
	   "memory")
{
	device_checkers_allow_errors();
	EXPECT_EQ(split_by(s, split_as_found), 66);
}

IOMMU_TEST(race, split_under_the_lock_keeps_the_right_away,
	   "a split reads the entry under the lock, after a fork has taken W "
	   "from it, and the child reads what the fork has shared")
{
	EXPECT_EQ(split_by(s, split_as_it_is), 11);
}

/* ---- 32: a flush of 4 KiB for 2 MiB --------------------------------------- */

static void protect(void *unused)
{
	mm_bind(mm);
	EXPECT_EQ(mm_protect(mm, VA, VA + BLOCK_SIZE, PROT_R), 0);
	says("mprotect has returned");
}

/* Take W from 2 MiB of which the device has cached E.  Returns what E holds after its next
 * write. */
static uint64_t large_protected(struct iommu_fixture *s,
				const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, flush_by_address);
	begin(MAP_HUGE);
	client_join(&client, s, 0, mm, ops);
	explain_begin();
	device_writes(&client, FAR, 11);
	go(&t0, 0, "T0", protect, NULL);
	join(&t0);
	device_writes(&client, FAR, 66);
	v = cpu_reads(mm, FAR);
	end();
	return v;
}

IOMMU_TEST(race, flush_of_one_page_leaves_the_others,
	   "with a flush of the first 4 KiB of an entry of 2 MiB a device "
	   "writes to the rest of memory that is read-only")
{
	EXPECT_EQ(large_protected(s, &only_first), 66);
}

IOMMU_TEST(race, flush_of_two_mib_takes_all_parts,
	   "with a flush of the range that the notifier names no part of "
	   "2 MiB is written after mprotect")
{
	EXPECT_EQ(large_protected(s, SVA), 11);
}
