/* SPDX-License-Identifier: MIT */
/*
 * fakes.c - what holds for every kind of secondary MMU
 *
 * Each test runs with each fake MMU in turn; fake_check()'s message and the name
 * of the lock say which one failed.
 */
#include "kernel/probe.h"
#include "mm/space/gather.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

static struct fake_mmu a; /* too large for a stack */

/* The body runs once for each kind, with a fresh mm of n written pages. */
#define for_each_fake(k) for_each_kind (k, fake_mmus())

TEST(fakes, cpu_copy_is_seen_by_every_mmu,
     "after the CPU's copy on write no secondary MMU reads the old page (C21)")
{
	for_each_fake (k) {
		struct mm *mm = written(1), *child = fork_of(mm);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, VA), 100);
		wr(mm, VA, 1);
		EXPECT_EQ(fake_read(&a, VA), 1);
		EXPECT_EQ(rd(child, VA), 100);
		fake_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

TEST(fakes, device_write_copies,
     "a device's write to a shared page copies it first (C23)")
{
	for_each_fake (k) {
		struct mm *mm = written(1), *child = fork_of(mm);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, VA), 100);
		EXPECT_EQ(fake_write(&a, VA, 7), 0);
		EXPECT_EQ(rd(child, VA), 100);
		EXPECT_EQ(rd(mm, VA), 7);
		EXPECT(a.faults <= 4);
		fake_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

