/* SPDX-License-Identifier: MIT */
/*
 * ksm_life.c - merged pages in fork, exit, unmap, move, eviction: C97, C100-C103,
 * B38, B50, H22, H25
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/ksm_fixture.h"

/* Makes n pages of the same content, merged, in each of `spaces` spaces. */
static void merged(struct mm **mm, unsigned spaces, unsigned n)
{
	for (unsigned k = 0; k < spaces; k++) {
		mm[k] = ksm_fixture(n);
		for (unsigned i = 0; i < n; i++)
			wr(mm[k], P(i), 1 + i);
	}
	ksm_scans(2);
	EXPECT_KSM(n, n * (spaces - 1), 0, 0);
}

static void put_all(struct mm **mm, unsigned n)
{
	while (n--)
		mm_put(mm[n]);
}

/* ---- fork ------------------------------------------------------------------ */

TEST(ksm_life, fork_inherits_sharing,
     "a fork shares merged pages at once, its writes change only its own "
     "pages, and its new pages are merged too (C102, B50)")
{
	struct mm *mm[2], *child;

	merged(mm, 2, 2);
	child = fork_of(mm[0]);
	EXPECT_KSM(2, 4, 0, 0);
	EXPECT_EQ(wr(child, P(0), 50), 0);
	EXPECT_KSM(2, 3, 0, 0);
	EXPECT_EQ(rd(mm[0], P(0)), 1);
	EXPECT_EQ(ksm_unmergeable(mm[0], VA, P(2)), 0);
	EXPECT_KSM(2, 1, 0, 0);
	EXPECT_EQ(rd(child, P(1)), 2);
	EXPECT_EQ(wr(child, P(0), 1), 0);
	ksm_scans(2);
	EXPECT_KSM(2, 2, 0, 0);
	EXPECT(same_frame(child, P(0), mm[1], P(0)));
	EXPECT(!is_merged(mm[0], P(0)));
	mm_put(child);
	put_all(mm, 2);
}

TEST(ksm_life, fork_entries_of_one_frame_stay,
     "two entries of one frame are not merged with each other (C103)")
{
	struct mm *mm = ksm_equal(1, 3), *child;
	struct page *page;

	child = fork_of(mm);
	ksm_scans(4);
	EXPECT(!is_merged(mm, VA));
	EXPECT(same_frame(mm, VA, child, VA));
	page = page_at(mm, VA);
	EXPECT_EQ(page_refs(page), 3);
	page_put(page);
	EXPECT_KSM_SOUND();
	mm_put(child);
	EXPECT_EQ(wr(mm, VA, 4), 0);
	mm_put(mm);
}

TEST(ksm_life, fork_shared_pages_merge,
     "pages that forks share merge with a third page, and later with each "
     "other's copies")
{
	struct mm *mm = ksm_fixture(1), *kid[3], *other = ksm_fixture(1);

	wr(mm, VA, 3);
	for (unsigned i = 0; i < 3; i++)
		kid[i] = fork_of(mm);
	wr(other, VA, 3);
	ksm_scans(3);
	EXPECT_KSM(1, 4, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(same_frame(other, VA, kid[i], VA));
		EXPECT_EQ(rd(kid[i], VA), 3);
	}
	EXPECT_KSM_SOUND();
	mm_put(mm);
	put_all(kid, 3);
	mm_put(other);
}

TEST(ksm_life, two_fork_shared_pages_merge,
     "if both of two equal pages are shared by forks, one is copied before "
     "they merge")
{
	struct mm *a = ksm_equal(1, 8), *b = ksm_equal(1, 8), *x, *y;

	x = fork_of(a);
	y = fork_of(b);
	ksm_scans(4);
	EXPECT_KSM(1, 3, 0, 0);
	EXPECT(same_frame(a, VA, y, VA));
	mm_put(a);
	EXPECT_EQ(rd(x, VA), 8);
	mm_put(b);
	mm_put(x);
	EXPECT_EQ(rd(y, VA), 8);
	mm_put(y);
}

