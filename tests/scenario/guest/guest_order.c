/* SPDX-License-Identifier: MIT */
/*
 * guest_order.c - each wrong order of a guest's flush, beside the right one
 *
 * mm and drivers/guest/ do the same in both.  In the wrong order a test hides a step
 * from them: CPUs from the kick (kicks_hidden()), a sequence that has moved, or the
 * release.  What is wrong is what the guest then reads: the next owner's word, 77.
 */
#include "kernel/probe.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"
#include "tests/stress/stress.h"
#include "tests/timeline/explain.h"

#define ROUNDS   200u /* until one is not hit by a tick                     */
#define PATIENCE 100000u
#define ALL      UINT64_MAX

static struct resident r;
static struct mm *mm;
static uint64_t exits;

static bool stayed(void)
{
	return resident_exits(&r) == exits;
}

/* ---- the kick in the end: too late ---------------------------------------- */

static void discard(void *unused)
{
	explain_thread("T0");
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
}

/* What does the guest read between the free and the end? */
static uint64_t peek_before_the_end(void)
{
	struct page *page;
	struct victim next;
	struct sync_point end;
	struct task task;
	uint64_t seen;

	victim_begin(&next);
	page = resident_warm(&r, mm, &exits);
	kicks_hidden(&r, ALL);
	sync_point_set(&end, "range_end", mm);
	spawn_on(&task, BIT(0), discard, NULL);
	sync_point_await(&end);
	kicks_shown();
	take(&next, page);
	seen = guest_peeks(&r, P(0));
	if (stayed()) {
		guest_kick(r.guest);
		EXPECT_EQ(guest_peeks(&r, P(0)), BAD); /* healed */
	} else {
		seen = BAD;
	}
	explain_end();
	resident_tick(&r, true);
	sync_point_release(&end);
	join(&task);
	victim_end(&next);
	return seen;
}

FORM_TEST(
	guest, kick_in_the_end_is_too_late,
	"a guest that is kicked in the end of the invalidation reads the next "
	"owner's word before it, and faults after it",
	2, caches)
{
	uint64_t seen;
	unsigned n = 0;

	mm = mm_fixture(1);
	resident_start(&r, guest_form(), mm);
	do
		seen = peek_before_the_end();
	while (seen == BAD && ++n < ROUNDS);
	EXPECT_EQ(seen, 77);
	resident_stop(&r);
	mm_put(mm);
}

/* ---- a fault that is overtaken --------------------------------------------- */

static uint64_t fault_saw;

static void read_by_guest(void *unused)
{
	explain_thread("T0");
	fault_saw = guest_reads(&r, P(0));
}

/* A fault has looked page 0 up; the page goes and has a new owner; the fault maps.
 * blind: as if the sequence had not moved. */
static void overtake(bool blind)
{
	struct shadow *s = &r.guest->shadow;
	struct sync_point looked;
	struct victim next;
	struct page *page;
	struct task fault;
	uint64_t seq;

	victim_begin(&next);
	wr(mm, P(0), 100);
	page = page_at(mm, P(0));
	page_put(page);
	resident_explain(&r, mm, page);
	sync_point_set(&looked, "shadow_looked", s);
	spawn_on(&fault, BIT(0), read_by_guest, NULL);
	sync_point_await(&looked);
	PROBE(cpu_says, "the fault has looked A up: page 1", 0);
	seq = atomic_load(&s->seq);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	take(&next, page);
	if (blind)
		atomic_store(&s->seq, seq);
	PROBE(cpu_says,
	      blind ? "the fault goes on, and sees no change"
		    : "the fault goes on, and sees a change",
	      0);
	sync_point_release(&looked);
	join(&fault);
	explain_end();
	victim_end(&next);
}

static void without_sequence(void)
{
	mm = mm_fixture(1);
	resident_start(&r, guest_form(), mm);
	guest_reads(&r, 0);
	overtake(true);
	EXPECT_EQ(fault_saw, 77);
	guest_peeks(&r, P(0));
	wr(mm, P(0), 1);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0); /* the wrong entry goes */
	resident_stop(&r);
	mm_put(mm);
}

TEST(guest, fault_without_a_sequence_maps_a_freed_page,
     "a nested fault that was overtaken by a whole invalidation maps the frame "
     "of the next owner if no sequence tells it (C34)")
{
	with_own(without_sequence);
}

static void with_sequence(void)
{
	struct rounds all = rounds(20 * stress_times());
	unsigned i = 0;

	mm = mm_fixture(1);
	resident_start(&r, guest_form(), mm);
	for (; rounds_more(&all, i); i++) {
		overtake(false);
		EXPECT_EQ(fault_saw, 0);
	}
	right_rounds(i);
	resident_stop(&r);
	mm_put(mm);
}

TEST(guest, fault_with_a_sequence_retries,
     "a nested fault that was overtaken by a whole invalidation looks the page "
     "up again (C34)")
{
	with_own(with_sequence);
}

/* ---- two invalidations of one page ------------------------------------------ */

static _Atomic bool first_kicks, second_done;

/* The first invalidation has emptied the entry, and has not kicked. */
static void before_the_kick(uint64_t guest, uint64_t unused, void *arg)
{
	if (guest != (uint64_t)r.guest || atomic_exchange(&first_kicks, true))
		return;
	for (unsigned i = 0; i < PATIENCE && !atomic_load(&second_done); i++)
		cpu_pause();
	EXPECT(!atomic_load(&second_done));
}

