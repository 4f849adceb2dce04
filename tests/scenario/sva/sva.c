/* SPDX-License-Identifier: MIT */
/*
 * sva.c - one tree for CPU and device: what only that can get wrong
 *
 * What holds for any device in an address space is tests/scenario/sva/users.c.
 */
#include "arch/layout.h"
#include "mm/core/entry.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define SECRET UINT64_C(0x5ec4e7)

IOMMU_TEST(sva, page_of_the_cpu_needs_no_device_fault,
	   "a device uses a page that a CPU has faulted in, copied or regained "
	   "without a fault, since there is one table")
{
	struct mm *mm = fixture_mm(s, 1), *child;
	struct sva *sva = fixture_bind_sva(s, 0, mm);

	REQUIRE(!wr(mm, P(0), 'A'));
	if (!sva->binding.domain->iommu->np_cache)
		EXPECT_EQ(fixture_read(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	child = fixture_fork(mm);
	EXPECT_EQ(fixture_read(s, 0, P(0)), 'A');
	REQUIRE(!wr(mm, P(0), 'B'));
	EXPECT_EQ(fixture_read(s, 0, P(0)), 'B');
	fixture_write(s, 0, P(0), 'C');
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(rd(child, P(0)), 'A');
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	EXPECT_EQ(fixture_read(s, 0, P(0)), 'C');
	REQUIRE(!mm_protect(mm, P(0), P(1), RW));
	fixture_write(s, 0, P(0), 'D');
	EXPECT_EQ(rd(mm, P(0)), 'D');
}

IOMMU_TEST(sva, notified_of_lost_entries_only,
	   "a client of a shared table is notified once of each change, and "
	   "never of a first touch")
{
	struct mm *mm = fixture_mm(s, 2), *child;
	struct sva *sva = fixture_bind_sva(s, 0, mm);
	uint64_t before = sva->flushes;

	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!wr(mm, P(1), 'A'));
	EXPECT_EQ(sva->flushes - before, 0);
	child = fixture_fork(mm); /* all of it at once */
	EXPECT_EQ(sva->flushes - before, 1);
	REQUIRE(!wr(mm, P(0), 'B')); /* a copy */
	EXPECT_EQ(sva->flushes - before, 2);
	fixture_exit(child);
	REQUIRE(!wr(mm, P(1), 'B')); /* W regained in place */
	EXPECT_EQ(sva->flushes - before, 3);
	REQUIRE(!mm_unmap(mm, P(0), P(1))); /* its neighbour keeps the table */
	EXPECT_EQ(sva->flushes - before, 4);
	REQUIRE(!mm_unmap(mm, P(1), P(2))); /* entries and tables */
	EXPECT_EQ(sva->flushes - before, 5);
}

/* ---- pages of tables ---------------------------------------------------- */

struct table_watch {
	struct iommu_fixture *s;
	struct mm *mm;
	pa_t table; /* the last that was freed                          */
	unsigned freed;
};

/* The device never rests: between two flushes it walks what it still can, and
 * caches the tables on the way.  pt_lock is held. */
static void at_flushed(uint64_t mm, uint64_t va, void *arg)
{
	struct table_watch *w = arg;

	if (mm == (uint64_t)w->mm)
		fixture_read(w->s, 0, P(0));
}

/* A page of tables is about to be freed; pt_lock is held. */
static void at_table_free(uint64_t mm, uint64_t pa, void *arg)
{
	struct table_watch *w = arg;
	char words[100];

	if (mm != (uint64_t)w->mm)
		return;
	w->table = pa;
	w->freed++;
	if (w->s->model && model_names_table(w->s->model, pa, words, 100))
		test_fail(__FILE__, __LINE__, "table %lx is walked: %s", pa,
			  words);
	EXPECT_EQ(fixture_read(w->s, 0, P(0)), BLOCKED);
}

IOMMU_TEST(sva, table_is_freed_after_the_flush,
	   "before a page-table page is free no cache leads to it or through "
	   "it (B3, C7, H38)")
{
	struct mm *mm = fixture_mm(s, 1);
	struct table_watch w = { .s = s, .mm = mm };

	fixture_bind_sva(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(fixture_load(s, 0, P(0)) == 'A'); /* the way is cached */
	hook("range_flushed", at_flushed, &w);
	hook("table_free", at_table_free, &w);
	REQUIRE(!mm_unmap(mm, P(0), P(1)));
	unhook("table_free");
	unhook("range_flushed");

	EXPECT(w.freed >= 1);
}

IOMMU_TEST(sva, freed_table_is_not_walked,
	   "a page that was a page-table page and now holds data that look "
	   "like entries is not walked by a device (C7)")
{
	struct mm *mm = fixture_mm(s, 1);
	struct table_watch w = { .s = s, .mm = mm };
	struct page *secret = fixture_page(s, SECRET);

	fixture_bind_sva(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(fixture_load(s, 0, P(0)) == 'A');
	w.table = pt_pa(*pt_slot(&mm->pt, P(0), 1, false));
	hook("range_flushed", at_flushed, &w);
	REQUIRE(!mm_unmap(mm, P(0), P(1)));
	unhook("range_flushed");
	fixture_take(s, page_of_pa(w.table),
		     page_pa(secret) | AMDV1_PR | AMDV1_IR | AMDV1_IW);

	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 0, P(3)), BLOCKED); /* not cached as a page */
	fixture_write(s, 0, P(3), 'X');
	EXPECT_EQ(fixture_word(secret), SECRET);
}

/* ---- what is not the process's ------------------------------------------ */

MODEL_TEST(sva, kernel_half_cannot_be_reached,
	   "a device reaches no kernel address by the page table that the CPU "
	   "uses in kernel mode (B35, C123)")
{
	struct mm *mm = fixture_mm(s, 1);
	struct page *page = fixture_page(s, SECRET);
	iova_t at[] = { 0,
			USER_END,
			(va_t)page_va(page),
			DIRECT_BASE,
			KERNEL_BASE,
			KERNEL_BASE + (va_t)(1 << 20),
			(va_t)page_va(page) & (BIT(48) - 1) };

	fixture_bind_sva(s, 0, mm);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_EQ(fixture_read(s, 0, at[i]), BLOCKED);
		fixture_write(s, 0, at[i], 'X');
	}
	EXPECT_EQ(fixture_word(page), SECRET);
}

/* ---- the checker -------------------------------------------------------- */

IOMMU_TEST(sva, checker_finds_unequal_rights,
	   "the checker reports an entry that gives a device more or fewer "
	   "rights than the CPU (B32, B34)")
{
	static const uint64_t wrong[] = { AMDV1_IR, AMDV1_IW, PTE_U };
	struct mm *mm = fixture_mm(s, 2);
	uint64_t *slot, was;

	fixture_bind_sva(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	slot = pt_slot(&mm->pt, P(0), 0, false);
	was = pte_read(slot);
	EXPECT_STR_NULL(iommu_check(s->iommu));
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		pte_write(slot, was ^ wrong[i]);
		EXPECT(iommu_check(s->iommu));
	}
	pte_write(slot, was);
	slot = pt_slot(&mm->pt, P(1), 0, false); /* a hole, made to translate */
	pte_write(slot, AMDV1_IR);
	EXPECT(iommu_check(s->iommu));
	pte_write(slot, 0);
	EXPECT_STR_NULL(iommu_check(s->iommu));
}
