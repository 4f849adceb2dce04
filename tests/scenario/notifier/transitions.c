/* SPDX-License-Identifier: MIT */
/*
 * transitions.c - which callbacks each transition of an entry makes: the table of
 * mm/notifier/MMU_NOTIFIER.md as tests
 */
#include "kernel/probe.h"
#include "kernel/string.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

static void fill(struct mm *mm, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), i + 1);
}

TEST(notifier, first_touch_calls_no_notifier,
     "a first touch calls no notifier, because no MMU can hold an older entry")
{
	struct mm *mm = mm_fixture(4);
	struct recorder r;

	record(&r, mm);
	rd(mm, P(0));
	wr(mm, P(1), 1);
	EXPECT_RECORDED(&r, "");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, copy_notifies_before_it_sets,
     "a copy on write makes start, clear, flush, invalidate_range, change_pte, "
     "set and end, in this order (B9, C21)")
{
	struct mm *mm = mm_fixture(2), *child;
	struct recorder r;
	uint64_t since;

	fill(mm, 2);
	child = fork_of(mm);
	record(&r, mm);
	mm_bind(mm);
	rd(mm, P(1));
	since = probes_begin();
	wr(mm, P(1), 7);
	mm_bind(NULL);
	EXPECT_RECORDED(&r, "start clear 1-2; range 1-2; change 1-2; end 1-2");
	EXPECT(probes_in_order(since, mm,
			       "cow_copied range_start range_started pte_clear "
			       "tlb_flush range range_flushed change_pte "
			       "pte_set range_end range_ended"));
	record_end(&r);
	mm_put(child);
	mm_put(mm);
}

static void write_first(void *mm)
{
	EXPECT_EQ(wr(mm, VA, 7), 0);
}

static unsigned held;

static void old_is_held(uint64_t mm, uint64_t va, void *old)
{
	held++;
	EXPECT_EQ(page_refs(old), 1);
	EXPECT_EQ(*(uint64_t *)page_va(old), 1);
}

TEST(notifier, copy_holds_the_old_page_to_the_end,
     "the page that was copied is not free before its invalidation has ended "
     "(B11)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct recorder r;
	struct page *old;
	struct task copy;
	struct sync_point g;

	fill(mm, 1);
	child = fork_of(mm);
	old = page_at(mm, VA);
	page_put(old);
	held = 0;
	record(&r, mm);
	sync_point_set(&g, "range_started", mm);
	spawn(&copy, write_first, mm);
	sync_point_await(&g);
	mm_put(child); /* the copying thread has the last reference */
	hook("range_end", old_is_held, old);
	hook("range_ended", old_is_held, old);
	sync_point_release(&g);
	join(&copy);
	unhook("range_end");
	unhook("range_ended");
	EXPECT_EQ(held, 2);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, zero_page_is_replaced_like_any_other,
     "a write to a page that reads as the zero page makes the calls of a copy "
     "(C22)")
{
	struct mm *mm = mm_fixture(1);
	struct recorder r;

	rd(mm, VA);
	record(&r, mm);
	wr(mm, VA, 7);
	EXPECT_RECORDED(&r, "start clear 0-1; range 0-1; change 0-1; end 0-1");
	record_end(&r);
	mm_put(mm);
}

static void entry_is_empty(uint64_t mm_, uint64_t va, void *arg)
{
	struct mm *mm = (struct mm *)mm_;
	unsigned *seen = arg;

	/* pt_lock is held: the slot is looked at as a device would. */
	if (va != P(0))
		return;
	++*seen;
	EXPECT_EQ(pte_read(pt_slot(&mm->pt, va, 0, false)), 0);
}

