/* SPDX-License-Identifier: MIT */
/*
 * collapse.c - 512 small pages become one of 2 MiB (mm/huge/collapse.h)
 */
#include "mm/huge/collapse.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/frame/pmm.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* Return an mm with small pages, i + 1 in page i of the first 2 MiB.  They are not
 * in the order of their frames. */
static struct mm *small_filled(void)
{
	struct mm *mm = mm_fixture(3 * N);

	mm_bind(mm);
	for (unsigned i = N; i-- > 0;)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	REQUIRE(!entry_huge(entry_at(mm, VA)));
	return mm;
}

static struct huge_stat counted(void)
{
	struct huge_stat now;

	huge_stat(&now);
	return now;
}

TEST(huge_collapse, copies_512_pages,
     "a collapse maps a copy of 512 pages by one writable entry, frees the "
     "pages, and keeps their table for the split")
{
	struct mm *mm = small_filled();
	struct page *first = huge_head(mm);
	uint64_t before = free_now(), n = counted().collapses;
	uint64_t tables = mm->pt.tables, e;

	EXPECT_EQ(mm_collapse(mm, P(77) + 5), 0);
	e = entry_at(mm, VA);
	EXPECT(entry_huge(e) && (e & PTE_W) && (e & PTE_D));
	EXPECT(huge_head(mm) != first);
	EXPECT_EQ(page_count(huge_head(mm)), PAGE_MAP);
	EXPECT_EQ(mm->mapped, N);
	EXPECT_EQ(mm->pt.tables, tables - 1);
	EXPECT(mm->deposit);
	EXPECT_EQ(free_now(), before);
	EXPECT_EQ(counted().collapses, n + 1);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	huge_split_at(mm, P(1));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm->pt.tables, tables);
	mm_put(mm);
}

TEST(huge_collapse, merged_zeroes_are_counted_no_more,
     "a page of zeroes that KSM has merged is a page of the block after a "
     "collapse, and is no longer counted as merged")
{
	struct mm *mm = ksm_fixture(N);

	ksm_knobs.use_zero_pages = true;
	EXPECT_EQ(wr(mm, P(3), 0), 0);
	EXPECT_EQ(wr(mm, P(5), 7), 0);
	ksm_scans(2);
	EXPECT_EQ(ksm_now().ksm_zero_pages_sharing, 1);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(ksm_now().ksm_zero_pages_sharing, 0);
	EXPECT_EQ(rd(mm, P(3)), 0);
	EXPECT_EQ(rd(mm, P(5)), 7);
	ksm_knobs_reset();
	mm_put(mm);
}

