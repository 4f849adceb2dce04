/* SPDX-License-Identifier: MIT */
/*
 * scn_notifier_told.c - each transition of an entry, and what is said about it:
 * the table of mm/MMU_NOTIFIER.md as claims
 */
#include "kernel/probe.h"
#include "kernel/string.h"
#include "tests/cast.h"
#include "tests/gate.h"

static void fill(struct mm *mm, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), i + 1);
}

TEST(notifier, first_touch_tells_nobody,
     "what was not there is given to nobody's loss: no call")
{
	struct mm *mm = world(4);
	struct recorder r;

	record(&r, mm);
	rd(mm, P(0));
	wr(mm, P(1), 1);
	EXPECT_HEARD(&r, "");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, copy_is_told_before_it_is_set,
     "a copy on write: start, clear, flush, tell, offer, set, end (B9, C21)")
{
	struct mm *mm = world(2), *child;
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
	EXPECT_HEARD(&r, "start clear 1-2; range 1-2; change 1-2; end 1-2");
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
     "the page that was copied is not free before its window is closed (B11)")
{
	struct mm *mm = world(1), *child;
	struct recorder r;
	struct page *old;
	struct task copy;
	struct gate g;

	fill(mm, 1);
	child = fork_of(mm);
	old = page_at(mm, VA);
	page_put(old);
	held = 0;
	record(&r, mm);
	gate_close(&g, "range_started", mm);
	spawn(&copy, write_first, mm);
	gate_await(&g);
	mm_put(child); /* the copier is now the last who knows it */
	hook("range_end", old_is_held, old);
	hook("range_ended", old_is_held, old);
	gate_open(&g);
	join(&copy);
	unhook("range_end");
	unhook("range_ended");
	EXPECT_EQ(held, 2);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, zero_page_goes_like_any_other,
     "the zero page is replaced with the same care (C22)")
{
	struct mm *mm = world(1);
	struct recorder r;

	rd(mm, VA);
	record(&r, mm);
	wr(mm, VA, 7);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; change 0-1; end 0-1");
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

TEST(notifier, nothing_is_set_until_all_were_told,
     "while the old page is being flushed anywhere, nobody finds a new one "
     "(C20, C21)")
{
	struct mm *mm = world(1), *child;
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

TEST(notifier, reuse_is_flushed_elsewhere,
     "a right gained in place flushes other MMUs, with no window (H18)")
{
	struct mm *mm = world(1), *child;
	struct recorder r;

	fill(mm, 1);
	child = fork_of(mm);
	mm_put(child);
	record(&r, mm);
	wr(mm, VA, 7);
	EXPECT_HEARD(&r, "range 0-1");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, fork_freezes_in_a_window,
     "fork: rights of the private pages go inside one window")
{
	struct mm *mm = world(3), *child;
	struct recorder r;

	fill(mm, 3);
	record(&r, mm);
	child = fork_of(mm);
	EXPECT_HEARD(&r, "start page 0-3; range 0-3; end 0-3");
	wr(child, VA, 1);
	mm_put(child);
	EXPECT_HEARD(&r, "");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, fork_of_shared_memory_tells_nobody,
     "a fork takes nothing from pages of an object, and says nothing")
{
	struct object *o = object_create(2);
	struct mm *mm, *child;
	struct recorder r;

	REQUIRE(o);
	mm = world_shared(o, 2);
	fill(mm, 2);
	record(&r, mm);
	child = fork_of(mm);
	EXPECT_HEARD(&r, "");
	mm_put(child);
	record_end(&r);
	mm_put(mm);
	object_put(o);
}

TEST(notifier, protect_tells_in_both_directions,
     "rights that go and rights that come are both told (C13, C14)")
{
	struct mm *mm = world(4);
	struct recorder r;

	fill(mm, 4);
	record(&r, mm);
	EXPECT_EQ(mm_protect(mm, P(1), P(3), PROT_R), 0);
	EXPECT_HEARD(&r, "start vma 1-3; range 1-3; end 1-3");
	EXPECT_EQ(mm_protect(mm, P(1), P(3), RW), 0);
	EXPECT_HEARD(&r, "start vma 1-3; range 1-3; end 1-3");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, unmap_tells_exactly_its_range,
     "an unmap tells its pages, half-open, and not their neighbours (C5)")
{
	struct mm *mm = world(10);
	struct recorder r;

	fill(mm, 10);
	record(&r, mm);
	EXPECT_EQ(mm_unmap(mm, P(1), P(9)), 0);
	EXPECT_HEARD(&r, "start unmap 1-9; range 1-9; end 1-9");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, unmap_tells_of_freed_tables,
     "tables that are freed are flushed by the range they translated (C7)")
{
	struct mm *mm = world(512);
	struct recorder r;

	wr(mm, P(3), 1);
	record(&r, mm);
	EXPECT_EQ(mm_unmap(mm, P(0), P(512)), 0);
	/* VA is aligned to 2 MiB: one table, its entries and then itself. */
	EXPECT_HEARD(&r, "start unmap 0-512; range 0-512; range 0-512; "
			 "end 0-512");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, discard_tells, "discarded pages are told, the region stays")
{
	struct mm *mm = world(4);
	struct recorder r;

	fill(mm, 4);
	record(&r, mm);
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	EXPECT_HEARD(&r, "start clear 0-2; range 0-2; end 0-2");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, remap_tells_the_old_address,
     "a move tells the old address, and only that")
{
	struct mm *mm = world(4);
	struct recorder r;
	va_t at;

	fill(mm, 4);
	record(&r, mm);
	EXPECT_EQ(mm_remap(mm, P(0), 2 * PAGE_SIZE, P(16), 2 * PAGE_SIZE, &at),
		  0);
	EXPECT_HEARD(&r, "start unmap 0-2; range 0-2; end 0-2");
	EXPECT_EQ(mm_remap(mm, P(2), 2 * PAGE_SIZE, 0, PAGE_SIZE, &at), 0);
	EXPECT_HEARD(&r, "start unmap 3-4; range 3-4; end 3-4");
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, eviction_tells_every_mapping,
     "try_to_unmap tells every address space, in its own window")
{
	struct mm *mm = world(1), *child;
	struct recorder r, c;
	struct page *page;

	fill(mm, 1);
	child = fork_of(mm);
	record(&r, mm);
	record(&c, child);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; end 0-1");
	EXPECT_HEARD(&c, "start clear 0-1; range 0-1; end 0-1");
	EXPECT_EQ(rd(mm, VA), 1); /* back by a fault, which takes nothing */
	EXPECT_HEARD(&r, "");
	page_put(page);
	record_end(&r);
	record_end(&c);
	mm_put(child);
	mm_put(mm);
}

TEST(notifier, aging_asks_everybody,
     "aging asks every listener, and counts a page that only they used (B36)")
{
	struct mm *mm = world(1);
	struct recorder r;
	struct page *page;

	fill(mm, 1);
	record(&r, mm);
	page = page_at(mm, VA);
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_HEARD(&r, "range 0-1; flush_young 0-1");
	EXPECT_EQ(page_referenced(page), 0);
	EXPECT_HEARD(&r, "flush_young 0-1");
	EXPECT(!page_young(page));
	EXPECT_HEARD(&r, "test_young 0-1");
	r.young = true;
	EXPECT(page_young(page));
	EXPECT_EQ(page_mark_idle(page), 1);
	EXPECT_HEARD(&r, "test_young 0-1; clear_young 0-1");
	EXPECT_EQ(page_referenced(page), 1);
	heard(&r);
	page_put(page);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, no_aging_inside_a_window,
     "unmapping takes the young bit from the entry and asks nobody (C45)")
{
	struct mm *mm = world(1);
	struct recorder r;
	struct page *page;

	fill(mm, 1);
	record(&r, mm);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; end 0-1");
	page_put(page);
	record_end(&r);
	mm_put(mm);
}

TEST(notifier, exit_releases_first,
     "exit tells release, once, before anything is taken (B25)")
{
	struct mm *mm = world(2);
	struct recorder r;

	fill(mm, 2);
	record(&r, mm);
	mm_put(mm);
	EXPECT_HEARD(&r, "release");
	record_end(&r);
	EXPECT_HEARD(&r, "");
}