TEST(notifier, nothing_is_set_until_all_are_notified,
     "while the old page is being flushed anywhere, the entry is empty (C20, "
     "C21)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct recorder r;
	struct page *page;
	unsigned seen = 0;

	rd(mm, VA);
	record(&r, mm);
	hook("range", entry_is_empty, &seen);
	hook("range_flushed", entry_is_empty, &seen);
	wr(mm, VA, 1); /* the zero page goes */
	unhook("range");
	unhook("range_flushed");
	child = fork_of(mm);
	hook("range", entry_is_empty, &seen);
	hook("range_flushed", entry_is_empty, &seen);
	wr(mm, VA, 2); /* the shared page goes */
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	unhook("range");
	unhook("range_flushed");
	EXPECT_EQ(seen, 6);
	page_put(page);
	record_end(&r);
	mm_put(child);
	mm_put(mm);
}

TEST(notifier, reuse_flushes_secondary_mmus,
     "a right that is gained in place flushes secondary MMUs without an "
     "invalidation (H18)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct recorder r;

	fill(mm, 1);
	child = fork_of(mm);
	mm_put(child);
	record(&r, mm);
	wr(mm, VA, 7);
	EXPECT_RECORDED(&r, "range 0-1");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, fork_write_protects_in_one_invalidation,
     "a fork write-protects the private pages in one invalidation")
{
	struct mm *mm = mm_fixture(3), *child;
	struct recorder r;

	fill(mm, 3);
	record(&r, mm);
	child = fork_of(mm);
	EXPECT_RECORDED(&r, "start page 0-3; range 0-3; end 0-3");
	wr(child, VA, 1);
	mm_put(child);
	EXPECT_RECORDED(&r, "");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, fork_of_shared_memory_calls_no_notifier,
     "a fork changes no entry of an object's pages, and calls no notifier")
{
	struct object *o = object_create(2);
	struct mm *mm, *child;
	struct recorder r;

	REQUIRE(o);
	mm = mm_fixture_shared(o, 2);
	fill(mm, 2);
	record(&r, mm);
	child = fork_of(mm);
	EXPECT_RECORDED(&r, "");
	mm_put(child);
	record_end(&r);
	mm_put(mm);
	object_put(o);
}

