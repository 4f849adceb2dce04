/* SPDX-License-Identifier: MIT */
/*
 * scn_cast.c - what every secondary MMU must see, whatever its kind
 *
 * Each claim is tried with each agent in turn; which one failed is in the name
 * of its lock and in agent_check()'s words.
 */
#include "kernel/probe.h"
#include "mm/gather.h"
#include "tests/agent.h"
#include "tests/cast.h"
#include "tests/gate.h"

static struct agent a; /* too large for a stack */

/* The body runs once for each kind, with a fresh mm of n written pages. */
#define for_each_agent(k) \
	for (const struct agent_kind *const *(k) = agents; *(k); (k)++)

TEST(cast, cpu_copy_reaches_everybody,
     "after the CPU's copy on write no MMU reads the old page (C21)")
{
	for_each_agent (k) {
		struct mm *mm = written(1), *child = fork_of(mm);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_read(&a, VA), 100);
		wr(mm, VA, 1);
		EXPECT_EQ(agent_read(&a, VA), 1);
		EXPECT_EQ(rd(child, VA), 100);
		agent_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

TEST(cast, device_write_copies,
     "a device's write to a shared page copies it first (C23)")
{
	for_each_agent (k) {
		struct mm *mm = written(1), *child = fork_of(mm);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_read(&a, VA), 100);
		EXPECT_EQ(agent_write(&a, VA, 7), 0);
		EXPECT_EQ(rd(child, VA), 100);
		EXPECT_EQ(rd(mm, VA), 7);
		EXPECT(a.faults <= 4);
		agent_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

TEST(cast, device_write_reuses,
     "a device's write to a page that is the last owner's lands in it, after "
     "few faults (C30, B8)")
{
	for_each_agent (k) {
		struct mm *mm = written(1);
		struct page *page = page_at(mm, VA);

		page_put(page);
		mm_put(fork_of(mm));
		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_read(&a, VA), 100);
		wr(mm, VA, 1); /* the CPU gains the right first */
		EXPECT_EQ(agent_write(&a, VA, 7), 0);
		EXPECT(a.faults <= 2);
		EXPECT_EQ(rd(mm, VA), 7);
		EXPECT_EQ(*(uint64_t *)page_va(page), 7);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, zero_page_is_never_written,
     "who has read the zero page reads what is written later, and never writes "
     "into it (C22)")
{
	const uint64_t *zero = page_va(zero_page);

	for_each_agent (k) {
		struct mm *mm = world(2);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_read(&a, P(0)), 0);
		EXPECT_EQ(agent_read(&a, P(1)), 0);
		wr(mm, P(0), 5);
		EXPECT_EQ(agent_read(&a, P(0)), 5);
		EXPECT_EQ(agent_write(&a, P(1), 6), 0);
		EXPECT_EQ(*zero, 0);
		EXPECT_EQ(rd(mm, P(1)), 6);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, rights_go_and_come,
     "a right that goes is gone for everybody, and one that comes arrives "
     "(C13, C14, C37)")
{
	for_each_agent (k) {
		struct mm *mm = written(1);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_write(&a, VA, 1), 0);
		EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
		EXPECT(!agent_writes(&a, VA, 2));
		EXPECT(agent_write(&a, VA, 2) < 0);
		EXPECT_EQ(agent_read(&a, VA), 1);
		EXPECT_EQ(mm_protect(mm, P(0), P(1), RW), 0);
		wr(mm, VA, 3);
		a.faults = 0;
		EXPECT_EQ(agent_write(&a, VA, 4), 0);
		EXPECT(a.faults <= 2);
		EXPECT_EQ(rd(mm, VA), 4);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, rights_are_those_of_the_entry,
     "what is shared, zero or read-only is given to nobody to write, though "
     "the region may be written; a write copies, or is denied (C37, B32)")
{
	for_each_agent (k) {
		struct mm *mm = written(3), *child = fork_of(mm);

		change(mm, 1, 2);
		EXPECT_EQ(mm_protect(mm, P(2), P(3), PROT_R), 0);
		agent_attach(&a, *k, mm);
		for (unsigned i = 0; i < 3; i++) {
			EXPECT_EQ(agent_read(&a, P(i)), i == 1 ? 0 : 100 + i);
			EXPECT(agent_has(&a, P(i), false));
			EXPECT(!agent_has(&a, P(i), true));
			EXPECT_EQ(agent_write(&a, P(i), 7) == 0, i < 2);
			EXPECT_EQ(agent_has(&a, P(i), true), i < 2);
			EXPECT_EQ(rd(child, P(i)), 100 + i);
		}
		agent_detach(&a);
		mm_put(child);
		mm_put(mm);
	}
}

TEST(cast, unmapped_is_out_of_reach,
     "what is unmapped nobody reads or writes, what is next to it everybody")
{
	for_each_agent (k) {
		struct mm *mm = written(3);

		agent_attach(&a, *k, mm);
		for (unsigned i = 0; i < 3; i++)
			EXPECT_EQ(agent_write(&a, P(i), i), 0);
		EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
		EXPECT(!agent_writes(&a, P(1), 9));
		EXPECT_EQ(agent_read(&a, P(1)), BAD);
		EXPECT_EQ(agent_read(&a, P(0)), 0);
		EXPECT_EQ(agent_read(&a, P(2)), 2);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, neighbours_keep_their_translations,
     "an unmap takes from every MMU its own pages and no others (C5)")
{
	for_each_agent (k) {
		struct mm *mm = written(10);

		agent_attach(&a, *k, mm);
		for (unsigned i = 0; i < 10; i++)
			agent_read(&a, P(i));
		EXPECT_EQ(mm_unmap(mm, P(1), P(9)), 0);
		for (unsigned i = 0; i < 10; i++)
			EXPECT_EQ(agent_has(&a, P(i), false), i % 9 == 0);
		agent_detach(&a);
		mm_put(mm);
	}
}

static void write_all(uint64_t mm, uint64_t va, void *arg)
{
	for (unsigned i = 0; i < AGENT_PAGES; i++)
		agent_writes(arg, P(i), 0xdeadbeef);
}

TEST(cast, batches_free_behind_the_flush,
     "in an unmap of several batches a device that writes all the time never "
     "hits a freed page (C4, B18)")
{
	_Static_assert(AGENT_PAGES > 3 * GATHER_PAGES, "several batches");

	for_each_agent (k) {
		struct mm *mm = written(AGENT_PAGES);

		agent_attach(&a, *k, mm);
		for (unsigned i = 0; i < AGENT_PAGES; i++)
			agent_write(&a, P(i), i);
		hook("range", write_all, &a);
		hook("range_flushed", write_all, &a);
		hook("range_end", write_all, &a);
		EXPECT_EQ(mm_unmap(mm, P(0), P(AGENT_PAGES)), 0);
		unhook("range");
		unhook("range_flushed");
		unhook("range_end");
		write_all(0, 0, &a); /* and now they are all free: poison */
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, discarded_reads_zero,
     "after a discard everybody reads zero, and a new page is everybody's")
{
	for_each_agent (k) {
		struct mm *mm = written(1);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_write(&a, VA, 1), 0);
		EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
		EXPECT_EQ(agent_read(&a, VA), 0);
		EXPECT_EQ(agent_write(&a, VA, 2), 0);
		EXPECT_EQ(rd(mm, VA), 2);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, moved_pages_are_at_one_address,
     "a moved page is reached at its new address only (C28)")
{
	for_each_agent (k) {
		struct mm *mm = written(1);
		va_t at;

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_write(&a, P(0), 1), 0);
		EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at),
			  0);
		EXPECT(!agent_writes(&a, P(0), 2));
		EXPECT_EQ(agent_read(&a, P(0)), BAD);
		EXPECT_EQ(agent_read(&a, P(8)), 1);
		EXPECT_EQ(mm_discard(mm, P(8), P(9)), 0);
		EXPECT(!agent_writes(&a, P(0), 3));
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, mapping_without_a_pin,
     "a translation holds no page: it is taken away at the first try, and "
     "comes back with its content (C38, B20)")
{
	for_each_agent (k) {
		struct mm *mm = written(1);
		struct page *page = page_at(mm, VA);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_write(&a, VA, 1), 0);
		EXPECT_EQ(page_refs(page), 2); /* the entry, and we */
		EXPECT_EQ(try_to_unmap(page), 0);
		EXPECT(!agent_writes(&a, VA, 2));
		EXPECT_EQ(agent_read(&a, VA), 1);
		page_put(page);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, what_a_device_may_write_is_dirty,
     "a clean page that only a device writes is dirty (B33)")
{
	for_each_agent (k) {
		struct mm *mm = written(1);
		struct page *page = page_at(mm, VA);

		EXPECT_EQ(try_to_unmap(page), 0);
		page_clear(page, PG_DIRTY); /* as if written back */
		EXPECT_EQ(rd(mm, VA), 100);
		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_write(&a, VA, 1), 0);
		EXPECT_EQ(try_to_unmap(page), 0);
		EXPECT(page_test(page, PG_DIRTY));
		page_put(page);
		agent_detach(&a);
		mm_put(mm);
	}
}

static void fork_it(void *arg)
{
	struct mm **mm = arg;

	mm[1] = fork_of(mm[0]);
}

TEST(cast, fork_freezes_the_devices,
     "what a device writes once fork has flushed never reaches the child "
     "(C24)")
{
	for_each_agent (k) {
		struct mm *mm[2] = { written(1), NULL };
		struct task fork;
		struct gate g;

		agent_attach(&a, *k, mm[0]);
		EXPECT_EQ(agent_write(&a, VA, 1), 0);
		gate_close(&g, "range_end", mm[0]);
		spawn(&fork, fork_it, mm);
		gate_await(&g);
		EXPECT(!agent_writes(&a, VA, 2));
		gate_open(&g);
		join(&fork);
		EXPECT_EQ(agent_write(&a, VA, 3), 0);
		EXPECT_EQ(rd(mm[1], VA), 1);
		EXPECT_EQ(rd(mm[0], VA), 3);
		agent_detach(&a);
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
	if (agent_reads(arg, VA, &v) && v == MARK)
		step.stale++;
}

TEST(cast, no_step_of_a_copy_shows_the_old_page,
     "from the flush of a copy on, at every step, the old page is out of reach "
     "(B1, B12)")
{
	static const char *const steps[] = { "range_flushed", "change_pte",
					     "pte_set",       "unptl",
					     "range_end",     "range_ended" };

	for_each_agent (k) {
		struct mm *mm = written(1), *child = fork_of(mm);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_read(&a, VA), 100);
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
		agent_detach(&a);
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
		agent_writes(arg, P(i % 8), i);
		atomic_fetch_add(&stream.writes, 1);
		yield();
	}
}

TEST(cast, exit_stops_the_devices,
     "exit in the middle of a stream of writes: none lands in a freed page "
     "(C49)")
{
	for_each_agent (k) {
		struct mm *mm = written(8);
		struct task task;
		unsigned before;

		agent_attach(&a, *k, mm);
		for (unsigned i = 0; i < 8; i++)
			EXPECT_EQ(agent_write(&a, P(i), i), 0);
		atomic_store(&stream.stop, false);
		spawn(&task, stream_writes, &a);
		before = atomic_load(&stream.writes);
		while (atomic_load(&stream.writes) < before + 10)
			yield();
		mm_put(mm);
		EXPECT(a.dead);
		before = atomic_load(&stream.writes);
		while (atomic_load(&stream.writes) < before + 10)
			yield();
		atomic_store(&stream.stop, true);
		join(&task);
		EXPECT_EQ(agent_read(&a, VA), BAD);
		agent_detach(&a);
	}
}
