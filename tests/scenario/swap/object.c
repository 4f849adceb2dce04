/* SPDX-License-Identifier: MIT */
/*
 * object.c - pages of objects go to the store and come back
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/notifier/flush.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fixture/mm/sweep.h"

TEST(swap_object, page_comes_back,
     "a page of an object leaves every table and its frame; each address space "
     "finds "
     "it again, and what the other has written since")
{
	struct page *page;

	object_fixture(4, 2);
	page = page_at(shared.a, P(0));
	REQUIRE(page);
	EXPECT_EQ(swap_out(page), 0);
	EXPECT_EQ(page_count(page), PAGE_REF);
	EXPECT_EQ(page_kind(page), PAGE_KERNEL);
	page_put(page);
	EXPECT_EQ(entry_at(shared.a, P(0)), 0);
	EXPECT_EQ(entry_at(shared.b, P(0)), 0);
	EXPECT_EQ(swap_stat().used, 1);
	EXPECT_EQ(swap_stat().outs, 1);
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(wr(shared.b, P(0), 'B'), 0);
	EXPECT_EQ(rd(shared.a, P(0)), 'B');
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(wr(shared.a, P(0) + 8, 'A'), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'B');
	EXPECT_EQ(rd(shared.b, P(0) + 8), 'A');
	EXPECT_EQ(swap_fixture_reads(), 2);
	EXPECT_EQ(rd(shared.b, P(1)), 2);
	object_fixture_end();
}

TEST(swap_object, clean_page_is_not_written_again,
     "a page that was read back and not written since goes out again without a "
     "write; "
     "one that was written is written to the slot that it has")
{
	object_fixture(1, 1);
	object_clean(0);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	EXPECT_EQ(swap_fixture_writes(), 1);
	for (unsigned i = 0; i < 3; i++)
		object_clean(0);
	EXPECT_EQ(swap_fixture_writes(), 1);
	EXPECT_EQ(swap_stat().clean, 3);
	EXPECT_EQ(swap_stat().outs, 4);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	EXPECT_EQ(wr(shared.b, P(0), 'B'), 0);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 2);
	EXPECT_EQ(rd(shared.a, P(0)), 'B');
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 2);
	EXPECT_EQ(rd(shared.b, P(0)), 'B');
	EXPECT_EQ(swap_stat().used, 1);
	object_fixture_end();
}

TEST(swap_object, dirty_entry_that_was_cleared,
     "a write whose entry a discard has cleared is written to the store, as is "
     "that of a pin")
{
	struct page *pinned;

	object_fixture(2, 1);
	object_clean(0);
	EXPECT_EQ(wr(shared.a, P(0), 'D'), 0);
	EXPECT_EQ(mm_discard(shared.a, P(0), P(1)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'D');
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'D');
	REQUIRE(!pin_pages(shared.b, P(0), 1, PIN_WRITE, &pinned));
	EXPECT_EQ(swap_out_at(shared.b, P(0)), -EBUSY);
	*(uint64_t *)page_va(pinned) = 'P'; /* as a device does */
	unpin_pages(&pinned, 1);
	EXPECT_EQ(rd(shared.b, P(0)), 'P');
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 3);
	EXPECT_EQ(rd(shared.a, P(0)), 'P');
	object_fixture_end();
}

TEST(swap_object, clean_for_another_is_not_clean_for_the_store,
     "a page that was written since it was read back is written to the store, "
     "though "
     "another user has made it clean for itself")
{
	struct page *page;

	object_fixture(2, 1);
	object_clean(0);
	EXPECT_EQ(wr(shared.a, P(0), 'M'), 0);
	page = page_at(shared.a, P(0));
	REQUIRE(page);
	EXPECT(page_mkclean(page));
	EXPECT(!(entry_at(shared.a, P(0)) & (ENTRY_W | PTE_D)));
	page_put(page);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'M');
	page = page_at(shared.b, P(0));
	REQUIRE(page);
	EXPECT(!page_mkclean(page));
	page_put(page);
	object_fixture_end();
}

TEST(swap_object, read_makes_no_writable_entry,
     "a read of a page whose content is in its slot gets an entry without W, "
     "and a "
     "write then adds it")
{
	object_fixture(2, 1);
	object_clean(0);
	EXPECT(!(entry_at(shared.a, P(0)) & ENTRY_W));
	EXPECT_EQ(wr(shared.a, P(0), 'W'), 0);
	EXPECT_EQ(entry_at(shared.a, P(0)) & (ENTRY_W | PTE_D),
		  ENTRY_W | PTE_D);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(rd(shared.a, P(0)), 'W');
	object_fixture_end();
}

