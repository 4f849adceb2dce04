/* SPDX-License-Identifier: MIT */
/*
 * ksm_bound.c - chains of stable nodes: no rmap walk is longer than the bound (C99)
 */
#include "kernel/err.h"
#include "tests/fixture/mm/ksm_fixture.h"

#define N 20u

/* 20 equal pages, at most four entries a frame. */
static struct mm *chain(void)
{
	struct mm *mm = ksm_fixture(N);

	EXPECT_EQ(ksm_set_bound(4), 0);
	for (unsigned i = 0; i < N; i++)
		wr(mm, P(i), 'C');
	ksm_scans(3);
	return mm;
}

static void unchain(struct mm *mm)
{
	mm_put(mm);
	EXPECT_EQ(ksm_set_bound(KSM_DEFAULT_BOUND), 0);
}

static unsigned longest_walk(struct mm *mm)
{
	unsigned longest = 0;

	for (unsigned i = 0; i < N; i++) {
		struct page *page = page_at(mm, P(i));
		unsigned n = visits(page);

		if (n > longest)
			longest = n;
		page_put(page);
	}
	return longest;
}

TEST(ksm_bound, equal_pages_fill_frames_to_the_bound,
     "20 equal pages with a bound of 4 make one chain of 5 frames (C99)")
{
	struct mm *mm = chain();
	struct ksm_stat s = ksm_now();

	EXPECT_KSM(5, 15, 0, 0);
	EXPECT_EQ(s.stable_node_chains, 1);
	EXPECT_EQ(s.stable_node_dups, 5);
	EXPECT_EQ(longest_walk(mm), 4);
	EXPECT_KSM_SOUND();
	unchain(mm);
}

TEST(ksm_bound, room_is_used_again,
     "pages that left full frames by a write merge again into the frames with "
     "room")
{
	struct mm *mm = chain();

	for (unsigned i = 0; i < N; i += 2)
		wr(mm, P(i), i);
	EXPECT_KSM(5, 5, 0, 0);
	for (unsigned i = 0; i < N; i += 2)
		wr(mm, P(i), 'C');
	ksm_scans(3);
	EXPECT_KSM(5, 15, 0, 0);
	EXPECT_EQ(longest_walk(mm), 4);
	unchain(mm);
}

TEST(ksm_bound, empty_frames_leave_the_chain,
     "frames without an entry leave their chain, and the last one ends it")
{
	struct mm *mm = chain();

	EXPECT_EQ(ksm_unmergeable(mm, P(4), P(N)), 0);
	EXPECT(ksm_now().stable_node_dups <= 4);
	for (unsigned i = 1; i < 4; i++)
		wr(mm, P(i), i);
	EXPECT_KSM(1, 0, 0, 0);
	EXPECT_EQ(ksm_now().stable_node_chains, 0);
	EXPECT_EQ(ksm_now().stable_node_dups, 0);
	EXPECT_KSM_SOUND();
	unchain(mm);
}

TEST(ksm_bound, links_without_entries_are_dropped,
     "a frame that pages leave and join at ever new addresses has at most as "
     "many links as the bound")
{
	struct mm *mm = ksm_fixture(64);

	EXPECT_EQ(ksm_set_bound(4), 0);
	wr(mm, P(0), 'L');
	wr(mm, P(1), 'L');
	ksm_scans(2);
	for (unsigned i = 2; i < 64; i++) {
		struct page *page = page_at(mm, P(0));

		wr(mm, P(i), 'L');
		ksm_scans(1);
		EXPECT(same_frame(mm, P(0), mm, P(i)));
		EXPECT(visits(page) <= 4);
		EXPECT_EQ(mappings(page), page_maps(page));
		EXPECT_EQ(mm_discard(mm, P(i - 1), P(i)), 0);
		page_put(page);
	}
	EXPECT_KSM(1, 1, 0, 0);
	unchain(mm);
}