TEST(huge_collapse, holes_become_zeroes,
     "holes and the zero page are zeroes after a collapse, and are counted as "
     "mapped")
{
	struct mm *mm;
	unsigned wrong = 0;

	mm_put(huge_filled()); /* its block is used again */
	mm = mm_fixture(N);
	EXPECT_EQ(rd(mm, P(3)), 0);
	EXPECT_EQ(wr(mm, P(4), 5), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(mm->mapped, N);
	for (unsigned i = 0; i < N; i++)
		wrong += rd(mm, P(i)) != (i == 4 ? 5 : 0);
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(wr(mm, P(3), 1), 0);
	mm_put(mm);
}

TEST(huge_collapse, announces_the_whole_range,
     "a collapse opens one invalidation of 2 MiB and flushes all of it once")
{
	struct mm *mm = small_filled();
	struct recorder r;

	record(&r, mm);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_RECORDED(&r, "start clear 0-512; range 0-512; end 0-512");
	record_end(&r);
	mm_put(mm);
}

TEST(huge_collapse, keeps_rights,
     "a read-only region is read-only after a collapse")
{
	struct mm *mm = small_filled();

	EXPECT_EQ(mm_protect(mm, P(0), P(3 * N), PROT_R), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(wr(mm, P(9), 1), -EFAULT);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(3 * N), RW), 0);
	EXPECT_EQ(wr(mm, P(9), 10), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, page_can_be_shared_and_cut_again,
     "what a collapse has made is forked, copied on write and unmapped in "
     "parts as any other huge page")
{
	struct mm *mm = small_filled(), *child;

	EXPECT_EQ(mm_collapse(mm, VA), 0);
	child = fork_of(mm);
	EXPECT(entry_huge(entry_at(child, VA)));
	EXPECT_EQ(wr(child, P(5), 'c'), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm_unmap(mm, P(100), P(200)), 0);
	EXPECT_EQ(huge_wrong(child, 6, N), 0);
	mm_put(child);
	EXPECT_EQ(huge_wrong(mm, 200, N), 0);
	mm_put(mm);
}

/* ---- refused -------------------------------------------------------------- */

static uint64_t was[N];

static void remember(struct mm *mm)
{
	for (unsigned i = 0; i < N; i++)
		was[i] = entry_at(mm, P(i));
}

/* Expect that a collapse is refused, and every entry is as it was. */
static void expect_refused(struct mm *mm, int why)
{
	unsigned changed = 0;
	uint64_t mapped = mm->mapped, refused = counted().collapses;

	remember(mm);
	EXPECT_EQ(mm_collapse(mm, VA), why);
	for (unsigned i = 0; i < N; i++)
		changed += entry_at(mm, P(i)) != was[i];
	EXPECT_EQ(changed, 0);
	EXPECT_EQ(mm->mapped, mapped);
	EXPECT_EQ(counted().collapses, refused);
}

TEST(huge_collapse, pin_refuses,
     "a pinned page refuses a collapse, and every entry stays as it was (C84)")
{
	struct mm *mm = small_filled();
	struct page *page;

	EXPECT_EQ(pin_pages(mm, P(300), 1, PIN_WRITE, &page), 0);
	expect_refused(mm, -EBUSY);
	*(uint64_t *)page_va(page) = 'p';
	EXPECT_EQ(rd(mm, P(300)), 'p');
	unpin_pages(&page, 1);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(rd(mm, P(300)), 'p');
	mm_put(mm);
}

TEST(huge_collapse, reference_refuses,
     "an extra reference, a fork's share, an evicted page and an object each "
     "refuse a collapse (C84)")
{
	struct object *o = object_create(N);
	struct mm *mm = small_filled(), *child;
	struct page *page = page_at(mm, P(511));

	REQUIRE(o);
	expect_refused(mm, -EBUSY);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	expect_refused(mm, -EBUSY);
	EXPECT_EQ(rd(mm, P(511)), 512);
	child = fork_of(mm);
	expect_refused(mm, -EBUSY);
	mm_put(child);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	REQUIRE(!mm_map(mm, VA, BLOCK_SIZE, RW, MAP_REPLACE, o, 0, NULL));
	EXPECT_EQ(wr(mm, VA, 1), 0);
	EXPECT_EQ(mm_collapse(mm, VA), -EINVAL);
	mm_put(mm);
	object_put(o);
}

TEST(huge_collapse, region_must_contain_it,
     "where the aligned 2 MiB cross a region's edge, lie in no region, or hold "
     "no page a collapse is refused with an error of its own")
{
	struct mm *mm = small_filled();

	EXPECT_EQ(mm_collapse(mm, Q(0)), -ENOENT);
	EXPECT_EQ(rd(mm, Q(7)), 0); /* the zero page alone */
	EXPECT_EQ(mm_collapse(mm, Q(0)), -ENOENT);
	EXPECT_EQ(mm_collapse(mm, P(9 * N)), -EINVAL);
	EXPECT_EQ(mm_collapse(mm, USER_END), -EINVAL);
	EXPECT_EQ(mm_collapse(mm, 0), -EINVAL);
	EXPECT_EQ(mm_protect(mm, P(511), P(512), PROT_R), 0);
	EXPECT_EQ(mm_collapse(mm, P(0)), -EINVAL);
	EXPECT_EQ(mm_protect(mm, P(511), P(512), RW), 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(3 * N), PROT_NONE), 0);
	EXPECT_EQ(mm_collapse(mm, P(0)), -EINVAL);
	mm_put(mm);
}

static struct {
	struct mm *mm;
	struct page *page;
} late;

/* What finds the page by its number holds it for a moment. */
static void take_late(uint64_t mm, uint64_t va, void *unused)
{
	if (mm == (uint64_t)late.mm)
		page_get(late.page);
}

TEST(huge_collapse, references_are_tested_after_the_flush,
     "a reference that comes after the table's entry was cleared refuses the "
     "collapse, and the entries translate again")
{
	struct mm *mm = small_filled();
	uint64_t e = entry_at(mm, P(9));

	late.mm = mm;
	late.page = entry_page(e);
	hook("collapse_cleared", take_late, NULL);
	EXPECT_EQ(mm_collapse(mm, VA), -EBUSY);
	unhook("collapse_cleared");
	page_put(late.page);
	EXPECT_EQ(entry_at(mm, P(9)), e);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, without_a_block_nothing_changes,
     "a collapse without memory for a block returns -ENOMEM, and every entry "
     "stays as it was")
{
	struct mm *mm = small_filled();

	inject_arm(1);
	EXPECT_EQ(mm_collapse(mm, VA), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm->mapped, N);
	mm_put(mm);
}

/* ---- promotion -------------------------------------------------------------- */