TEST(swap_object, what_must_stay_stays,
     "a page that is pinned, mapped by a locked region, or that another thread "
     "holds stays in the object, and nothing is lost (B41)")
{
	struct page *page, *pinned;

	object_fixture(4, 2);
	page = page_at(shared.a, P(0));
	REQUIRE(page);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), -EBUSY); /* our reference */
	page_put(page);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	EXPECT_EQ(rd(shared.a, P(0)), 1);
	REQUIRE(!pin_pages(shared.a, P(0), 1, 0, &pinned));
	EXPECT_EQ(swap_out_at(shared.b, P(0)), -EBUSY);
	unpin_pages(&pinned, 1);
	REQUIRE(!mm_map(shared.b, P(9), PAGE_SIZE, RW, MAP_LOCKED,
			shared.object, 1, NULL));
	EXPECT_EQ(rd(shared.b, P(9)), 2);
	EXPECT_EQ(swap_out_at(shared.a, P(1)), -EBUSY);
	EXPECT(entry_at(shared.b, P(9)) & PTE_P);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(rd(shared.a, P(0)), 1);
	EXPECT_EQ(rd(shared.a, P(1)), 2);
	object_fixture_end();
}

TEST(swap_object, failed_read_is_an_error,
     "an access to a page that cannot be read from its slot fails with -EIO, "
     "not with "
     "zeroes, in each address space; a later one gets the content")
{
	object_fixture(2, 1);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	swap_fixture_fail(3, 0);
	EXPECT_EQ(rd(shared.a, P(0)), BAD);
	EXPECT_EQ(wr(shared.b, P(0), 'X'), -EFAULT);
	EXPECT_EQ(mm_fault(shared.b, P(0), PROT_R), -EIO);
	EXPECT_EQ(swap_stat().read_errors, 3);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	object_fixture_end();
}

TEST(swap_object, failed_write_keeps_the_page,
     "a page that cannot be written stays in memory and has no slot, also if a "
     "slot had its content before it was written")
{
	object_fixture(2, 1);
	swap_fixture_fail(0, 1);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), -EIO);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	EXPECT_EQ(rd(shared.a, P(0)), 1);
	object_clean(0);
	EXPECT_EQ(wr(shared.a, P(0), 'N'), 0);
	swap_fixture_fail(0, 1);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), -EIO);
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(swap_stat().write_errors, 2);
	EXPECT_EQ(rd(shared.b, P(0)), 'N');
	EXPECT_EQ(wr(shared.a, P(0), 'O'), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'O');
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'O');
	EXPECT_EQ(swap_fixture_reads(), 2);
	object_fixture_end();
}

TEST(swap_object, full_store_changes_nothing,
     "a swap-out to a full store is refused before anything is unmapped; a "
     "page that has a slot goes nevertheless")
{
	uint64_t e;

	object_fixture(1, 2);
	object_clean(0);
	e = entry_at(shared.a, P(1));
	EXPECT_EQ(swap_out_at(shared.a, P(1)), -ENOSPC);
	EXPECT_EQ(entry_at(shared.a, P(1)), e);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	object_fixture_end();
}

TEST(swap_object, last_user_frees_the_slots,
     "the slots of pages that are out, and of those that were read back, are "
     "free when "
     "the object has no user, also while a page of it is held")
{
	struct page *page;

	object_fixture(4, 3);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	object_clean(1);
	object_clean(2);
	page = page_at(shared.a, P(2));
	REQUIRE(page);
	EXPECT_EQ(swap_stat().used, 3);
	mm_put(shared.a);
	mm_put(shared.b);
	EXPECT_EQ(swap_stat().used, 3);
	object_put(shared.object);
	shared.a = shared.b = NULL;
	shared.object = NULL;
	EXPECT_EQ(swap_stat().used, 0);
	EXPECT_EQ(swap_out(page), -EBUSY);
	page_put(page);
	object_fixture_end();
}

TEST(swap_object, page_keeps_its_slot_on_the_way,
     "a page that was read back and moves to another frame keeps its slot, and "
     "goes out without a write; so does one of a fork")
{
	struct mm *child;

	object_fixture(2, 1);
	object_clean(0);
	EXPECT_EQ(migrate_at(shared.a, P(0)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 1);
	child = fork_of(shared.a);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 1);
	EXPECT_EQ(wr(child, P(0), 'C'), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'C');
	EXPECT_EQ(migrate_at(shared.b, P(0)), 0);
	EXPECT_EQ(rd(shared.b, P(0)), 'C');
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0);
	EXPECT_EQ(swap_fixture_writes(), 2);
	EXPECT_EQ(rd(child, P(0)), 'C');
	mm_put(child);
	object_fixture_end();
}

/* ---- swapoff --------------------------------------------------------------- */

