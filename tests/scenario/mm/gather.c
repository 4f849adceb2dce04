/* SPDX-License-Identifier: MIT */
/*
 * gather.c - how many shootdowns a change of many entries makes
 *
 * A shootdown interrupts every CPU that has the space loaded, and a device waits
 * for its IOMMU: mm/space/gather.h promises one for GATHER_PAGES pages, wherever in
 * the range they are, and none for a change that changes no entry.
 */
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/space/gather.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/user_fixture.h"

/* The first page of the n-th table of 2 MiB from VA on. */
#define T(n) (VA + UINT64_C(0x200000) * (n))

/* The flushes of this CPU that the statement takes. */
#define FLUSHES(statement)                       \
	({                                       \
		uint64_t n_ = tlb_flush_count(); \
		statement;                       \
		tlb_flush_count() - n_;          \
	})

/* Create a loaded mm with one region of n tables, with a page in each. */
static struct mm *sparse(unsigned n)
{
	struct mm *mm = mm_create();

	REQUIRE(mm && !mm_map(mm, VA, T(n) - VA, RW, 0, NULL, 0, NULL));
	mm_bind(mm);
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(wr(mm, T(i), i + 1), 0);
	return mm;
}

static void sparse_end(struct mm *mm)
{
	mm_bind(NULL);
	mm_put(mm);
}

/* Discard the pages of two tables: one shootdown. */
static void discard_two(struct mm *mm)
{
	EXPECT_EQ(FLUSHES(EXPECT_EQ(mm_discard(mm, VA, T(2)), 0)), 1);
	EXPECT_EQ(rd(mm, T(0)), 0);
	EXPECT_EQ(rd(mm, T(1)), 0);
	sparse_end(mm);
}

TEST(gather, discard_of_two_tables_is_one_flush,
     "a discard of two pages in two tables makes one shootdown")
{
	discard_two(sparse(2));
}

TEST(gather, discard_of_two_regions_is_one_flush,
     "a discard of two pages in two regions makes one shootdown")
{
	struct mm *mm = sparse(2);

	EXPECT_EQ(mm_protect(mm, T(1), T(2), PROT_R), 0);
	discard_two(mm);
}

TEST(gather, unmap_with_its_tables_is_one_flush,
     "an unmap of two pages that empties two tables makes one shootdown")
{
	struct mm *mm = sparse(2);
	uint64_t tables = mm->pt.tables;

	EXPECT_EQ(FLUSHES(EXPECT_EQ(mm_unmap(mm, VA, T(2)), 0)), 1);
	EXPECT(mm->pt.tables < tables);
	EXPECT_EQ(rd(mm, T(0)), BAD);
	EXPECT_EQ(rd(mm, T(1)), BAD);
	sparse_end(mm);
}

TEST(gather, tables_alone_are_flushed,
     "an unmap that finds only empty tables makes one shootdown, before the "
     "tables are free")
{
	struct mm *mm = sparse(2);
	uint64_t since;

	EXPECT_EQ(mm_discard(mm, VA, T(2)), 0);
	since = probes_begin();
	EXPECT_EQ(FLUSHES(EXPECT_EQ(mm_unmap(mm, VA, T(2)), 0)), 1);
	EXPECT(probes_in_order(since, mm, "tlb_flush table_free table_free"));
	sparse_end(mm);
}

TEST(gather, discard_in_130_tables_is_three_flushes,
     "a discard of 130 pages in 130 tables makes three shootdowns")
{
	struct mm *mm = sparse(2 * GATHER_PAGES + 2);

	EXPECT_EQ(FLUSHES(EXPECT_EQ(mm_discard(mm, VA, T(2 * GATHER_PAGES + 2)),
				    0)),
		  3);
	for (unsigned i = 0; i < 2 * GATHER_PAGES + 2; i++)
		EXPECT_EQ(rd(mm, T(i)), 0);
	sparse_end(mm);
}

TEST(gather, gather_spans_64_tables_at_most,
     "a gather spans at most 64 tables: a discard of one page in the first and "
     "one in the last of 130 tables makes two shootdowns")
{
	unsigned last = 2 * ZAP_TABLES + 1;
	struct mm *mm = sparse(last + 1);

	EXPECT_EQ(mm_discard(mm, T(1), T(last)), 0);
	EXPECT_EQ(FLUSHES(EXPECT_EQ(mm_discard(mm, VA, T(last + 1)), 0)), 2);
	EXPECT_EQ(rd(mm, T(0)), 0);
	EXPECT_EQ(rd(mm, T(last)), 0);
	sparse_end(mm);
}

