/* SPDX-License-Identifier: MIT */
/*
 * scn_sva.c - one tree for CPU and device: what only that can get wrong
 *
 * What holds for any device in an address space is scn_users.c.
 */
#include "arch/layout.h"
#include "iommu/pt_amdv1.h"
#include "mm/entry.h"
#include "tests/gate.h"
#include "tests/stand_mm.h"

#define SECRET UINT64_C(0x5ec4e7)

IOMMU_TEST(sva, what_the_cpu_has_needs_no_fault,
	   "what a CPU has faulted in, copied or regained the device uses at "
	   "once: there is no second table to fill")
{
	struct mm *mm = stand_mm(s, 1), *child;
	struct sva *sva = stand_bind_sva(s, 0, mm);

	REQUIRE(!wr(mm, P(0), 'A'));
	if (!sva->door.domain->iommu->np_cache)
		EXPECT_EQ(stand_read(s, 0, P(0)), 'A');
	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	child = stand_fork(mm);
	EXPECT_EQ(stand_read(s, 0, P(0)), 'A');
	REQUIRE(!wr(mm, P(0), 'B'));
	EXPECT_EQ(stand_read(s, 0, P(0)), 'B');
	stand_write(s, 0, P(0), 'C');
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(rd(child, P(0)), 'A');
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	EXPECT_EQ(stand_read(s, 0, P(0)), 'C');
	REQUIRE(!mm_protect(mm, P(0), P(1), RW));
	stand_write(s, 0, P(0), 'D');
	EXPECT_EQ(rd(mm, P(0)), 'D');
}

IOMMU_TEST(sva, told_of_what_is_lost_only,
	   "it is told once of each change, and never of a first touch")
{
	struct mm *mm = stand_mm(s, 2), *child;
	struct sva *sva = stand_bind_sva(s, 0, mm);
	uint64_t before = sva->flushes;

	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!wr(mm, P(1), 'A'));
	EXPECT_EQ(sva->flushes - before, 0);
	child = stand_fork(mm); /* all of it at once */
	EXPECT_EQ(sva->flushes - before, 1);
	REQUIRE(!wr(mm, P(0), 'B')); /* a copy */
	EXPECT_EQ(sva->flushes - before, 2);
	stand_exit(child);
	REQUIRE(!wr(mm, P(1), 'B')); /* W regained in place */
	EXPECT_EQ(sva->flushes - before, 3);
	REQUIRE(!mm_unmap(mm, P(0), P(1))); /* its neighbour keeps the table */
	EXPECT_EQ(sva->flushes - before, 4);
	REQUIRE(!mm_unmap(mm, P(1), P(2))); /* entries, then tables */
	EXPECT_EQ(sva->flushes - before, 6);
}

/* ---- pages of tables ---------------------------------------------------- */

struct table_watch {
	struct stand *s;
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
		stand_read(w->s, 0, P(0));
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
	EXPECT_EQ(stand_read(w->s, 0, P(0)), BLOCKED);
}

IOMMU_TEST(sva, table_is_freed_behind_the_flush,
	   "before a page of tables is free no cache leads to it, nor through "
	   "it (B3, C7, H38)")
{
	struct mm *mm = stand_mm(s, 1);
	struct table_watch w = { .s = s, .mm = mm };

	stand_bind_sva(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(stand_load(s, 0, P(0)) == 'A'); /* the way is cached */
	hook("range_flushed", at_flushed, &w);
	hook("table_free", at_table_free, &w);
	REQUIRE(!mm_unmap(mm, P(0), P(1)));
	unhook("table_free");
	unhook("range_flushed");

	EXPECT(w.freed >= 1);
}

/* The frame, if it is free: others that are come along, until the test ends. */
static struct page *take_frame(struct stand *s, pa_t pa)
{
	for (unsigned i = 0; i < 500; i++) {
		struct page *page = stand_page(s, 'X');

		if (page_pa(page) == pa)
			return page;
	}
	return NULL;
}

IOMMU_TEST(
	sva, freed_table_is_not_walked,
	"a page that was a table and is somebody's data now, full of entries, "
	"leads the device nowhere (C7)")
{
	struct mm *mm = stand_mm(s, 1);
	struct table_watch w = { .s = s, .mm = mm };
	struct page *secret = stand_page(s, SECRET), *page;

	stand_bind_sva(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(stand_load(s, 0, P(0)) == 'A');
	w.table = pt_pa(*pt_slot(&mm->pt, P(0), 1, false));
	hook("range_flushed", at_flushed, &w);
	REQUIRE(!mm_unmap(mm, P(0), P(1)));
	unhook("range_flushed");
	page = take_frame(s, w.table);
	REQUIRE(page);
	stand_fill(page, page_pa(secret) | AMDV1_PR | AMDV1_IR | AMDV1_IW);

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(stand_read(s, 0, P(3)), BLOCKED); /* not cached as a page */
	stand_write(s, 0, P(3), 'X');
	EXPECT_EQ(stand_word(secret), SECRET);
}

/* ---- what is not the process's ------------------------------------------ */

MODEL_TEST(sva, kernel_half_is_closed,
	   "by the same tree that the CPU uses in kernel mode a device reaches "
	   "no kernel address (B35, C123)")
{
	struct mm *mm = stand_mm(s, 1);
	struct page *page = stand_page(s, SECRET);
	iova_t at[] = { 0,
			USER_END,
			(va_t)page_va(page),
			DIRECT_BASE,
			KERNEL_BASE,
			KERNEL_BASE + (va_t)(1 << 20),
			(va_t)page_va(page) & (BIT(48) - 1) };

	stand_bind_sva(s, 0, mm);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_EQ(stand_read(s, 0, at[i]), BLOCKED);
		stand_write(s, 0, at[i], 'X');
	}
	EXPECT_EQ(stand_word(page), SECRET);
}

/* ---- the oracle --------------------------------------------------------- */

IOMMU_TEST(sva, two_faced_entry_is_seen,
	   "an entry that grants a device more or less than the CPU does not "
	   "pass the oracle (B32, B34)")
{
	static const uint64_t wrong[] = { AMDV1_IR, AMDV1_IW, PTE_U };
	struct mm *mm = stand_mm(s, 2);
	uint64_t *slot, was;

	stand_bind_sva(s, 0, mm);
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
