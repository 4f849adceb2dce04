/* SPDX-License-Identifier: MIT */
/*
 * logs.c - event log and page request log, entry by entry
 *
 * Every test runs on both kinds of log (tests/fixture/iommu/log_fixture.h).
 */
#include "arch/clock.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/log_fixture.h"

/* ---- wrap, overflow ---------------------------------------------------- */

static void wrap(struct log_fixture *d)
{
	struct rng rng = rng_seed(test_seed());

	for (unsigned i = 0; i < 30; i++) {
		send_n(d, 1 + (unsigned)rng_below(&rng, CAPACITY));
		drain(d);
		EXPECT_EQ(d->next, d->sent);
	}
	send_n(d, CAPACITY);
	drain(d);
	EXPECT(d->sent > 10 * SLOTS && !d->log.restarts);
	expect_all_seen(d);
}

static void frames_of(struct log_fixture *d)
{
	uint64_t before = pmm_used_by(PAGE_IOMMU);

	log_stop(&d->log);
	EXPECT_EQ(before - pmm_used_by(PAGE_IOMMU), 1);
}

TEST(logs, small_log_is_one_frame,
     "a log of one page of entries takes one frame, and gives it back")
{
	on_both(frames_of);
}

TEST(logs, wrap_keeps_order_and_number,
     "over ten rounds of a log each entry is handed over once, in order, and "
     "its slot is zero again")
{
	on_both(wrap);
}

static void overflow(struct log_fixture *d)
{
	for (unsigned i = 1; i < 4; i++) {
		unsigned generation = log_generation(&d->log);

		EXPECT(!log_lost_since(&d->log, generation));
		send_n(d, SLOTS + 50);
		EXPECT_EQ(d->sent, d->next + CAPACITY);
		EXPECT(log_lost_since(&d->log, generation));
		drain(d);
		EXPECT_EQ(d->log.restarts, i);
		EXPECT(log_lost_since(&d->log, generation));
		/* The log runs, and its interrupt arrives. */
		d->interrupts = 0;
		send_n(d, 1);
		EXPECT_EQ(d->interrupts, 1);
		drain(d);
	}
	EXPECT_EQ(d->sent, 3 * (CAPACITY + 1));
	expect_all_seen(d);
}

TEST(logs, overflow_restarts_the_log,
     "a log that overflowed is emptied, runs again and interrupts (C110)")
{
	on_both(overflow);
}

static void rewinds(struct log_fixture *d)
{
	d->rewinds = true;
	for (unsigned i = 1; i < 4; i++) {
		send_n(d, SLOTS);
		drain(d);
		EXPECT_EQ(d->log.restarts, i);
		send_n(d, 5);
		drain(d);
		expect_all_seen(d);
	}
}

TEST(logs, restart_may_move_head,
     "a log that begins again at its first slot after an overflow is read from "
     "there")
{
	on_both(rewinds);
}

static void slow_handler(struct log_fixture *d)
{
	/* While the first is handled the ring fills again to the last slot. */
	send_n(d, CAPACITY);
	d->refill = 1;
	drain(d);
	EXPECT_EQ(d->sent, CAPACITY + 1);
	send_n(d, CAPACITY);
	d->refill = SLOTS;
	drain(d);
	EXPECT_EQ(d->log.restarts, 1);
	expect_all_seen(d);
}

TEST(logs, slot_is_free_before_its_entry_is_handled,
     "an entry that arrives while one is handled can use that one's slot")
{
	on_both(slow_handler);
}

/* ---- entries that come late -------------------------------------------- */

static void late(struct log_fixture *d)
{
	for (unsigned delay = 1; delay < 20; delay += 6) {
		model_set_log_delay(d->m, delay);
		for (unsigned i = 0; i < 9; i++) {
			send_n(d, 60);
			drain(d);
			EXPECT_EQ(d->next, d->sent);
		}
	}
	model_set_log_delay(d->m, 0);
	expect_all_seen(d);
}

TEST(logs, late_entry_is_waited_for,
     "an entry that appears after its tail is not skipped, not read too "
     "early, and not confused with the slot's old entry (C109)")
{
	on_both(late);
}

static void slow_cpu(struct log_fixture *d)
{
	model_set_log_delay(d->m, 8);
	send_n(d, 1);
	d->slow = 4;
	drain(d);
	EXPECT_EQ(d->slow, 0);
	model_set_log_delay(d->m, 0);
	expect_all_seen(d);
}

TEST(logs, slow_cpu_loses_no_entry,
     "an entry that is late by a few register accesses is awaited even if the "
     "CPU does not run for longer than an entry may take")
{
	on_both(slow_cpu);
}

static void never(struct log_fixture *d)
{
	uint64_t start;

	model_set_log_delay(d->m, 1u << 30);
	send_n(d, 3);
	start = clock_ns();
	drain(d);
	EXPECT(clock_ns() - start < UINT64_C(10000000000));
	EXPECT_EQ(d->log.lost, 3);
	EXPECT_EQ(d->next, 0);
	d->next = d->sent;
	/* The entries after it are still read. */
	model_set_log_delay(d->m, 0);
	memset(d->log.ring, 0, SLOTS * sizeof(*d->log.ring));
	send_n(d, 3);
	drain(d);
	EXPECT_EQ(d->log.entries, 3);
	EXPECT_EQ(d->next, d->sent);
}

