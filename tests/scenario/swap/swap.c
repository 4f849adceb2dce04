/* SPDX-License-Identifier: MIT */
/*
 * swap.c - a page leaves its frame and comes back: C67, C69, C73, H47
 *
 * What operations find at swapped entries.  Threads in the middle of a transfer:
 * swap_race.c; stores that fail or are full: swap_error.c.
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/ksm/ksm.h"
#include "mm/space/fault.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fixture/mm/sync_point.h"

TEST(swap, page_comes_back,
     "a page that was swapped out has no frame, and the next access reads what "
     "was in it")
{
	struct mm *mm = swap_fixture(8, 4);
	uint64_t before;

	pmm_drain();
	before = pmm_free_pages();
	swap_out_pages(mm, 0, 4);
	pmm_drain();
	EXPECT_EQ(pmm_free_pages() - before, 4);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(swap_stat().used, 4);
	EXPECT_EQ(swap_fixture_writes(), 4);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT(swapped_at(mm, P(i)));
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	}
	EXPECT_EQ(swap_fixture_reads(), 4);
	EXPECT_EQ(swap_stat().used, 0); /* each was exclusive */
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, page_stays_exclusive,
     "a private page that was in one address space is written in place when it "
     "is back: no copy is made, and it can be pinned at once")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page, *pinned;

	swap_out_pages(mm, 0, 1);
	EXPECT_EQ(rd(mm, P(0)), 1);
	page = page_at(mm, P(0));
	REQUIRE(page);
	EXPECT(page_exclusive(page));
	EXPECT(entry_at(mm, P(0)) & PTE_W);
	REQUIRE(!wr(mm, P(0), 'B'));
	EXPECT_EQ(pin_pages(mm, P(0), 1, PIN_WRITE, &pinned), 0);
	EXPECT(pinned == page);
	unpin_pages(&pinned, 1);
	page_put(page);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, last_write_is_kept,
     "each round a page comes back with the last write before it went (B42)")
{
	struct mm *mm = swap_fixture(4, 1);

	for (unsigned i = 0; i < 50; i++) {
		REQUIRE(!wr(mm, P(0) + 8 * (i % 512), i));
		swap_out_pages(mm, 0, 1);
		EXPECT_EQ(rd(mm, P(0) + 8 * (i % 512)), i);
	}
	EXPECT_EQ(swap_fixture_writes(), 50);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, fork_shares_a_slot,
     "a fork of a swapped page copies nothing; parent and child read one "
     "frame, "
     "and the write of each is its own")
{
	struct mm *mm = swap_fixture(4, 1), *child;
	struct page *page, *other;

	swap_out_pages(mm, 0, 1);
	child = fork_of(mm);
	EXPECT_EQ(swap_stat().used, 1);
	EXPECT_EQ(swap_users(entry_swp(entry_at(mm, P(0)))), 2);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(rd(mm, P(0)), 1);
	page = page_at(mm, P(0));
	other = page_at(child, P(0));
	REQUIRE(page && other);
	EXPECT(page == other);
	EXPECT_EQ(swap_fixture_reads(), 1);
	EXPECT_EQ(swap_stat().used, 0);
	page_put(page);
	page_put(other);
	REQUIRE(!wr(mm, P(0), 'P'));
	REQUIRE(!wr(child, P(0), 'C'));
	EXPECT_EQ(rd(mm, P(0)), 'P');
	EXPECT_EQ(rd(child, P(0)), 'C');
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, shared_frame_is_found_by_both,
     "the reverse map finds the frame that a child has brought back in the "
     "parent "
     "too (B38)")
{
	struct mm *mm = swap_fixture(4, 1), *child, *grandchild;
	struct page *page;

	child = fork_of(mm);
	REQUIRE(!wr(child, P(0), 'C')); /* a page of the child's anon_vma */
	grandchild = fork_of(child);
	swap_out_pages(child, 0, 1);
	EXPECT_EQ(rd(grandchild, P(0)), 'C');
	EXPECT_EQ(rd(child, P(0)), 'C');
	page = page_at(child, P(0));
	REQUIRE(page);
	EXPECT_EQ(page_maps(page), 2);
	EXPECT_EQ(mappings(page), 2);
	page_put(page);
	mm_put(child);
	mm_put(grandchild);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, unwritten_page_goes_out_again_for_nothing,
     "a shared page whose slot another address space still names is not "
     "written a "
     "second time")
{
	struct mm *mm = swap_fixture(4, 1), *child;

	swap_out_pages(mm, 0, 1);
	child = fork_of(mm);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 1);
	EXPECT_EQ(swap_stat().clean, 1);
	EXPECT_EQ(swap_stat().used, 1);
	EXPECT_EQ(rd(child, P(0)), 1);
	REQUIRE(!wr(mm, P(0), 2));
	EXPECT_EQ(rd(child, P(0)), 1);
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, every_way_out_frees_the_slot,
     "unmap, discard, reap and exit free the slots of what they remove; a "
     "fork's "
     "slot is free after the last")
{
	struct mm *mm = swap_fixture(8, 5), *child;

	swap_out_pages(mm, 0, 5);
	child = fork_of(mm);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	EXPECT_EQ(mm_discard(mm, P(1), P(2)), 0);
	EXPECT_EQ(swap_stat().used, 5);
	EXPECT_EQ(mm_unmap(child, P(0), P(2)), 0);
	EXPECT_EQ(swap_stat().used, 3);
	EXPECT_EQ(rd(mm, P(1)), 0); /* discarded: zeroes, not the old content */
	EXPECT_EQ(mm_reap(child), 0);
	EXPECT_EQ(swap_stat().used, 3);
	mm_put(child);
	EXPECT_EQ(rd(mm, P(4)), 5);
	EXPECT_EQ(swap_stat().used, 2);
	mm_put(mm);
	EXPECT_EQ(swap_stat().used, 0);
	swap_fixture_end();
}

