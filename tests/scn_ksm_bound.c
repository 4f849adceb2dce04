/* SPDX-License-Identifier: MIT */
/*
 * scn_ksm_bound.c - chains of duplicates: no walk is longer than the bound (C99)
 */
#include "kernel/err.h"
#include "tests/ksm_world.h"

#define N 20u

/* 20 equal pages, at most four in a frame. */
static struct mm *chain(void)
{
	struct mm *mm = ksm_world(N);

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
     "what was broken out of full frames comes back to where there is room")
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
     "frames that nobody maps any more leave their chain, the last ends it")
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

TEST(ksm_bound, links_in_vain_are_dropped,
     "a frame that pages leave and join at ever new addresses keeps as many "
     "links as the bound")
{
	struct mm *mm = ksm_world(64);

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

TEST(ksm_bound, parked_entries_keep_their_link,
     "a parked page is found when it comes back, whatever was dropped "
     "meanwhile")
{
	struct mm *mm = ksm_world(64), *other = ksm_world(1);
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
     "the bound is at least 2, and is not changed while anything is merged")
{
	struct mm *mm = ksm_world(2);

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

TEST(ksm_bound, forks_count_too,
     "a frame that forks have filled takes nobody else in")
{
	struct mm *mm = ksm_world(2), *kid[3], *other = ksm_world(2);

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