static void discard_too(void *unused)
{
	while (!atomic_load(&first_kicks))
		cpu_pause();
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	atomic_store(&second_done, true);
}

static void discard_twice(void)
{
	struct task second;

	mm = mm_fixture(1);
	resident_call(&r, &guest_own, mm);
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	atomic_store(&first_kicks, false);
	atomic_store(&second_done, false);
	hook("guest_kick", before_the_kick, NULL);
	spawn_on(&second, BIT(1), discard_too, NULL);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	join(&second);
	unhook("guest_kick");
	resident_stop(&r);
	mm_put(mm);
}

TEST_SMP(guest, second_invalidation_waits_for_the_first_kick,
	 "of two invalidations of a page the one that finds no entry does not "
	 "free the page before the other one has kicked the guest",
	 2)
{
	with_own(discard_twice);
}

/* ---- the root of the dead ---------------------------------------------------- */

/* Make address spaces until one has this frame as its root. */
static struct mm *with_root(pa_t root)
{
	struct mm *others[64], *found = NULL;
	unsigned n = 0;

	while (!found && n < ARRAY_SIZE(others)) {
		others[n] = mm_fixture(1);
		if (pt_root_pa(&others[n]->pt) == root)
			found = others[n];
		else
			n++;
	}
	while (n)
		mm_put(others[--n]);
	EXPECT(found);
	return found;
}

/* A guest of a process that has exited, whose root another process has. */
static struct mm *outlive(void)
{
	struct mm *other;
	struct page *page;
	uint64_t v = 0;
	pa_t root;

	mm = mm_fixture(1);
	resident_call(&r, &guest_shared, mm);
	wr(mm, P(0), 100);
	page = page_at(mm, P(0));
	page_put(page);
	root = pt_root_pa(&mm->pt);
	resident_explain(&r, mm, page);
	explain_name(EXPLAIN_ADDRESS, r.home, "the guest's home");
	EXPECT(guest_tries(&r, false, P(0), &v) && v == 100);
	mm_put(mm);
	other = with_root(root);
	wr(other, P(0), 77);
	EXPECT_EQ(mm_map(other, r.home, HOME_PAGES * PAGE_SIZE, RW | PROT_X, 0,
			 r.object, 0, NULL),
		  0);
	for (unsigned i = 0; i < HOME_PAGES; i++)
		EXPECT_EQ(mm_fault(other, r.home + i * PAGE_SIZE, PROT_W), 0);
	PROBE(cpu_says, "another process has the root, A holds 77", 0);
	return other;
}

static void end_of_both(struct mm *other)
{
	explain_end();
	atomic_store(&r.guest->dead, true);
	mm_put(other);
	resident_stop(&r);
}

static void unreleased(void *unused)
{
	struct mm *other = outlive();
	uint64_t v = 0;

	atomic_store(&r.guest->dead, false); /* as if release were missing */
	EXPECT(guest_tries(&r, false, P(0), &v) && v == 77);
	end_of_both(other);
}

TEST(guest, without_release_it_reads_the_next_process,
     "a guest that walks the root of a process which has exited reads the "
     "memory of the process that has the root now (C49)")
{
	need_svm();
	on_cpu(0, unreleased, NULL);
}

static void released(void *unused)
{
	struct rounds all = rounds(20 * stress_times());
	unsigned i = 0;

	for (; rounds_more(&all, i); i++) {
		struct mm *other = outlive();
		uint64_t v = 0;

		EXPECT(!guest_tries(&r, false, P(0), &v));
		end_of_both(other);
	}
	right_rounds(i);
}

TEST(guest, release_keeps_it_out_of_the_next_process,
     "after its process's exit a guest is not entered, and reads nothing of "
     "the process that has the root now (C49)")
{
	need_svm();
	on_cpu(0, released, NULL);
}

/* ---- aging -------------------------------------------------------------------- */

/* The guest uses the page before and after an aging.  Does the next one see it? */
static unsigned aged(bool kicked)
{
	struct page *page = resident_warm(&r, mm, &exits);
	unsigned used;

	page_get(page);
	EXPECT(guest_reads(&r, P(0)) == 100);
	if (!kicked)
		kicks_hidden(&r, ALL);
	page_referenced(page);
	if (!kicked)
		kicks_shown();
	EXPECT_EQ(guest_reads(&r, P(0)), 100);
	used = page_referenced(page);
	PROBE(cpu_says, used ? "A is young" : "A is idle", 0);
	explain_end();
	resident_tick(&r, true);
	page_put(page);
	return used;
}

FORM_TEST(guest, aging_without_a_kick_misses_a_use,
	  "a page that the guest goes on using looks idle if aging does not "
	  "kick the guest (C74)",
	  2, caches)
{
	unsigned n = 0, used;

	mm = mm_fixture(1);
	resident_start(&r, guest_form(), mm);
	do
		used = aged(false);
	while (used && ++n < ROUNDS); /* an exit by a tick is a flush */
	EXPECT_EQ(used, 0);
	resident_stop(&r);
	mm_put(mm);
}

FORM_TEST(guest, aging_with_a_kick_sees_every_use,
	  "a page that the guest goes on using looks young if aging kicks the "
	  "guest (C74)",
	  2, accessed_once)
{
	struct rounds all = rounds(20 * stress_times());
	unsigned i = 0;

	mm = mm_fixture(1);
	resident_start(&r, guest_form(), mm);
	for (; rounds_more(&all, i); i++)
		EXPECT_EQ(aged(true), 1);
	right_rounds(i);
	resident_stop(&r);
	mm_put(mm);
}
