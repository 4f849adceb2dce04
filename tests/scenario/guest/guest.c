/* SPDX-License-Identifier: MIT */
/*
 * guest.c - a guest beside the process whose memory it is
 *
 * The tests of stale translations need two CPUs: what a guest has cached is dropped
 * by each exit, so it is seen only from another CPU, while the guest stays in guest
 * mode.  The tick would end that too, and is stopped; a round that another interrupt
 * has hit is run again.
 */
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"
#include "tests/stress/stress.h"
#include "tests/timeline/explain.h"

#define ROUNDS       200u /* until one is not hit by a tick                       */
#define RIGHT_ROUNDS 20u /* stress=50: 1,000 */
#define PATIENCE     100000u
#define ALL          UINT64_MAX

static struct resident r;
static struct mm *mm;
static void (*order)(void); /* sets a wrong order up; NULL: the right one */

static void begin(unsigned pages)
{
	mm = mm_fixture(pages);
	for (unsigned i = 0; i < pages; i++)
		wr(mm, P(i), 100 + i);
	resident_start(&r, guest_form(), mm);
}

static void end(void)
{
	resident_stop(&r);
	mm_put(mm);
}

static void same_memory(void)
{
	struct page *page;

	begin(2);
	EXPECT_EQ(guest_reads(&r, P(0)), 100);
	EXPECT_EQ(guest_writes(&r, P(0), 7), 0);
	EXPECT_EQ(rd(mm, P(0)), 7);
	wr(mm, P(0), 8);
	EXPECT_EQ(guest_reads(&r, P(0)), 8);
	EXPECT_EQ(guest_reads(&r, P(2)), BAD); /* no region */
	EXPECT_EQ(mm_protect(mm, P(1), P(2), PROT_R), 0);
	EXPECT_EQ(guest_reads(&r, P(1)), 101);
	EXPECT_EQ(guest_writes(&r, P(1), 9), (uint64_t)-14);
	EXPECT_EQ(rd(mm, P(1)), 101);
	page = page_at(mm, P(0));
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT(page_test(page, PG_DIRTY));
	page_put(page);
	EXPECT_EQ(guest_reads(&r, P(0)), 0);
	end();
}

TEST(guest, same_memory,
     "a guest reads what its process writes, and the process what the guest "
     "writes; where the process may not write, the guest may not")
{
	with_each_form(same_memory);
}

static void both_copy(void)
{
	struct mm *child;

	begin(2);
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	EXPECT_EQ(guest_writes(&r, P(1), 2), 0);
	child = fork_of(mm);
	wr(mm, P(0), 11); /* the process copies: the guest has the new page */
	EXPECT_EQ(guest_reads(&r, P(0)), 11);
	EXPECT_EQ(guest_writes(&r, P(1), 12), 0); /* the guest copies */
	EXPECT_EQ(rd(mm, P(1)), 12);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(rd(child, P(1)), 2);
	mm_put(child);
	end();
}

TEST(guest, writes_copy,
     "after a fork a write of the guest copies the page, and so does one of "
     "the "
     "process under the guest; the child keeps both")
{
	with_each_form(both_copy);
}

static void exit_ends_it(void)
{
	begin(1);
	EXPECT_EQ(guest_reads(&r, P(0)), 100);
	mm_put(mm);
	EXPECT_EQ(guest_reads(&r, P(0)), BAD);
	EXPECT(!vcpu_enter(&r.vcpu));
	resident_stop(&r);
}

TEST(guest, exit_keeps_it_out,
     "when the process has exited no vCPU enters its guest any more")
{
	with_each_form(exit_ends_it);
}

/* ---- stale translations -------------------------------------------------- */

/* Before the guest's last read that could fill its TLB; and after the look, whether
 * there was none since. */
static uint64_t exits;
static bool stayed;

/*
 * The guest has read page 0; the process discards it; another process has the frame;
 * the guest reads again without a fault.  Returns what.
 */
static uint64_t discard_under_it(void)
{
	struct page *page;
	struct victim next;
	uint64_t seen;

	victim_begin(&next);
	page = resident_warm(&r, mm, &exits);
	order();
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	kicks_shown();
	unhook("range_start");
	unhook("guest_kicked");
	take(&next, page);
	seen = guest_peeks(&r, P(0));
	stayed = resident_exits(&r) == exits;
	explain_end();
	resident_tick(&r, true);
	victim_end(&next);
	return seen;
}