TEST(notifier, protect_notifies_in_both_directions,
     "a protect notifies of rights that are lost and of rights that are gained "
     "(C13, C14)")
{
	struct mm *mm = mm_fixture(4);
	struct recorder r;

	fill(mm, 4);
	record(&r, mm);
	EXPECT_EQ(mm_protect(mm, P(1), P(3), PROT_R), 0);
	EXPECT_RECORDED(&r, "start vma 1-3; range 1-3; end 1-3");
	EXPECT_EQ(mm_protect(mm, P(1), P(3), RW), 0);
	EXPECT_RECORDED(&r, "start vma 1-3; range 1-3; end 1-3");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, unmap_notifies_exactly_its_range,
     "an unmap notifies of its pages, half-open, and not of their neighbours "
     "(C5)")
{
	struct mm *mm = mm_fixture(10);
	struct recorder r;

	fill(mm, 10);
	record(&r, mm);
	EXPECT_EQ(mm_unmap(mm, P(1), P(9)), 0);
	EXPECT_RECORDED(&r, "start unmap 1-9; range 1-9; end 1-9");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, unmap_notifies_freed_tables,
     "an unmap that frees tables notifies of the whole range that they "
     "translated (C7)")
{
	struct mm *mm = mm_fixture(512);
	struct recorder r;

	wr(mm, P(3), 1);
	record(&r, mm);
	EXPECT_EQ(mm_unmap(mm, P(0), P(512)), 0);
	/* VA is aligned to 2 MiB: one table, and all that it translated. */
	EXPECT_RECORDED(&r, "start unmap 0-512; range 0-512; end 0-512");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, discard_notifies,
     "a discard notifies of its pages, and the region stays")
{
	struct mm *mm = mm_fixture(4);
	struct recorder r;

	fill(mm, 4);
	record(&r, mm);
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	EXPECT_RECORDED(&r, "start clear 0-2; range 0-2; end 0-2");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, remap_notifies_the_old_address,
     "a move notifies of the old address only")
{
	struct mm *mm = mm_fixture(4);
	struct recorder r;
	va_t at;

	fill(mm, 4);
	record(&r, mm);
	EXPECT_EQ(mm_remap(mm, P(0), 2 * PAGE_SIZE, P(16), 2 * PAGE_SIZE, &at),
		  0);
	EXPECT_RECORDED(&r, "start unmap 0-2; range 0-2; end 0-2");
	EXPECT_EQ(mm_remap(mm, P(2), 2 * PAGE_SIZE, 0, PAGE_SIZE, &at), 0);
	EXPECT_RECORDED(&r, "start unmap 3-4; range 3-4; end 3-4");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, other_pages_of_an_object_are_one_invalidation,
     "pages of an object that are shown in another order are one invalidation, "
     "and end comes after the order has changed")
{
	struct object *object = object_create(8);
	struct recorder r;
	uint64_t since;
	struct mm *mm;

	REQUIRE(object);
	mm = mm_fixture_shared(object, 6);
	object_put(object);
	fill(mm, 6);
	record(&r, mm);
	since = probes_begin();
	EXPECT_EQ(mm_remap_object(mm, P(1), P(3), 6), 0);
	EXPECT_RECORDED(&r, "start clear 1-3; range 1-3; end 1-3");
	EXPECT(probes_in_order(since, mm,
			       "range_start pte_clear range remap_zapped "
			       "range_end"));
	/* Two regions; of the second no page is mapped any more. */
	EXPECT_EQ(mm_remap_object(mm, P(0), P(2), 4), 0);
	EXPECT_RECORDED(&r, "start clear 0-2; range 0-1; end 0-2");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, eviction_notifies_every_mapping,
     "an eviction notifies every address space that maps the page, in an "
     "invalidation of its own")
{
	struct mm *mm = mm_fixture(1), *child;
	struct recorder r, c;
	struct page *page;

	fill(mm, 1);
	child = fork_of(mm);
	record(&r, mm);
	record(&c, child);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_RECORDED(&r, "start clear 0-1; range 0-1; end 0-1");
	EXPECT_RECORDED(&c, "start clear 0-1; range 0-1; end 0-1");
	EXPECT_EQ(rd(mm, VA), 1); /* the fault back changes no live entry */
	EXPECT_RECORDED(&r, "");
	page_put(page);
	record_end(&r);
	record_end(&c);
	mm_put(child);
	mm_put(mm);
}

TEST(notifier, aging_calls_every_notifier,
     "aging calls every notifier, and counts a page that only a secondary MMU "
     "used (B36)")
{
	struct mm *mm = mm_fixture(1);
	struct recorder r;
	struct page *page;

	fill(mm, 1);
	record(&r, mm);
	page = page_at(mm, VA);
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_RECORDED(&r, "range 0-1; flush_young 0-1");
	EXPECT_EQ(page_referenced(page), 0);
	EXPECT_RECORDED(&r, "flush_young 0-1");
	EXPECT(!page_young(page));
	EXPECT_RECORDED(&r, "test_young 0-1");
	r.young = true;
	EXPECT(page_young(page));
	EXPECT_EQ(page_mark_idle(page), 1);
	EXPECT_RECORDED(&r, "test_young 0-1; clear_young 0-1");
	EXPECT_EQ(page_referenced(page), 1);
	recorded(&r);
	page_put(page);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, unmap_calls_no_aging_callback,
     "an eviction takes the accessed bit from the entry and calls no aging "
     "callback (C45)")
{
	struct mm *mm = mm_fixture(1);
	struct recorder r;
	struct page *page;

	fill(mm, 1);
	record(&r, mm);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_RECORDED(&r, "start clear 0-1; range 0-1; end 0-1");
	page_put(page);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, exit_calls_release_first,
     "exit calls release once, before anything is freed (B25)")
{
	struct mm *mm = mm_fixture(2);
	struct recorder r;

	fill(mm, 2);
	record(&r, mm);
	mm_put(mm);
	EXPECT_RECORDED(&r, "release");
	record_end(&r);
	EXPECT_RECORDED(&r, "");
}