TEST(huge_collapse, split_page_is_joined_in_place,
     "a collapse after a mere split copies nothing and needs no memory: the "
     "same frames are one block again")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);
	uint64_t joins = counted().joins;

	huge_split_at(mm, P(1));
	page_set_dirty(head + 9);
	inject_arm(1);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(!inject_disarm());
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT(huge_head(mm) == head);
	EXPECT_EQ(counted().joins, joins + 1);
	EXPECT_EQ(page_count(head), PAGE_MAP);
	EXPECT_EQ(page_count(head + 9), 0);
	EXPECT(page_head(head + 9) == head);
	EXPECT(page_test(head, PG_DIRTY));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0); /* it is huge already */
	EXPECT_EQ(counted().joins, joins + 1);
	EXPECT_EQ(mm_unmap(mm, P(0), P(9)), 0);
	EXPECT_EQ(huge_wrong(mm, 9, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, page_that_was_replaced_is_copied,
     "512 frames of which one is not in its place, or was shared, are not "
     "joined but copied")
{
	struct mm *mm = huge_filled(), *child;
	struct page *head = huge_head(mm), *frame;
	uint64_t joins = counted().joins;

	EXPECT_EQ(mm_discard(mm, P(7), P(8)), 0);
	frame = page_alloc(); /* the one that was freed */
	REQUIRE(frame);
	EXPECT_EQ(wr(mm, P(7), 8), 0);
	page_put(frame);
	REQUIRE(entry_page(entry_at(mm, P(7))) != head + 7);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(huge_head(mm) != head);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);

	child = fork_of(mm);
	huge_split_at(mm, P(1));
	mm_put(child);
	head = huge_head(mm);
	EXPECT_EQ(mm_collapse(mm, VA), 0); /* no frame is exclusive */
	EXPECT(huge_head(mm) != head);
	EXPECT_EQ(counted().joins, joins);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, frames_that_changed_places_are_copied,
     "512 frames of one block, of which two have changed places, are not "
     "joined: each page keeps its contents")
{
	struct mm *mm = huge_filled();

	EXPECT_EQ(mm_discard(mm, P(7), P(8)), 0);
	EXPECT_EQ(mm_discard(mm, P(8), P(9)), 0);
	/* The frame that was freed last comes back first, as a rule. */
	EXPECT_EQ(wr(mm, P(7), 8), 0);
	EXPECT_EQ(wr(mm, P(8), 9), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, referenced_part_refuses_a_join,
     "a reference on one part of a block that was split refuses the join: each "
     "frame is a page as before, and is joined when the reference is gone")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);
	unsigned wrong = 0;

	huge_split_at(mm, P(1));
	page_set_dirty(head + 9);
	page_get(head + 300);
	expect_refused(mm, -EBUSY);
	EXPECT_EQ(page_count(head + 300), PAGE_MAP + PAGE_REF);
	page_put(head + 300);
	for (unsigned i = 0; i < N; i++)
		wrong += page_count(head + i) != PAGE_MAP ||
			 page_kind(head + i) != PAGE_ANON ||
			 page_order(head + i) ||
			 page_test(head + i, PG_DIRTY) != (i == 9) ||
			 head[i].index != head->index + i;
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(huge_head(mm) == head);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, parts_of_two_owners_are_copied,
     "512 frames in order of which one belongs to another anon_vma are not "
     "joined but copied, and each owner gets its references back")
{
	struct mm *parent = huge_filled(), *mm = fork_of(parent);
	struct page *head = huge_head(mm);

	mm_put(parent);
	EXPECT_EQ(wr(mm, P(0), 1), 0); /* of the last owner: in place */
	EXPECT_EQ(mm_discard(mm, P(7), P(8)), 0);
	/* The frame that was freed last comes back first, as a rule. */
	EXPECT_EQ(wr(mm, P(7), 8), 0);
	if (entry_page(entry_at(mm, P(7))) == head + 7)
		EXPECT(head[7].mapping.anon_vma != head->mapping.anon_vma);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(huge_head(mm) != head);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_collapse, found_during_the_copy,
     "a page that is found by its number while it is copied stays until that "
     "reference is dropped, with its contents")
{
	struct mm *mm = small_filled();
	uint64_t before;

	late.mm = mm;
	late.page = entry_page(entry_at(mm, P(9)));
	before = free_now();
	hook("collapse_copied", take_late, NULL);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	unhook("collapse_copied");
	EXPECT_EQ(page_count(late.page), PAGE_REF);
	EXPECT_EQ(*(uint64_t *)page_va(late.page), 10);
	EXPECT_EQ(free_now(), before - 1);
	page_put(late.page);
	EXPECT_EQ(free_now(), before);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}
