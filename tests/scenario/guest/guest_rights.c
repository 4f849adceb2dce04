/* SPDX-License-Identifier: MIT */
/*
 * guest_rights.c - a guest that loses a right, or a page, and is told too late
 *
 * As in guest_order.c a test hides CPUs from the kick.  Here the frame has no new
 * owner: the harm is a write that should have been refused, a write that a child sees,
 * an old word after a new one.
 */
#include "kernel/err.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/stress/stress.h"

#define ROUNDS 200u /* until one is not hit by a tick                       */
#define ALL    UINT64_MAX

static struct resident r;
static struct mm *mm;
static uint64_t exits;
static bool stayed;

static void begin(void)
{
	mm = mm_fixture(2);
	wr(mm, P(0), 100);
	wr(mm, P(1), 101);
	resident_start(&r, guest_form(), mm);
}

static void end(void)
{
	resident_stop(&r);
	mm_put(mm);
}

/* Store without serving a fault. */
static int pokes(va_t va, uint64_t v)
{
	int error;

	atomic_store(&r.refuses, true);
	error = guest_writes(&r, va, v);
	atomic_store(&r.refuses, false);
	return error;
}

/* Run round(false) until no exit has healed it, and expect wrong of it; then expect right
 * of each round(true). */
static void both_orders(uint64_t (*round)(bool kicked), uint64_t wrong,
			uint64_t right)
{
	struct rounds all = rounds(20 * stress_times());
	uint64_t seen;
	unsigned n = 0;

	begin();
	do
		seen = round(false);
	while (!stayed && ++n < ROUNDS);
	EXPECT_EQ(seen, wrong);
	for (unsigned i = 0; rounds_more(&all, i); i++)
		EXPECT_EQ(round(true), right);
	end();
}

/* ---- protect, fork ---------------------------------------------------------- */

/* The guest has stored to page 0 and has the translation. */
static void warm_to_write(uint64_t v)
{
	resident_warm(&r, mm, &exits);
	EXPECT_EQ(guest_writes(&r, P(0), 0), 0);
	exits = resident_exits(&r);
	EXPECT_EQ(guest_writes(&r, P(0), v), 0);
}

static uint64_t protect_under_it(bool kicked)
{
	uint64_t v;

	warm_to_write(101);
	if (!kicked)
		kicks_hidden(&r, ALL);
	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	kicks_shown();
	if (pokes(P(0), 102))
		EXPECT_EQ(rd(mm, P(0)), 101);
	stayed = resident_exits(&r) == exits;
	v = rd(mm, P(0));
	resident_tick(&r, true);
	EXPECT_EQ(mm_protect(mm, P(0), P(1), RW), 0);
	return v;
}

static void protect(void)
{
	both_orders(protect_under_it, 102, 101);
}

TEST_SMP(guest, protect_stops_its_writes,
	 "a guest in guest mode that has written a page does not write it "
	 "after a "
	 "protect; without the kick it does (C13)",
	 2)
{
	with_each_form(protect);
}

/* What does the child read that was forked under the guest's writes? */
static uint64_t fork_under_it(bool kicked)
{
	struct mm *child;
	uint64_t v;

	warm_to_write(101);
	if (!kicked)
		kicks_hidden(&r, ALL);
	child = fork_of(mm);
	kicks_shown();
	if (kicked)
		EXPECT_EQ(guest_writes(&r, P(0), 102), 0);
	else
		(void)pokes(P(0), 102);
	stayed = resident_exits(&r) == exits;
	v = rd(child, P(0));
	resident_tick(&r, true);
	mm_put(child);
	return v;
}

static void fork(void)
{
	both_orders(fork_under_it, 102, 101);
}

TEST_SMP(guest, fork_keeps_its_writes_out_of_the_child,
	 "what a guest in guest mode writes after a fork the child does not "
	 "see; "
	 "without the kick it does (C24)",
	 2)
{
	with_each_form(fork);
}

/* ---- two pages --------------------------------------------------------------- */

/* The guest has read A, page 0, which a child shares, and B, page 1.  The process writes
 * A, which copies it, and then B.  The guest reads the new B; returns its A. */