TEST(swap_object, swapoff_brings_all_back,
     "swapoff brings back the pages of objects, also of one that no address "
     "space maps, and takes the slots of those that had come back")
{
	object_fixture(4, 3);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(swap_out_at(shared.a, P(1)), 0);
	object_clean(2);
	mm_put(shared.a);
	mm_put(shared.b);
	shared.b = NULL;
	EXPECT_EQ(swap_off(), 0);
	swap_fixture_off();
	shared.a = mm_fixture_shared(shared.object, 3);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(rd(shared.a, P(i)), i + 1);
	swap_fixture_begin(4);
	for (unsigned i = 0; i < 3; i++)
		object_clean(i);
	EXPECT_EQ(swap_fixture_writes(), 3);
	object_fixture_end();
}

TEST(swap_object, swapoff_that_fails_loses_nothing,
     "a swapoff that cannot read a page of an object, or has no memory for it, "
     "fails and leaves the store in use")
{
	object_fixture(4, 2);
	EXPECT_EQ(swap_out_at(shared.a, P(0)), 0);
	EXPECT_EQ(swap_out_at(shared.a, P(1)), 0);
	swap_fixture_fail(1, 0);
	EXPECT_EQ(swap_off(), -EIO);
	inject_arm(1);
	EXPECT_EQ(swap_off(), -ENOMEM);
	EXPECT(inject_disarm());
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(rd(shared.b, P(i)), i + 1);
	EXPECT_EQ(swap_out_at(shared.b, P(0)), 0); /* it is open again */
	object_fixture_end();
}

/* ---- memory ---------------------------------------------------------------- */

static void one_out(struct mm *mm)
{
	REQUIRE(!mm_discard(mm, P(0), P(8))); /* what reclaim would take */
	object_fixture(2, 1);
	REQUIRE(!swap_out_at(shared.a, P(0)));
}

static int one_in(struct mm *unused)
{
	int ret = mm_fault(shared.b, P(0), PROT_R);

	(void)unused;
	if (ret)
		return ret;
	inject_disarm(); /* the rest is not the operation */
	EXPECT_EQ(rd(shared.a, P(0)), 1);
	object_fixture_end();
	return 0;
}

TEST(swap_object, each_allocation_may_fail,
     "a fault on a page of an object that is in swap survives the failure of "
     "each of its allocations, and nothing has changed")
{
	sweep(one_out, one_in, SNAP_STATE, 1);
}

/* ---- reclaim --------------------------------------------------------------- */

TEST(swap_object, hand_takes_unused_pages,
     "the hand of an address space takes pages of objects that no address "
     "space has "
     "used, from all of them, with one flush for a batch")
{
	uint64_t flushes;

	object_fixture(32, 8);
	make_old(shared.a, 8);
	EXPECT_EQ(rd(shared.b, P(3)), 4);
	mm_put(shared.b);
	shared.b = mm_fixture_shared(shared.object, 8);
	EXPECT_EQ(rd(shared.b, P(3)), 4);
	mm_bind(shared.a);
	flushes = tlb_flush_count();
	EXPECT_EQ(mm_reclaim(shared.a, 7), 7);
	EXPECT_EQ(tlb_flush_count() - flushes, 1);
	mm_bind(NULL);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(entry_at(shared.a, P(i)) != 0, i == 3);
	EXPECT_EQ(swap_stat().outs, 7);
	EXPECT_EQ(mm_reclaim(shared.b, 1), 1);
	EXPECT_EQ(entry_at(shared.a, P(3)), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(shared.b, P(i)), i + 1);
	object_fixture_end();
}

TEST(swap_object, limit_holds_for_two,
     "two address spaces that map an object of four times their limit see each "
     "other's versions, and have no more pages than they may; a pass that only "
     "reads writes nothing to the store")
{
	uint64_t writes;

	object_fixture(64, 64);
	mm_set_limit(shared.a, 16);
	mm_set_limit(shared.b, 16);
	EXPECT_EQ(mm_reclaim(shared.a, 64), 64);
	EXPECT_EQ(shared.b->mapped, 0);
	for (unsigned pass = 1; pass <= 2; pass++)
		for (unsigned i = 0; i < 64; i++) {
			struct mm *one = i & 1 ? shared.a : shared.b;
			struct mm *other = i & 1 ? shared.b : shared.a;

			EXPECT_EQ(wr(one, P(i), pass * 100 + i), 0);
			EXPECT_EQ(rd(other, P(i)), pass * 100 + i);
			EXPECT(shared.a->mapped <= 16 &&
			       shared.b->mapped <= 16);
		}
	mm_reclaim(shared.a, 100);
	mm_reclaim(shared.b, 100);
	writes = swap_fixture_writes();
	for (unsigned i = 0; i < 64; i++)
		EXPECT_EQ(rd(i & 1 ? shared.a : shared.b, P(i)), 200 + i);
	EXPECT_EQ(swap_fixture_writes(), writes);
	EXPECT(swap_stat().clean > 0);
	EXPECT(swap_stat().outs > 128);
	object_fixture_end();
}