TEST(swap, rights_apply_when_it_is_back,
     "a page comes back with the rights that its region has then")
{
	struct mm *mm = swap_fixture(4, 3);

	swap_out_pages(mm, 0, 3);
	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	EXPECT_EQ(mm_protect(mm, P(1), P(2), PROT_NONE), 0);
	EXPECT_EQ(wr(mm, P(0), 'X'), -EFAULT);
	EXPECT(swapped_at(mm,
			  P(0))); /* refused before anything is read (B52) */
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT(!(entry_at(mm, P(0)) & PTE_W));
	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT(swapped_at(mm, P(1)));
	EXPECT_EQ(mm_protect(mm, P(0), P(2), RW), 0);
	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(wr(mm, P(2), 'C'), 0); /* the first access is a write */
	EXPECT_EQ(rd(mm, P(2)), 'C');
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, moved_entry_keeps_its_slot,
     "a swapped page that is moved to another address comes back there")
{
	struct mm *mm = swap_fixture(4, 2);

	swap_out_pages(mm, 0, 2);
	EXPECT_EQ(mm_remap(mm, P(0), 2 * PAGE_SIZE, P(20), 2 * PAGE_SIZE, NULL),
		  0);
	EXPECT_EQ(rd(mm, P(0)), BAD);
	EXPECT_EQ(rd(mm, P(20)), 1);
	EXPECT_EQ(rd(mm, P(21)), 2);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, pinned_page_stays,
     "a pinned page is not swapped out, and stays writable in place (B41)")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page;

	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &page));
	EXPECT_EQ(swap_out_at(mm, P(0)), -EBUSY);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT(page_exclusive(page));
	*(uint64_t *)page_va(page) = 'D'; /* the device */
	EXPECT_EQ(rd(mm, P(0)), 'D');
	unpin_pages(&page, 1);
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(0)), 'D');
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, pin_brings_it_back,
     "a pin of a swapped page, for reading too, gets the page of its owner "
     "alone")
{
	struct mm *mm = swap_fixture(4, 2), *child;
	struct page *page[2];

	swap_out_pages(mm, 0, 2);
	child = fork_of(mm);
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &page[0]));
	REQUIRE(!pin_pages(mm, P(1), 1, 0, &page[1]));
	EXPECT(page_exclusive(page[0]) && page_exclusive(page[1]));
	*(uint64_t *)page_va(page[0]) = 'D';
	EXPECT_EQ(rd(mm, P(0)), 'D');
	EXPECT_EQ(rd(child, P(0)), 1);
	REQUIRE(!wr(mm, P(1), 'E'));
	EXPECT_EQ(*(uint64_t *)page_va(page[1]), 'E');
	EXPECT_EQ(rd(child, P(1)), 2);
	unpin_pages(page, 2);
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, locked_region_stops_it,
     "a locked mapping stops a swap-out half-way, and no content is lost (C69)")
{
	struct mm *mm = swap_fixture(4, 1), *child = fork_of(mm);
	struct region *r;

	rw_write_lock(&child->lock);
	r = region_find(child, P(0));
	r->flags |= MAP_LOCKED;
	rw_write_unlock(&child->lock);
	EXPECT_EQ(swap_out_at(mm, P(0)), -EBUSY);
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(swap_fixture_writes(), 0);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(rd(mm, P(0)), 1); /* from the cache */
	EXPECT_EQ(swap_fixture_reads(), 0);
	EXPECT_EQ(swap_stat().used, 0);
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, evicted_entries_become_swapped,
     "a page that is only evicted loses its frame too")
{
	struct mm *mm = swap_fixture(4, 1), *child = fork_of(mm);
	struct page *page = page_at(mm, P(0));

	REQUIRE(page);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(rd(mm, P(0)), 1); /* mapped again, in the parent only */
	EXPECT_EQ(swap_out(page), 0);
	EXPECT_EQ(page_refs(page), 1);
	page_put(page);
	EXPECT(swapped_at(mm, P(0)) && swapped_at(child, P(0)));
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(rd(child, P(0)), 1);
	mm_put(child);
	mm_put(mm);
	swap_fixture_end();
}

TEST(swap, other_pages_do_not_go,
     "the zero page and the kernel's own are not swapped out")
{
	struct page *page = page_alloc();

	swap_fixture_begin(4);
	REQUIRE(page);
	EXPECT_EQ(swap_out(page), -EINVAL);
	EXPECT_EQ(swap_out(zero_page), -EINVAL);
	page_put(page);
	swap_fixture_end();
}

TEST(swap, extra_reference_keeps_the_frame,
     "a page that another part of the kernel holds leaves the tables, stays in "
     "the cache, and comes back as the same frame")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page = page_at(mm, P(0)), *again;

	REQUIRE(page);
	EXPECT_EQ(swap_out_at(mm, P(0)), -EBUSY); /* ours is one too many */
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(page_maps(page), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	again = page_at(mm, P(0));
	EXPECT(again == page);
	EXPECT_EQ(swap_fixture_reads(), 0);
	page_put(again);
	page_put(page);
	mm_put(mm);
	swap_fixture_end();
}