TEST(fakes, device_write_reuses,
     "a device's write to a page with one owner goes to that page, after at "
     "most two faults (C30, B8)")
{
	for_each_fake (k) {
		struct mm *mm = written(1);
		struct page *page = page_at(mm, VA);

		page_put(page);
		mm_put(fork_of(mm));
		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, VA), 100);
		wr(mm, VA, 1); /* the CPU gains the right first */
		EXPECT_EQ(fake_write(&a, VA, 7), 0);
		EXPECT(a.faults <= 2);
		EXPECT_EQ(rd(mm, VA), 7);
		EXPECT_EQ(*(uint64_t *)page_va(page), 7);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, zero_page_is_never_written,
     "a secondary MMU that has read the zero page reads what is written later, "
     "and never writes to the zero page (C22)")
{
	const uint64_t *zero = page_va(zero_page);

	for_each_fake (k) {
		struct mm *mm = mm_fixture(2);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, P(0)), 0);
		EXPECT_EQ(fake_read(&a, P(1)), 0);
		wr(mm, P(0), 5);
		EXPECT_EQ(fake_read(&a, P(0)), 5);
		EXPECT_EQ(fake_write(&a, P(1), 6), 0);
		EXPECT_EQ(*zero, 0);
		EXPECT_EQ(rd(mm, P(1)), 6);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, rights_are_taken_and_given,
     "a right that is taken away is lost by every secondary MMU, and one that "
     "is given is usable (C13, C14, C37)")
{
	for_each_fake (k) {
		struct mm *mm = written(1);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_write(&a, VA, 1), 0);
		EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
		EXPECT(!fake_writes(&a, VA, 2));
		EXPECT(fake_write(&a, VA, 2) < 0);
		EXPECT_EQ(fake_read(&a, VA), 1);
		EXPECT_EQ(mm_protect(mm, P(0), P(1), RW), 0);
		wr(mm, VA, 3);
		a.faults = 0;
		EXPECT_EQ(fake_write(&a, VA, 4), 0);
		EXPECT(a.faults <= 2);
		EXPECT_EQ(rd(mm, VA), 4);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, rights_are_those_of_the_entry,
     "no secondary MMU may write through an entry that is shared, zero or "
     "read-only, and its write copies the page or is denied (C37, B32)")
{
	for_each_fake (k) {
		struct mm *mm = written(3), *child = fork_of(mm);

		change(mm, 1, 2);
		EXPECT_EQ(mm_protect(mm, P(2), P(3), PROT_R), 0);
		fake_attach(&a, *k, mm);
		for (unsigned i = 0; i < 3; i++) {
			EXPECT_EQ(fake_read(&a, P(i)), i == 1 ? 0 : 100 + i);
			EXPECT(fake_has(&a, P(i), false));
			EXPECT(!fake_has(&a, P(i), true));
			EXPECT_EQ(fake_write(&a, P(i), 7) == 0, i < 2);
			EXPECT_EQ(fake_has(&a, P(i), true), i < 2);
			EXPECT_EQ(rd(child, P(i)), 100 + i);
		}
		fake_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

TEST(fakes, unmapped_page_cannot_be_reached,
     "no secondary MMU reads or writes a page that was unmapped, and every one "
     "reaches its neighbours")
{
	for_each_fake (k) {
		struct mm *mm = written(3);

		fake_attach(&a, *k, mm);
		for (unsigned i = 0; i < 3; i++)
			EXPECT_EQ(fake_write(&a, P(i), i), 0);
		EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
		EXPECT(!fake_writes(&a, P(1), 9));
		EXPECT_EQ(fake_read(&a, P(1)), BAD);
		EXPECT_EQ(fake_read(&a, P(0)), 0);
		EXPECT_EQ(fake_read(&a, P(2)), 2);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, neighbours_keep_their_translations,
     "an unmap removes the translations of its own pages and no others (C5)")
{
	for_each_fake (k) {
		struct mm *mm = written(10);

		fake_attach(&a, *k, mm);
		for (unsigned i = 0; i < 10; i++)
			fake_read(&a, P(i));
		EXPECT_EQ(mm_unmap(mm, P(1), P(9)), 0);
		for (unsigned i = 0; i < 10; i++)
			EXPECT_EQ(fake_has(&a, P(i), false), i % 9 == 0);
		fake_detach(&a);
		mm_put(mm);
	}
}

static void write_all(uint64_t mm, uint64_t va, void *arg)
{
	for (unsigned i = 0; i < FAKE_PAGES; i++)
		fake_writes(arg, P(i), 0xdeadbeef);
}

TEST(fakes, batches_are_freed_after_the_flush,
     "during an unmap of several batches a device that writes all the time "
     "never writes to a freed page (C4, B18)")
{
	_Static_assert(FAKE_PAGES > 3 * GATHER_PAGES, "several batches");

	for_each_fake (k) {
		struct mm *mm = written(FAKE_PAGES);

		fake_attach(&a, *k, mm);
		for (unsigned i = 0; i < FAKE_PAGES; i++)
			fake_write(&a, P(i), i);
		hook("range", write_all, &a);
		hook("range_flushed", write_all, &a);
		hook("range_end", write_all, &a);
		EXPECT_EQ(mm_unmap(mm, P(0), P(FAKE_PAGES)), 0);
		unhook("range");
		unhook("range_flushed");
		unhook("range_end");
		write_all(0, 0, &a); /* and now they are all free: poison */
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, discarded_reads_zero,
     "after a discard every secondary MMU reads zero, and then the new page")
{
	for_each_fake (k) {
		struct mm *mm = written(1);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_write(&a, VA, 1), 0);
		EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
		EXPECT_EQ(fake_read(&a, VA), 0);
		EXPECT_EQ(fake_write(&a, VA, 2), 0);
		EXPECT_EQ(rd(mm, VA), 2);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, moved_pages_are_at_one_address,
     "a page that was moved is reached at its new address only (C28)")
{
	for_each_fake (k) {
		struct mm *mm = written(1);
		va_t at;

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_write(&a, P(0), 1), 0);
		EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at),
			  0);
		EXPECT(!fake_writes(&a, P(0), 2));
		EXPECT_EQ(fake_read(&a, P(0)), BAD);
		EXPECT_EQ(fake_read(&a, P(8)), 1);
		EXPECT_EQ(mm_discard(mm, P(8), P(9)), 0);
		EXPECT(!fake_writes(&a, P(0), 3));
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, translation_holds_no_pin,
     "a translation holds no reference on its page: the page is evicted at the "
     "first attempt, and comes back with its content (C38, B20)")
{
	for_each_fake (k) {
		struct mm *mm = written(1);
		struct page *page = page_at(mm, VA);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_write(&a, VA, 1), 0);
		EXPECT_EQ(page_refs(page), 2); /* the entry, and we */
		EXPECT_EQ(try_to_unmap(page), 0);
		EXPECT(!fake_writes(&a, VA, 2));
		EXPECT_EQ(fake_read(&a, VA), 1);
		page_put(page);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, page_written_by_a_device_is_dirty,
     "a clean page that only a device writes is dirty (B33)")
{
	for_each_fake (k) {
		struct mm *mm = written(1);
		struct page *page = page_at(mm, VA);

		EXPECT_EQ(try_to_unmap(page), 0);
		page_clear(page, PG_DIRTY); /* as if written back */
		EXPECT_EQ(rd(mm, VA), 100);
		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_write(&a, VA, 1), 0);
		EXPECT_EQ(try_to_unmap(page), 0);
		EXPECT(page_test(page, PG_DIRTY));
		page_put(page);
		fake_detach(&a);
		mm_put(mm);
	}
}

static void fork_it(void *arg)
{
	struct mm **mm = arg;

	mm[1] = fork_of(mm[0]);
}

TEST(fakes, fork_stops_device_writes,
     "a device's write after the flush of a fork never reaches the child (C24)")
{
	for_each_fake (k) {
		struct mm *mm[2] = { written(1), NULL };
		struct task fork;
		struct sync_point g;

		fake_attach(&a, *k, mm[0]);
		EXPECT_EQ(fake_write(&a, VA, 1), 0);
		sync_point_set(&g, "range_end", mm[0]);
		spawn(&fork, fork_it, mm);
		sync_point_await(&g);
		EXPECT(!fake_writes(&a, VA, 2));
		sync_point_release(&g);
		join(&fork);
		EXPECT_EQ(fake_write(&a, VA, 3), 0);
		EXPECT_EQ(rd(mm[1], VA), 1);
		EXPECT_EQ(rd(mm[0], VA), 3);
		fake_detach(&a);
		mm_put(mm[1]);
		mm_put(mm[0]);
	}
}

/* ---- at every step ------------------------------------------------------ */

#define MARK 4711

static struct {
	struct page *old;
	unsigned stale, looks;
} step;

/* From here on the old page is out of reach. */
static void never_old(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t v;

	step.looks++;
	/* Its content has been copied: from now on the two differ. */
	*(uint64_t *)page_va(step.old) = MARK;
	if (fake_reads(arg, VA, &v) && v == MARK)
		step.stale++;
}

TEST(fakes, no_step_of_a_copy_shows_the_old_page,
     "at every step after the flush of a copy the old page cannot be reached "
     "(B1, B12)")
{
	static const char *const steps[] = { "range_flushed", "change_pte",
					     "pte_set",       "unptl",
					     "range_end",     "range_ended" };

	for_each_fake (k) {
		struct mm *mm = written(1), *child = fork_of(mm);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, VA), 100);
		step.old = page_at(mm, VA);
		step.stale = step.looks = 0;
		for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
			hook(steps[i], never_old, &a);
		wr(mm, VA, 1);
		for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
			unhook(steps[i]);
		EXPECT_EQ(step.stale, 0);
		EXPECT_EQ(step.looks, ARRAY_SIZE(steps));
		page_put(step.old);
		fake_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

/* ---- exit --------------------------------------------------------------- */

static struct {
	_Atomic bool stop;
	_Atomic unsigned writes;
} stream;

static void stream_writes(void *arg)
{
	for (unsigned i = 0; !atomic_load(&stream.stop); i++) {
		fake_writes(arg, P(i % 8), i);
		atomic_fetch_add(&stream.writes, 1);
		yield();
	}
}

TEST(fakes, exit_stops_the_devices,
     "an exit during a stream of device writes lets none of them reach a freed "
     "page (C49)")
{
	for_each_fake (k) {
		struct mm *mm = written(8);
		struct task task;
		unsigned before;

		fake_attach(&a, *k, mm);
		for (unsigned i = 0; i < 8; i++)
			EXPECT_EQ(fake_write(&a, P(i), i), 0);
		atomic_store(&stream.stop, false);
		spawn(&task, stream_writes, &a);
		before = atomic_load(&stream.writes);
		while (atomic_load(&stream.writes) < before + 10)
			yield();
		mm_put(mm);
		EXPECT(fake_dead(&a));
		before = atomic_load(&stream.writes);
		while (atomic_load(&stream.writes) < before + 10)
			yield();
		atomic_store(&stream.stop, true);
		join(&task);
		EXPECT_EQ(fake_read(&a, VA), BAD);
		fake_detach(&a);
	}
}