/* One round that no exit has healed, after at most ROUNDS. */
static uint64_t discard_in_guest_mode(void)
{
	uint64_t seen;
	unsigned n = 0;

	do
		seen = discard_under_it();
	while (!stayed && ++n < ROUNDS);
	EXPECT(n < ROUNDS);
	return seen;
}

static void leave_out(void)
{
	kicks_hidden(&r, ALL);
}

FORM_TEST(guest, without_a_kick_it_reads_the_next_owner,
	  "a guest that is not kicked out of guest mode reads the frame of a "
	  "discarded page, after another process has it",
	  2, caches)
{
	begin(1);
	order = leave_out;
	EXPECT_EQ(discard_in_guest_mode(), 77);
	end();
}

/* The entry is still there: the guest caches it again.  The kick after the clear is
 * left out. */
static void kick_now(uint64_t of, uint64_t va, void *unused)
{
	if (of != (uint64_t)mm)
		return;
	guest_kick(r.guest);
	kicks_hidden(&r, ALL);
	exits = resident_exits(&r);
	EXPECT_EQ(guest_peeks(&r, P(0)), 100);
}

static void kick_before(void)
{
	hook("range_start", kick_now, NULL);
}

FORM_TEST(guest, kick_before_the_clear_is_too_early,
	  "a guest that is kicked before its entry is cleared caches the entry "
	  "once more, and reads the frame of the next owner",
	  2, caches)
{
	begin(1);
	order = kick_before;
	EXPECT_EQ(discard_in_guest_mode(), 77);
	end();
}

/* The guest reads as soon as it can: a kick before the clear would be too early. */
static void read_again(uint64_t guest, uint64_t cpus, void *unused)
{
	if (guest == (uint64_t)r.guest)
		EXPECT_EQ(guest_peeks(&r, P(0)), BAD);
}

static void watch_kicks(void)
{
	hook("guest_kicked", read_again, NULL);
}

FORM_TEST(guest, kick_ends_stale_translations,
	  "after a discard the guest faults, however often it has read the "
	  "page",
	  2, caches)
{
	struct rounds all = rounds(RIGHT_ROUNDS * stress_times());
	unsigned i = 0;

	begin(1);
	order = watch_kicks;
	for (; rounds_more(&all, i); i++)
		EXPECT_EQ(discard_under_it(), BAD);
	right_rounds(i);
	end();
}

/* ---- about to enter ------------------------------------------------------ */

static _Atomic bool entering, kicking, out;
static uint64_t before;

/* On the guest's CPU, between its look at `dead` and VMRUN: wait long enough for
 * one who does not wait for this CPU. */
static void dawdle(uint64_t vcpu, uint64_t unused, void *arg)
{
	if (vcpu != (uint64_t)&r.vcpu || atomic_exchange(&entering, true))
		return;
	before = resident_exits(&r);
	while (!atomic_load(&kicking))
		cpu_pause();
	for (unsigned i = 0; i < PATIENCE && !atomic_load(&out); i++)
		cpu_pause();
}

/* The guest is dead by now. */
static void kick_begins(uint64_t guest, uint64_t unused, void *arg)
{
	if (guest == (uint64_t)r.guest)
		atomic_store(&kicking, true);
}

/* It enters after the next tick, if not before. */
static void keep_out_at_the_door(void)
{
	begin(1);
	atomic_store(&entering, false);
	atomic_store(&kicking, false);
	atomic_store(&out, false);
	hook("guest_kick", kick_begins, NULL);
	hook("vcpu_enter", dawdle, NULL);
	while (!atomic_load(&entering))
		cpu_pause();
	guest_keep_out(r.guest);
	atomic_store(&out, true);
	EXPECT_EQ(resident_exits(&r), before + 1);
	unhook("vcpu_enter");
	unhook("guest_kick");
	end();
}

TEST_SMP(guest, kick_waits_for_one_that_is_about_to_enter,
	 "a guest that is kept out while a CPU is about to enter it has been "
	 "entered and left when that returns",
	 2)
{
	with_each_form(keep_out_at_the_door);
}