static uint64_t write_under_it(bool kicked)
{
	struct mm *child;
	uint64_t a;

	wr(mm, P(0), 100);
	child = fork_of(mm);
	wr(mm, P(1), 101);
	resident_tick(&r, false);
	guest_kick(r.guest);
	for (unsigned i = 0; i < 2; i++) {
		exits = resident_exits(&r);
		EXPECT_EQ(guest_reads(&r, P(0)), 100);
		EXPECT_EQ(guest_reads(&r, P(1)), 101);
	}
	if (!kicked)
		kicks_hidden(&r, ALL);
	wr(mm, P(0), 200);
	kicks_shown();
	wr(mm, P(1), 201);
	EXPECT_EQ(guest_peeks(&r, P(1)), 201);
	a = kicked ? guest_reads(&r, P(0)) : guest_peeks(&r, P(0));
	stayed = resident_exits(&r) == exits;
	resident_tick(&r, true);
	mm_put(child);
	return a;
}

static void write_two(void)
{
	both_orders(write_under_it, 100, 200);
}

TEST_SMP(guest, new_b_after_new_a,
	 "a guest that reads the new B, written after A, reads the new A; "
	 "without "
	 "the kick it reads the old one (C19, B13)",
	 2)
{
	with_each_form(write_two);
}

/* ---- while something is under way ---------------------------------------------- */

static void discard_first(void *unused)
{
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
}

static struct guest early, late;

static void create(void *unused)
{
	EXPECT_EQ(guest_create(&late, guest_form(), mm), 0);
}

static void create_during(void)
{
	struct sync_point started;
	struct task discard, creator;

	mm = mm_fixture(1);
	wr(mm, P(0), 1);
	EXPECT_EQ(guest_create(&early, guest_form(), mm), 0);
	sync_point_set(&started, "range_started", mm);
	spawn_on(&discard, BIT(0), discard_first, NULL);
	sync_point_await(&started);
	spawn_on(&creator, BIT(0), create, NULL);
	EXPECT(still_waits(&creator));
	sync_point_release(&started);
	join(&discard);
	join(&creator);
	EXPECT_EQ(atomic_load(&late.shadow.active), 0);
	guest_destroy(&late);
	guest_destroy(&early);
	mm_put(mm);
}

TEST(guest, create_waits_for_an_invalidation,
     "a guest that is made during an invalidation waits for its end (C36)")
{
	with_each_form(create_during);
}

static void reap(void)
{
	begin();
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	EXPECT_EQ(guest_reads(&r, P(1)), 101);
	EXPECT_EQ(mm_reap(mm), 0);
	EXPECT_EQ(guest_peeks(&r, P(0)), BAD);
	EXPECT_EQ(guest_peeks(&r, P(1)), BAD);
	EXPECT_EQ(guest_reads(&r, P(1)), 0);
	end();
}

TEST(guest, reaper_does_not_wait_for_it,
     "the reaper takes the pages of an mm with a guest without sleep: a kick "
     "is "
     "waited for without (B23, H10)")
{
	with_each_form(reap);
}

static void read_first(void *unused)
{
	EXPECT_EQ(guest_reads(&r, P(0)), 100);
}

static void age_during(void)
{
	struct sync_point looked;
	struct task fault;
	struct page *page;

	begin();
	EXPECT_EQ(guest_reads(&r, 0), BAD); /* its home is mapped now */
	page = page_at(mm, P(0));
	sync_point_set(&looked, "shadow_looked", &r.guest->shadow);
	spawn_on(&fault, BIT(0), read_first, NULL);
	sync_point_await(&looked);
	EXPECT_EQ(page_referenced(page), 1); /* by the process, before */
	sync_point_release(&looked);
	join(&fault);
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_EQ(page_referenced(page), 0);
	page_put(page);
	end();
}

TEST(guest, use_after_aging_is_seen,
     "the use of a guest whose fault has looked a page up before aging, and "
     "maps it "
     "after it, counts (C44)")
{
	with_own(age_during);
}