TEST(ksm_bound, evicted_entries_keep_their_link,
     "an evicted page is found when it comes back, although links were pruned "
     "meanwhile")
{
	struct mm *mm = ksm_fixture(64), *other = ksm_fixture(1);
	struct page *page;

	EXPECT_EQ(ksm_set_bound(4), 0);
	wr(mm, P(0), 'K');
	wr(other, VA, 'K');
	ksm_scans(2);
	page = page_at(other, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	for (unsigned i = 1; i < 64; i++) {
		wr(mm, P(i), 'K');
		ksm_scans(1);
		EXPECT_EQ(mm_discard(mm, P(i - 1), P(i)), 0);
	}
	EXPECT_EQ(rd(other, VA), 'K');
	EXPECT_EQ(mappings(page), page_maps(page));
	page_put(page);
	EXPECT_KSM_SOUND();
	mm_put(other);
	unchain(mm);
}

TEST(ksm_bound, bound_is_fixed_while_it_is_used,
     "the bound is at least 2, and cannot be changed while any page is merged")
{
	struct mm *mm = ksm_fixture(2);

	EXPECT_EQ(ksm_set_bound(1), -EINVAL);
	wr(mm, P(0), 1);
	wr(mm, P(1), 1);
	ksm_scans(2);
	EXPECT_EQ(ksm_set_bound(8), -EBUSY);
	EXPECT_EQ(ksm_knobs.max_page_sharing, KSM_DEFAULT_BOUND);
	EXPECT_EQ(ksm_unmerge_all(), 0);
	EXPECT_EQ(ksm_set_bound(2), 0);
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	unchain(mm);
}

TEST(ksm_bound, forks_count_against_the_bound,
     "a frame that forks have filled to the bound takes no further entry")
{
	struct mm *mm = ksm_fixture(2), *kid[3], *other = ksm_fixture(2);

	EXPECT_EQ(ksm_set_bound(4), 0);
	wr(mm, P(0), 'F');
	wr(mm, P(1), 'F');
	ksm_scans(2);
	for (unsigned i = 0; i < 3; i++)
		kid[i] = fork_of(mm);
	EXPECT_KSM(1, 7, 0, 0);
	wr(other, P(0), 'F');
	wr(other, P(1), 'F');
	ksm_scans(2);
	EXPECT_KSM(2, 8, 0, 0);
	EXPECT(!same_frame(mm, P(0), other, P(0)));
	for (unsigned i = 0; i < 3; i++)
		mm_put(kid[i]);
	mm_put(other);
	unchain(mm);
}

TEST(ksm_bound, frame_without_links_is_joined,
     "a page merges with a frame whose entries and links are all gone")
{
	struct mm *mm = ksm_fixture(16);
	struct page *page;

	EXPECT_EQ(ksm_set_bound(4), 0);
	for (unsigned i = 0; i < 4; i++)
		wr(mm, P(i), 'N');
	ksm_scans(2);
	page = page_at(mm, P(0));
	EXPECT_EQ(visits(page), 4);
	EXPECT_EQ(mm_discard(mm, P(0), P(4)), 0);
	EXPECT_EQ(page_maps(page), 0);
	wr(mm, P(9), 'N');
	ksm_scans(2);
	EXPECT_EQ(page_maps(page), 1);
	EXPECT_EQ(visits(page), 1);
	EXPECT_EQ(mappings(page), 1);
	page_put(page);
	EXPECT_KSM_SOUND();
	unchain(mm);
}

TEST(ksm_bound, links_of_one_root_stay_together,
     "each entry of a merged frame is visited once, in whatever order its "
     "anon_vmas were linked (B38)")
{
	struct mm *a = ksm_equal(1, 1), *b = ksm_equal(1, 1), *kid, *c;
	struct page *page;

	ksm_scans(2); /* links of a and b */
	kid = fork_of(a);
	EXPECT_EQ(wr(kid, VA, 9), 0);
	EXPECT_EQ(wr(kid, VA, 1), 0);
	ksm_scans(2); /* the child's own anon_vma is of a's root */
	c = ksm_equal(1, 1);
	ksm_scans(2); /* a third root is added */
	page = page_at(a, VA);
	EXPECT_EQ(page_maps(page), 4);
	EXPECT_EQ(mappings(page), 4);
	page_put(page);
	EXPECT_KSM_SOUND();
	mm_put(kid);
	mm_put(a);
	mm_put(b);
	mm_put(c);
}