TEST(gather, only_lost_rights_are_flushed,
     "a protect makes one shootdown if a right is lost, and none if rights are "
     "only gained")
{
	static const struct {
		enum prot from, to;
		unsigned flushes;
	} change[] = {
		{ RW, PROT_R, 1 },
		{ PROT_R, RW, 0 },
		{ RW, PROT_NONE, 1 },
		{ PROT_R, PROT_NONE, 1 },
		{ PROT_NONE, PROT_R, 0 },
		{ PROT_NONE, RW | PROT_X, 0 },
		{ PROT_R | PROT_X, PROT_R, 1 },
		{ PROT_R, PROT_R | PROT_X, 0 },
		{ RW, PROT_R | PROT_X, 1 },
		{ RW | PROT_X, RW, 1 },
		{ RW, RW, 0 },
		{ PROT_NONE, PROT_NONE, 0 },
	};
	struct mm *mm = sparse(1);

	for (unsigned i = 0; i < ARRAY_SIZE(change); i++) {
		uint64_t n;

		EXPECT_EQ(mm_protect(mm, VA, P(1), RW), 0);
		EXPECT_EQ(wr(mm, VA, i + 1), 0); /* W is there */
		EXPECT_EQ(mm_protect(mm, VA, P(1), change[i].from), 0);
		n = FLUSHES(
			EXPECT_EQ(mm_protect(mm, VA, P(1), change[i].to), 0));
		if (n != change[i].flushes)
			test_fail(__FILE__, __LINE__,
				  "from %u to %u: %lu shootdowns",
				  change[i].from, change[i].to, n);
	}
	sparse_end(mm);
}

TEST(gather, unchanged_rights_start_no_invalidation,
     "a protect to the rights that all regions have calls no notifier, and one "
     "that changes a part notifies the whole range")
{
	struct mm *mm = mm_fixture(4);
	struct recorder r;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(wr(mm, P(3), 1), 0);
	EXPECT_EQ(mm_protect(mm, P(2), P(4), PROT_R), 0);
	record(&r, mm);
	EXPECT_EQ(mm_protect(mm, P(0), P(2), RW), 0);
	EXPECT_EQ(mm_protect(mm, P(2), P(4), PROT_R), 0);
	EXPECT_RECORDED(&r, "");
	EXPECT_EQ(mm_protect(mm, P(0), P(4), PROT_R), 0);
	EXPECT_RECORDED(&r, "start vma 0-4; range 0-2; end 0-4");
	EXPECT_EQ(wr(mm, P(0), 2), -EFAULT);
	EXPECT_EQ(wr(mm, P(3), 2), -EFAULT);
	record_end(&r);
	mm_put(mm);
}

TEST(gather, holes_need_no_flush,
     "a discard, an unmap and a protect of a range without entries flush no "
     "CPU")
{
	struct mm *mm = sparse(1);

	EXPECT_EQ(FLUSHES({
			  EXPECT_EQ(mm_discard(mm, P(1), T(1)), 0);
			  EXPECT_EQ(mm_protect(mm, P(1), T(1), PROT_R), 0);
			  EXPECT_EQ(mm_unmap(mm, P(1), T(1)), 0);
		  }),
		  0);
	EXPECT_EQ(rd(mm, VA), 1);
	sparse_end(mm);
}

IOMMU_TEST(gather, devices_are_notified_of_changes_only,
	   "a device that walks the page tables is notified once of a discard "
	   "of two tables, and not of a protect that changes no entry")
{
	struct mm *mm = fixture_mm(s, 1024);
	struct sva *sva = fixture_bind_sva(s, 0, mm);
	uint64_t before;

	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!wr(mm, P(512), 'B'));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	before = sva->flushes;
	EXPECT_EQ(mm_protect(mm, P(0), P(1024), RW), 0);    /* as it is */
	EXPECT_EQ(mm_protect(mm, P(1), P(512), PROT_R), 0); /* holes */
	EXPECT_EQ(mm_protect(mm, P(1), P(512), PROT_NONE), 0);
	EXPECT_EQ(mm_protect(mm, P(1), P(512), RW), 0);
	EXPECT_EQ(sva->flushes - before, 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(1024), PROT_R), 0); /* two tables */
	EXPECT_EQ(sva->flushes - before, 2);
	EXPECT_EQ(mm_protect(mm, P(0), P(1024), RW), 0); /* W comes back */
	EXPECT_EQ(sva->flushes - before, 4);
	EXPECT_EQ(mm_discard(mm, P(0), P(1024)), 0);
	EXPECT_EQ(sva->flushes - before, 5);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 0);
	EXPECT_EQ(fixture_load(s, 0, P(512)), 0);
}

IOMMU_TEST(gather, evicted_page_waits_for_the_flush,
	   "an evicted page that is discarded is freed with the others, after "
	   "the flush")
{
	struct mm *mm = fixture_mm(s, 1024);
	struct page *page;

	fixture_bind_sva(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!wr(mm, P(512), 'B'));
	page = page_at(mm, P(512));
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(mm_discard(mm, P(0), P(1024)), 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 0);
	EXPECT_EQ(rd(mm, P(512)), 0);
}

TEST(gather, pages_of_two_owners,
     "pages that a process made and pages that it has from its parent, in "
     "turn, "
     "are freed by one unmap, and each anon_vma loses its own references")
{
	struct mm *parent = mm_fixture(8), *child;
	uint64_t free;

	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(wr(parent, P(i), 'p'), 0);
	child = fork_of(parent);
	for (unsigned i = 0; i < 8; i += 2)
		EXPECT_EQ(wr(child, P(i), 'c'), 0);
	mm_put(parent);
	free = pmm_free_pages();
	EXPECT_EQ(mm_discard(child, P(0), P(8)), 0);
	EXPECT_EQ(pmm_free_pages(), free + 8);
	mm_put(child);
}