TEST(ksm_life, opted_out_space_gets_no_merged_page,
     "a page that a fork shares with a space that opted out does not become "
     "merged in both (B49, B50)")
{
	struct mm *mm = ksm_fixture(1), *child, *other = ksm_fixture(1);

	wr(mm, VA, 6);
	child = fork_of(mm);
	EXPECT_EQ(ksm_unmergeable(child, VA, P(1)), 0);
	EXPECT(same_frame(mm, VA, child, VA));
	wr(other, VA, 6);
	ksm_scans(4);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT(is_merged(mm, VA));
	EXPECT(!is_merged(child, VA));
	EXPECT_EQ(rd(child, VA), 6);
	EXPECT_KSM_SOUND();
	mm_put(child);
	mm_put(mm);
	mm_put(other);
}

/* ---- the reverse map ---------------------------------------------------------- */

TEST(ksm_life, rmap_finds_every_entry,
     "the reverse map finds each entry of a merged frame once, over spaces "
     "and forks (C100, B38)")
{
	struct mm *mm[4], *kid[4];
	struct page *page;

	merged(mm, 4, 1);
	for (unsigned k = 0; k < 4; k++)
		kid[k] = fork_of(mm[k]);
	page = page_at(mm[0], VA);
	EXPECT_EQ(page_maps(page), 8);
	EXPECT_EQ(mappings(page), 8);
	/* The parents exit; the entries of their children must still be found. */
	for (unsigned k = 0; k < 4; k++)
		mm_put(mm[k]);
	EXPECT_EQ(page_maps(page), 4);
	EXPECT_EQ(mappings(page), 4);
	page_put(page);
	put_all(kid, 4);
}

TEST(ksm_life, rmap_counts_a_region_of_two_anon_vmas_once,
     "the entry of a child that wrote a merged page and merged again is found "
     "once (B38)")
{
	struct mm *mm[4], *child;
	struct page *page;

	merged(mm, 4, 1);
	child = fork_of(mm[1]);
	wr(child, VA, 9);
	wr(child, VA, 1);
	ksm_scans(2);
	EXPECT_KSM(1, 4, 0, 0);
	page = page_at(child, VA);
	EXPECT_EQ(page_maps(page), 5);
	EXPECT_EQ(mappings(page), 5);
	page_put(page);
	mm_put(child);
	put_all(mm, 4);
}

