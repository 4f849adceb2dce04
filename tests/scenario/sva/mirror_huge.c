/* SPDX-License-Identifier: MIT */
/*
 * mirror_huge.c - a mirror maps 2 MiB where the CPU has one entry
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/huge/collapse.h"
#include "mm/huge/scan.h"
#include "mm/rmap/rmap.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

static const unsigned far_apart[] = { 0, 77, 300, 511 };

/* An mm with 2 MiB at VA by one entry, i + 1 in page i. */
static struct mm *filled(struct iommu_fixture *s)
{
	struct mm *mm = fixture_mm(s, N);

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	mm_bind(mm);
	for (unsigned i = 0; i < N; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	REQUIRE(entry_huge(entry_at(mm, P(0))));
	return mm;
}

/* Write i + 1 to page i of N small ones.  Returns how many failed. */
static unsigned wr_all(struct mm *mm)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < N; i++)
		failed += wr(mm, P(i), i + 1) != 0;
	return failed;
}

/* The same, and device 0 has a mirror of it with nothing in it. */
static struct mirror *reflect(struct iommu_fixture *s)
{
	return fixture_bind_mirror(s, 0, filled(s));
}

/* Return the mirror's entry for va; *level: of which size. */
static uint64_t leaf(struct mirror *m, va_t va, unsigned *level)
{
	struct domain *d = m->binding.domain;
	uint64_t e;

	spin_lock(&d->lock);
	e = pte_read(pt_lookup(&d->pt, va, 0, level));
	spin_unlock(&d->lock);
	return e;
}

static bool is_large(struct mirror *m, va_t va)
{
	unsigned level;

	return leaf(m, va, &level) && level == 1;
}

static bool is_small(struct mirror *m, va_t va)
{
	unsigned level;

	return leaf(m, va, &level) && !level;
}

static enum prot rights(struct mirror *m, va_t va)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(m->binding.domain, va, &pa, &prot) ? prot
								: PROT_NONE;
}

/* Does the device reach page i without a fault? */
static bool reaches(struct iommu_fixture *s, unsigned i)
{
	return fixture_read(s, 0, P(i)) == i + 1;
}

IOMMU_TEST(mirror, huge_entry_is_copied_whole,
	   "after a fault in a huge page the device reaches all 512 pages by "
	   "one entry, and all are dirty if it may write (B33)")
{
	struct mirror *m = reflect(s);
	struct page *head = huge_head(m->shadow.mn.mm);

	EXPECT(!page_test(head, PG_DIRTY));
	EXPECT_EQ(mirror_fault(m, P(77), PROT_R), 0);
	EXPECT(is_large(m, P(0)));
	EXPECT_EQ(rights(m, P(511)), IO_RW);
	EXPECT(page_test(head, PG_DIRTY));
	for (unsigned i = 0; i < N; i++)
		EXPECT(reaches(s, i));
	EXPECT_STR_NULL(mirror_check(m));
}

IOMMU_TEST(
	mirror, huge_entry_of_a_shared_page_is_read_only,
	"the copy of a huge entry that a fork has shared gives no right to "
	"write and marks nothing dirty; the last owner's fault gives the right "
	"for all 512 pages")
{
	struct mirror *m = reflect(s);
	struct mm *mm = m->shadow.mn.mm, *child = fixture_fork(mm);
	struct page *head = huge_head(mm);

	EXPECT_EQ(mirror_fault(m, P(77), PROT_R), 0);
	EXPECT(is_large(m, P(0)));
	EXPECT_EQ(rights(m, P(77)), PROT_R);
	EXPECT(!page_test(head, PG_DIRTY));
	fixture_exit(child);
	EXPECT_EQ(mirror_fault(m, P(300), PROT_W), 0);
	EXPECT(is_large(m, P(0)));
	EXPECT_EQ(rights(m, P(77)), IO_RW);
	EXPECT(page_test(head, PG_DIRTY));
	EXPECT_STR_NULL(mirror_check(m));
}