TEST(logs, missing_entry_is_given_up,
     "an entry that is counted and never written is awaited for a bounded "
     "time and not handed over")
{
	on_both(never);
}

/* ---- what happens in the middle ---------------------------------------- */

/* Count the register accesses of one pass over two entries. */
static unsigned accesses_of_a_pass(struct log_fixture *d)
{
	send_n(d, 2);
	d->accesses = 0;
	EXPECT_EQ(drain_once(d), 2);
	return d->accesses;
}

/*
 * Two entries wait, and at the n-th register access `burst` more arrive.  The
 * interrupts that follow must bring all of them.
 */
static void arrive_at(struct log_fixture *d, unsigned n, unsigned burst)
{
	unsigned sent = d->sent;

	d->accesses = d->interrupts = 0;
	d->at = n;
	d->burst = burst;
	send_n(d, 2);
	while (d->interrupts) {
		d->interrupts = 0;
		drain_once(d);
	}
	d->at = NEVER;
	EXPECT_EQ(d->next, d->sent);
	EXPECT_EQ(d->interrupts, 0);
	if (d->sent - sent < 2 + (burst < CAPACITY - 2 ? burst : 0))
		test_fail(__FILE__, __LINE__, "at access %u only %u arrived", n,
			  d->sent - sent);
}

static void in_the_middle(struct log_fixture *d)
{
	unsigned n = accesses_of_a_pass(d);

	EXPECT_EQ(n, 4); /* STATUS twice, tail, head */
	for (unsigned i = 0; i < n; i++) {
		arrive_at(d, i, 1);
		arrive_at(d, i, 7);
	}
	EXPECT_EQ(d->log.restarts, 0);
	expect_all_seen(d);
}

TEST(logs, entry_at_any_moment_of_a_drain,
     "an entry that arrives at any step of a drain is handled without a later "
     "one (C111)")
{
	on_both(in_the_middle);
}

static void overflow_in_the_middle(struct log_fixture *d)
{
	unsigned n = accesses_of_a_pass(d);

	for (unsigned i = 0; i < n; i++) {
		arrive_at(d, i, 2 * SLOTS);
		arrive_at(d, NEVER, 0); /* the log runs */
	}
	EXPECT(d->log.restarts >= n - 1);
	expect_all_seen(d);
}

TEST(logs, overflow_at_any_moment_of_a_drain,
     "a log that overflows at any step of a drain runs again, and its entries "
     "are seen once")
{
	on_both(overflow_in_the_middle);
}

/* ---- registers with false values --------------------------------------- */

static void lying_tail(struct log_fixture *d)
{
	static const uint64_t tails[] = { 0x50, 0x5f, ~UINT64_C(0),
					  GENMASK(18, 4), 1 };

	d->complaints_expected =
		true; /* head passes entries that were not written */
	for (unsigned i = 0; i < ARRAY_SIZE(tails); i++) {
		uint64_t start = clock_ns();

		d->false_tail = tails[i] + 1;
		send_n(d, 2);
		drain_once(d);
		EXPECT(clock_ns() - start < UINT64_C(5000000000));
		d->false_tail = 0;
		drain(d);
		/* Late at worst: no entry is invented, none comes twice. */
		EXPECT(d->next == d->sent);
	}
}

TEST(logs, wrong_tail_invents_no_entry,
     "whatever the tail register reads, missing entries are not handled, "
     "present ones are handled once, and the drain ends")
{
	on_both(lying_tail);
}

static void stuck_bit(struct log_fixture *d)
{
	send_n(d, SLOTS);
	d->stuck = d->log.kind->overflow;
	drain(d);
	expect_all_seen(d);
	EXPECT(d->log.dead);
	EXPECT(log_lost_since(&d->log, log_generation(&d->log)));
	EXPECT(!(reg_read(&d->port, REG_CONTROL) & d->log.kind->log_enable));
	drain(d);
	EXPECT_EQ(d->log.restarts, 0);
}

TEST(logs, overflow_that_stays_ends_the_log,
     "an overflow bit that cannot be cleared switches the log off once")
{
	on_both(stuck_bit);
}

static void run_stays(struct log_fixture *d)
{
	d->stuck = d->log.kind->run;
	for (unsigned i = 1; i < 4; i++) {
		send_n(d, SLOTS);
		d->accesses = 0;
		drain(d);
		EXPECT_EQ(d->log.restarts, i);
		/* It is awaited once, and never again: 16 slots are given
		 * back by one access. */
		EXPECT(i == 1 || d->accesses < CAPACITY / 16 + 20);
	}
	expect_all_seen(d);
}

static void run_falls(struct log_fixture *d)
{
	send_n(d, SLOTS);
	d->stuck = d->log.kind->run;
	EXPECT(drain_once(d));
	EXPECT_EQ(d->log.restarts, 0);
	EXPECT(reg_read(&d->port, REG_CONTROL) & d->log.kind->log_enable);
	d->stuck = 0;
	drain(d);
	EXPECT_EQ(d->log.restarts, 1);
	EXPECT(!d->log.run_stays);
	expect_all_seen(d);
}

TEST(logs, run_bit_that_falls_is_waited_for,
     "a log that overflowed and still runs is restarted only after it has "
     "stopped")
{
	on_both(run_falls);
}

TEST(logs, run_bit_that_stays_is_waited_for_once,
     "a log whose run bit stays set after an overflow is restarted after one "
     "wait, and from then on at once")
{
	on_both(run_stays);
}