TEST(ksm_life, eviction_reaches_every_entry,
     "try_to_unmap() evicts a merged page from every table, and each access "
     "maps it again, merged and read-only (C100)")
{
	struct mm *mm[4], *child;
	struct page *page;

	merged(mm, 3, 1);
	mm[3] = child = fork_of(mm[1]);
	page = page_at(mm[0], VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(page_maps(page), 0);
	EXPECT_KSM(0, 0, 0, 0);
	for (unsigned k = 0; k < 4; k++) {
		EXPECT(entry_evicted(entry_at(mm[k], VA)));
		EXPECT_EQ(rd(mm[k], VA), 1);
		EXPECT(!(entry_at(mm[k], VA) & PTE_W));
	}
	EXPECT_EQ(page_maps(page), 4);
	EXPECT_EQ(mappings(page), 4);
	EXPECT_KSM(1, 3, 0, 0);
	page_put(page);
	wr(mm[0], VA, 2);
	EXPECT_EQ(rd(child, VA), 1);
	put_all(mm, 4);
}

TEST(ksm_life, evicted_merged_page_is_unmerged,
     "an opt-out unmerges evicted merged pages (C97)")
{
	struct mm *mm[2];
	struct page *page;

	merged(mm, 2, 1);
	page = page_at(mm[0], VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(ksm_unmergeable(mm[0], VA, P(1)), 0);
	EXPECT(!is_merged(mm[0], VA));
	EXPECT_EQ(rd(mm[0], VA), 1);
	EXPECT_EQ(rd(mm[1], VA), 1);
	EXPECT_KSM_SOUND();
	put_all(mm, 2);
}

TEST(ksm_life, uses_are_counted_in_all_spaces,
     "page_referenced() counts the accessed entries of a merged page in all "
     "spaces")
{
	struct mm *mm[3];
	struct page *page;

	merged(mm, 3, 1);
	page = page_at(mm[0], VA);
	page_referenced(page);
	EXPECT(!page_young(page));
	rd(mm[0], VA);
	rd(mm[2], VA);
	EXPECT(page_young(page));
	EXPECT_EQ(page_referenced(page), 2);
	EXPECT_EQ(page_referenced(page), 0);
	page_put(page);
	put_all(mm, 3);
}

/* ---- layout ------------------------------------------------------------------- */

TEST(ksm_life, unmap_discard_and_exit,
     "unmap, discard and exit of one sharer leave the others' merged pages "
     "unchanged, and the last frees the frame")
{
	struct mm *mm[3];

	merged(mm, 3, 4);
	EXPECT_EQ(mm_unmap(mm[0], P(0), P(2)), 0);
	EXPECT_KSM(4, 6, 0, 0);
	EXPECT_EQ(mm_discard(mm[1], P(1), P(3)), 0);
	EXPECT_EQ(rd(mm[1], P(1)), 0);
	EXPECT_KSM(4, 4, 0, 0);
	EXPECT_EQ(rd(mm[2], P(1)), 2);
	mm_put(mm[0]);
	EXPECT_KSM(4, 2, 0, 0);
	EXPECT_EQ(mm_unmap(mm[2], VA, P(4)), 0);
	EXPECT_KSM(2, 0, 0, 0);
	EXPECT_EQ(rd(mm[1], P(3)), 4);
	mm_put(mm[1]);
	EXPECT_KSM(0, 0, 0, 0);
	mm_put(mm[2]);
}

TEST(ksm_life, merged_pages_move,
     "merged pages keep content and sharing when their region moves, and the "
     "reverse map finds them at the new address")
{
	struct mm *mm[2];
	struct page *page;

	merged(mm, 2, 2);
	EXPECT_EQ(
		mm_remap(mm[0], VA, 2 * PAGE_SIZE, P(100), 2 * PAGE_SIZE, NULL),
		0);
	EXPECT_EQ(rd(mm[0], P(100)), 1);
	EXPECT_EQ(rd(mm[0], P(101)), 2);
	EXPECT_KSM(2, 2, 0, 0);
	page = page_at(mm[0], P(101));
	EXPECT_EQ(mappings(page), 2);
	page_put(page);
	wr(mm[0], P(100), 7);
	EXPECT_EQ(rd(mm[1], P(0)), 1);
	ksm_scans(2);
	EXPECT_KSM(2, 1, 1, 0);
	put_all(mm, 2);
}

TEST(ksm_life, rights_come_back_without_w,
     "a merged page whose region loses and regains its rights is still copied "
     "before it is written (H22, C97)")
{
	struct mm *mm[2];

	merged(mm, 2, 1);
	EXPECT_EQ(mm_protect(mm[0], VA, P(1), PROT_NONE), 0);
	EXPECT_EQ(rd(mm[0], VA), BAD);
	EXPECT_EQ(mm_protect(mm[0], VA, P(1), RW), 0);
	EXPECT(!(entry_at(mm[0], VA) & PTE_W));
	EXPECT_EQ(wr(mm[0], VA, 5), 0);
	EXPECT_EQ(rd(mm[1], VA), 1);
	put_all(mm, 2);
}

TEST(ksm_life, no_access_pages_merge_and_unmerge,
     "pages without access rights are merged and unmerged, and have their "
     "content afterwards (H22, C97)")
{
	struct mm *mm = ksm_equal(3, 4);

	EXPECT_EQ(mm_protect(mm, VA, P(2), PROT_NONE), 0);
	ksm_scans(2);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(ksm_unmergeable(mm, P(0), P(1)), 0);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(mm_protect(mm, VA, P(2), RW), 0);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(rd(mm, P(i)), 4);
		EXPECT_EQ(wr(mm, P(i), 5 + i), 0);
	}
	EXPECT_EQ(rd(mm, P(2)), 4);
	EXPECT_EQ(rd(mm, P(0)), 5);
	EXPECT_EQ(rd(mm, P(1)), 6);
	mm_put(mm);
}

TEST(ksm_life, read_only_pages_merge,
     "pages of a read-only region are merged and stay readable")
{
	struct mm *mm = ksm_equal(2, 4);

	EXPECT_EQ(mm_protect(mm, VA, P(2), PROT_R), 0);
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(wr(mm, P(0), 5), -EFAULT);
	EXPECT_EQ(mm_protect(mm, VA, P(2), RW), 0);
	EXPECT_EQ(wr(mm, P(0), 5), 0);
	EXPECT_EQ(rd(mm, P(1)), 4);
	mm_put(mm);
}

/* ---- exit ---------------------------------------------------------------------- */

static void put_mm(void *arg)
{
	mm_put(arg);
}

static void unmap_two(void *arg)
{
	EXPECT_EQ(mm_unmap(arg, VA, P(2)), 0);
}

TEST(ksm_life, exit_waits_for_the_scanner,
     "an exit waits until the scanner has left the space, and none of its "
     "pages is scanned afterwards (C101, H25)")
{
	static const char *const steps[] = { "ksm_batch_end", "ksm_checksummed",
					     "ksm_converted" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct mm *mm = ksm_fixture(2), *other = ksm_fixture(2);
		struct task scan, exit;
		struct sync_point g;
		int ret;

		wr(mm, P(0), 1);
		wr(mm, P(1), 1);
		wr(other, P(0), 1);
		if (i == 2)
			ksm_scans(1);
		sync_point_set(&g, steps[i], mm);
		spawn(&scan, ksm_pass, &ret);
		sync_point_await(&g);
		spawn(&exit, put_mm, mm);
		EXPECT(still_waits(&exit));
		sync_point_release(&g);
		join(&scan);
		join(&exit);
		EXPECT_EQ(rd(other, P(0)), 1);
		ksm_scans(2);
		EXPECT_KSM_SOUND();
		mm_put(other);
	}
}

TEST(ksm_life, exit_at_the_cursor,
     "the scanner continues after the exit of the space at its cursor, or of "
     "one with pages in the unstable tree (C101)")
{
	struct mm *mm[3];

	for (unsigned at = 0; at < 12; at++) {
		for (unsigned k = 0; k < 3; k++) {
			mm[k] = ksm_fixture(4);
			for (unsigned i = 0; i < 4; i++)
				wr(mm[k], P(i), 10 * k + i);
		}
		ksm_scans(1);
		EXPECT(ksm_scan(at + 1) >= 0);
		mm_put(mm[1]);
		EXPECT_KSM_SOUND();
		ksm_scans(2);
		EXPECT_KSM(0, 0, 8, 0);
		mm_put(mm[2]);
		mm_put(mm[0]);
		EXPECT_KSM(0, 0, 0, 0);
	}
}

TEST(ksm_life, unmap_waits_for_the_batch,
     "an unmap waits until the scanner has finished the batch with its pages "
     "(H27)")
{
	struct mm *mm = ksm_equal(2, 1);
	struct task scan, unmap;
	struct sync_point g;
	int ret;

	sync_point_set(&g, "ksm_batch_end", mm);
	spawn(&scan, ksm_pass, &ret);
	sync_point_await(&g);
	spawn(&unmap, unmap_two, mm);
	EXPECT(still_waits(&unmap));
	sync_point_release(&g);
	join(&scan);
	join(&unmap);
	ksm_scans(2);
	EXPECT_KSM(0, 0, 0, 0);
	mm_put(mm);
}