IOMMU_TEST(
	mirror, part_of_a_huge_entry_goes,
	"after an unmap, a discard and a protect of one page each the device "
	"has lost what they took, and reaches the rest without a fault (C82)")
{
	struct mirror *m = reflect(s);
	struct mm *mm = m->shadow.mn.mm;
	struct page *head = huge_head(mm);

	EXPECT_EQ(mirror_fault(m, P(77), PROT_W), 0);
	EXPECT(reaches(s, 300));
	EXPECT_EQ(mm_unmap(mm, P(300), P(301)), 0);
	fixture_expect_lost(s, P(300), head + 300);
	EXPECT_EQ(mm_discard(mm, P(77), P(78)), 0);
	EXPECT_EQ(fixture_read(s, 0, P(77)), BLOCKED);
	EXPECT_EQ(mm_protect(mm, P(511), P(N), PROT_R), 0);
	fixture_write(s, 0, P(511), 'X');
	EXPECT_EQ(rd(mm, P(511)), 512);
	EXPECT(is_small(m, P(0)));
	for (unsigned i = 0; i < N - 1; i++)
		EXPECT(i == 77 || i == 300 || reaches(s, i));
	EXPECT_STR_NULL(mirror_check(m));
}

IOMMU_TEST(mirror, part_goes_with_the_whole_without_memory,
	   "an unmap of one page, when there is no memory for a table to split "
	   "the device's entry, takes all 2 MiB of it, which fault again")
{
	struct mirror *m = reflect(s);
	struct mm *mm = m->shadow.mn.mm;
	struct page *head = huge_head(mm);

	EXPECT_EQ(mirror_fault(m, P(77), PROT_W), 0);
	huge_split_at(mm, P(1));
	inject_arm(1);
	EXPECT_EQ(mm_discard(mm, P(300), P(301)), 0);
	EXPECT(inject_disarm());
	fixture_expect_lost(s, P(300), head + 300);
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		EXPECT_EQ(fixture_load(s, 0, P(far_apart[i])),
			  far_apart[i] == 300 ? 0 : far_apart[i] + 1);
	EXPECT_STR_NULL(mirror_check(m));
}

struct faulter {
	struct mirror *m;
	va_t va;
	int error;
};

static void fault(void *arg)
{
	struct faulter *f = arg;

	f->error = mirror_fault(f->m, f->va, PROT_R);
}

static void discard_300(void *arg)
{
	EXPECT_EQ(mm_discard(arg, P(300), P(301)), 0);
}

IOMMU_TEST(
	mirror, size_is_decided_under_the_lock,
	"a fault that has seen a huge entry maps one page if another page of "
	"it is being discarded when it maps, and the device does not reach "
	"that one (C47, H21)")
{
	struct mirror *m = reflect(s);
	struct mm *mm = m->shadow.mn.mm;
	struct faulter f = { .m = m, .va = P(77) };
	struct sync_point look, change;
	struct page *head = huge_head(mm);
	struct task changer, t;

	sync_point_set(&look, "shadow_looked", &m->shadow);
	spawn(&t, fault, &f);
	sync_point_await(&look);
	sync_point_set(&change, "range_started", mm);
	spawn(&changer, discard_300, mm);
	sync_point_await(&change);
	sync_point_release(&look);
	join(&t);
	EXPECT_EQ(f.error, 0);
	EXPECT(is_small(m, P(77)));
	EXPECT(reaches(s, 77));
	EXPECT_EQ(fixture_read(s, 0, P(300)), BLOCKED);
	sync_point_release(&change);
	join(&changer);
	fixture_expect_lost(s, P(300), head + 300);
	EXPECT_STR_NULL(mirror_check(m));
}

IOMMU_TEST(
	mirror, split_between_look_and_map_does_no_harm,
	"a split of the CPU's entry between the lookup and the mapping leaves "
	"the device an entry of 2 MiB, of which a discard takes its part")
{
	struct mirror *m = reflect(s);
	struct mm *mm = m->shadow.mn.mm;
	struct faulter f = { .m = m, .va = P(77) };
	struct page *head = huge_head(mm);
	struct sync_point look;
	struct task t;

	sync_point_set(&look, "shadow_looked", &m->shadow);
	spawn(&t, fault, &f);
	sync_point_await(&look);
	huge_split_at(mm, P(1));
	sync_point_release(&look);
	join(&t);
	EXPECT_EQ(f.error, 0);
	EXPECT(is_large(m, P(77)));
	EXPECT_STR_NULL(mirror_check(m));
	EXPECT(reaches(s, 300));
	discard_300(mm);
	fixture_expect_lost(s, P(300), head + 300);
	EXPECT(reaches(s, 511));
}

IOMMU_TEST(
	mirror, small_entries_in_the_way_stay,
	"where the mirror has small entries a fault maps one more page, until "
	"an invalidation has removed them")
{
	struct mirror *m = reflect(s);
	struct mm *mm = m->shadow.mn.mm;
	struct mmu_notifier_range range;

	rw_read_lock(&mm->lock);
	invalidation_begin(&range, mm, 300, 301);
	EXPECT_EQ(mirror_fault(m, P(77), PROT_R), 0);
	mmu_notifier_invalidate_range_end(&range);
	EXPECT_EQ(mirror_fault(m, P(511), PROT_R), 0);
	EXPECT(is_small(m, P(77)));
	EXPECT(is_small(m, P(511)));
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	invalidation_begin(&range, mm, 0, N);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	EXPECT_EQ(mirror_fault(m, P(511), PROT_R), 0);
	EXPECT(is_large(m, P(77)));
	EXPECT_STR_NULL(mirror_check(m));
}

IOMMU_TEST(mirror, collapse_gives_a_large_entry,
	   "after a collapse the device's first fault brings all 512 pages")
{
	struct mm *mm = fixture_mm(s, N);
	struct mirror *m;

	mm_bind(mm);
	for (unsigned i = N; i-- > 0;)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	m = fixture_bind_mirror(s, 0, mm);
	EXPECT_EQ(mirror_fault(m, P(77), PROT_W), 0);
	EXPECT(is_small(m, P(77)));
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(fixture_read(s, 0, P(77)), BLOCKED);
	EXPECT_EQ(mirror_fault(m, P(0), PROT_W), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		EXPECT(reaches(s, far_apart[i]));
	EXPECT_STR_NULL(mirror_check(m));
}

IOMMU_TEST(mirror, huge_page_used_by_the_device_only_is_young,
	   "a huge page that only a device uses is young, and aging takes the "
	   "whole entry away from the device, which faults again (B36, C43)")
{
	struct mirror *m = reflect(s);
	struct page *head = huge_head(m->shadow.mn.mm);

	page_mark_idle(head);
	EXPECT(!page_young(head));
	EXPECT_EQ(mirror_fault(m, P(300), PROT_R), 0);
	page_mark_idle(head); /* the fault's own use, and the entry */
	EXPECT(!page_young(head));
	EXPECT_EQ(fixture_read(s, 0, P(511)), BLOCKED);
	EXPECT_EQ(fixture_load(s, 0, P(511)), 512);
	EXPECT(page_young(head));
	EXPECT_EQ(page_referenced(head), 1);
	EXPECT_EQ(rights(m, P(300)), PROT_NONE);
}

/* ---- page requests -------------------------------------------------------- */

static struct endpoint e;

USER_TEST(
	requests, one_request_brings_2_mib,
	"after one page request of a device in a huge page it reads and writes "
	"the other pages of it without another request")
{
	struct mm *mm = fixture_mm(s, N);
	uint32_t word;

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	fixture_serve(s);
	fixture_bind(s, 0, mm);
	endpoint_open(&e, s, 0, NULL);
	EXPECT_EQ(endpoint_write(&e, P(7), 'A'), 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT(entry_huge(entry_at(mm, P(0))));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		EXPECT_EQ(endpoint_write(&e, P(far_apart[i]), 'a' + i), 0);
		EXPECT_EQ(rd(mm, P(far_apart[i])), 'a' + i);
		EXPECT_EQ(endpoint_read(&e, P(far_apart[i]), &word), 0);
		EXPECT_EQ(word, 'a' + i);
	}
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(e.stats.fruitless, 0);
	EXPECT_STR_NULL(fixture_check(0));
}

IOMMU_TEST(huge_scan, use_by_a_mirror_counts,
	   "512 small pages that nobody has used are left; after a device has "
	   "read one by DMA through a mirror, which sets no accessed bit, they "
	   "are collapsed (C87)")
{
	struct mm *mm = fixture_mm(s, N);
	struct mirror *m;

	REQUIRE(!wr_all(mm));
	m = fixture_bind_mirror(s, 0, mm);
	for (unsigned i = 0; i < N; i++) {
		struct page *page = page_at(mm, P(i));

		REQUIRE(page);
		page_mark_idle(page);
		page_put(page);
	}
	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	huge_full_scan();
	EXPECT(!entry_huge(entry_at(mm, P(0))));
	EXPECT_EQ(mirror_fault(m, P(300), PROT_R), 0);
	EXPECT_EQ(fixture_read(s, 0, P(300)), 301);
	EXPECT(!(entry_at(mm, P(299)) & PTE_A));
	huge_full_scan();
	EXPECT(entry_huge(entry_at(mm, P(0))));
	EXPECT_EQ(mirror_fault(m, P(77), PROT_R), 0);
	EXPECT(reaches(s, 77) && reaches(s, 300));
	EXPECT_STR_NULL(mirror_check(m));
}
