/* SPDX-License-Identifier: MIT */
/*
 * unit_logs.c - event log and page request log, entry by entry
 *
 * Every test runs on both kinds of log.  Entries are numbered; the handler must
 * see every number that the model has logged, once and in order.  The port to
 * the registers is tapped: something can happen at any access, and a register
 * can lie.
 */
#include "iommu/logs.h"
#include "arch/clock.h"
#include "iommu/dte.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/model.h"
#include "tests/test.h"

#define SLOTS    256u
#define CAPACITY (SLOTS - 1)
#define DEV      8
#define NEVER    (~0u)

static struct desk {
	struct model *m;
	struct iommu_port port;
	struct iommu_log log;
	struct page *devices;
	bool events, complaints_expected;
	unsigned sent;   /* numbers that the model has logged             */
	unsigned next;   /* number that the handler waits for             */
	unsigned refill; /* entries that arrive while one is handled      */
	unsigned accesses, at, burst; /* at access `at` come `burst` more */
	unsigned interrupts;
	uint64_t lie;   /* what the tail register says, plus 1; 0: the truth */
	uint64_t stuck; /* bits of STATUS that stay set                    */
} desk;

static bool send(struct desk *d)
{
	struct model_ppr ppr = {
		.devid = DEV,
		.read = true,
		.iova = d->sent * PAGE_SIZE,
	};
	struct model_stats before, after;

	if (!d->events) {
		if (!model_page_request(d->m, &ppr))
			return false;
	} else {
		model_stats(d->m, &before);
		model_log_event(d->m, FIELD_PREP(LOG0_TYPE, IO_PAGE_FAULT),
				d->sent * PAGE_SIZE);
		model_stats(d->m, &after);
		if (after.events_lost != before.events_lost)
			return false;
	}
	d->sent++;
	return true;
}

static void send_n(struct desk *d, unsigned n)
{
	while (n-- && send(d))
		;
}

static void handle(const struct log_entry *entry, void *arg)
{
	struct desk *d = arg;
	unsigned n = d->refill;

	EXPECT_EQ(FIELD_GET(LOG0_TYPE, entry->w[0]),
		  d->events ? IO_PAGE_FAULT : PPR_FAULT);
	EXPECT_EQ(entry->w[1], d->next * PAGE_SIZE);
	d->next++;
	d->refill = 0;
	send_n(d, n);
}

static void tap(struct desk *d)
{
	if (d->accesses++ == d->at)
		send_n(d, d->burst);
}

static uint64_t tapped_read(void *ctx, unsigned reg)
{
	struct iommu_port real = model_port(desk.m);

	tap(&desk);
	if (desk.lie && reg == desk.log.kind->tail)
		return desk.lie - 1;
	return reg_read(&real, reg) | (reg == REG_STATUS ? desk.stuck : 0);
}

static void tapped_write(void *ctx, unsigned reg, uint64_t value)
{
	struct iommu_port real = model_port(desk.m);

	tap(&desk);
	reg_write(&real, reg, value);
}

static void interrupted(void *ctx, uint64_t status_bit)
{
	desk.interrupts++;
}

/* The device may send page requests. */
static void device_table(struct desk *d)
{
	struct dte *dte;

	d->devices = page_alloc_zeroed();
	REQUIRE(d->devices);
	dte = page_va(d->devices);
	dte[DEV] = dte_deny(page_pa(d->devices));
	dte[DEV].w[0] |= DTE0_PPR;
	reg_write(&d->port, REG_DEV_TABLE_BASE, page_pa(d->devices));
}

static struct desk *desk_open(bool events)
{
	struct desk *d = &desk;

	*d = (struct desk){ .events = events, .at = NEVER };
	d->m = model_create(&(struct model_config){ .name = "desk",
						    .interrupt = interrupted });
	REQUIRE(d->m);
	d->port = (struct iommu_port){ .name = "desk",
				       .read = tapped_read,
				       .write = tapped_write,
				       .ctx = d };
	device_table(d);
	REQUIRE(!log_start(&d->log, events ? &log_events : &log_requests,
			   &d->port, LOG_MIN_BITS, handle, d));
	reg_write(&d->port, REG_CONTROL,
		  CONTROL_IOMMU_EN | CONTROL_PPR_EN | d->log.kind->log_enable |
			  d->log.kind->interrupt_enable);
	return d;
}

static void desk_close(struct desk *d)
{
	if (!d->complaints_expected)
		EXPECT_STR_NULL(model_complaint(d->m));
	reg_write(&d->port, REG_CONTROL, 0);
	log_stop(&d->log);
	model_destroy(d->m);
	page_put(d->devices);
}

/* What the driver's worker does: look again until there was nothing. */
static void drain(struct desk *d)
{
	unsigned passes = 0;

	while (log_drain(&d->log) && passes++ < 100)
		;
	EXPECT(passes < 100);
}

static void expect_all_seen(struct desk *d)
{
	EXPECT_EQ(d->next, d->sent);
	EXPECT_EQ(d->log.entries, d->sent);
	EXPECT_EQ(d->log.lost, 0);
	for (unsigned i = 0; i < SLOTS; i++)
		EXPECT(!d->log.ring[i].w[0] && !d->log.ring[i].w[1]);
}

static void on_both(void (*fn)(struct desk *d))
{
	for (unsigned events = 0; events < 2; events++) {
		struct desk *d = desk_open(events);

		fn(d);
		desk_close(d);
	}
}

/* ---- wrap, overflow ---------------------------------------------------- */

static void wrap(struct desk *d)
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

TEST(logs, wrap_keeps_order_and_number,
     "over ten rounds each entry is handed over once, in order, and its slot "
     "is zero again")
{
	on_both(wrap);
}

static void overflow(struct desk *d)
{
	for (unsigned i = 1; i < 4; i++) {
		unsigned era = log_era(&d->log);

		EXPECT(!log_lost_since(&d->log, era));
		send_n(d, SLOTS + 50);
		EXPECT_EQ(d->sent, d->next + CAPACITY);
		EXPECT(log_lost_since(&d->log, era));
		drain(d);
		EXPECT_EQ(d->log.restarts, i);
		EXPECT(log_lost_since(&d->log, era));
		/* It runs, and its interrupt comes. */
		d->interrupts = 0;
		send_n(d, 1);
		EXPECT_EQ(d->interrupts, 1);
		drain(d);
	}
	EXPECT_EQ(d->sent, 3 * (CAPACITY + 1));
	expect_all_seen(d);
}

TEST(logs, overflow_restarts_the_log,
     "a log that overflowed is emptied and runs again, interrupt and all "
     "(C110)")
{
	on_both(overflow);
}

static void slow_handler(struct desk *d)
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
     "an entry that arrives while one is handled finds that one's slot")
{
	on_both(slow_handler);
}

/* ---- entries that come late -------------------------------------------- */

static void late(struct desk *d)
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
     "an entry that appears after its tail is neither skipped nor read before "
     "it is there, nor taken for the one that was in its slot (C109)")
{
	on_both(late);
}

static void never(struct desk *d)
{
	uint64_t start;

	model_set_log_delay(d->m, 1u << 30);
	send_n(d, 3);
	start = clock_ns();
	drain(d);
	EXPECT(clock_ns() - start < 1000000000);
	EXPECT_EQ(d->log.lost, 3);
	EXPECT_EQ(d->next, 0);
	d->next = d->sent;
	/* Those behind it are still seen. */
	model_set_log_delay(d->m, 0);
	memset(d->log.ring, 0, SLOTS * sizeof(*d->log.ring));
	send_n(d, 3);
	drain(d);
	EXPECT_EQ(d->log.entries, 3);
	EXPECT_EQ(d->next, d->sent);
}

TEST(logs, entry_that_never_comes_is_given_up,
     "an entry that is counted and not written is waited for in a bounded time "
     "and handed to nobody")
{
	on_both(never);
}

/* ---- what happens in the middle ---------------------------------------- */

/* How many accesses to registers one pass over two entries takes. */
static unsigned accesses_of_a_pass(struct desk *d)
{
	send_n(d, 2);
	d->accesses = 0;
	EXPECT_EQ(log_drain(&d->log), 2);
	return d->accesses;
}

/*
 * Two entries wait, and at the n-th access to a register `burst` more arrive:
 * the interrupts that come, and nothing else, must bring all of them.
 */
static void arrive_at(struct desk *d, unsigned n, unsigned burst)
{
	unsigned sent = d->sent;

	d->accesses = d->interrupts = 0;
	d->at = n;
	d->burst = burst;
	send_n(d, 2);
	while (d->interrupts) {
		d->interrupts = 0;
		log_drain(&d->log);
	}
	d->at = NEVER;
	EXPECT_EQ(d->next, d->sent);
	EXPECT_EQ(d->interrupts, 0);
	if (d->sent - sent < 2 + (burst < CAPACITY - 2 ? burst : 0))
		test_fail(__FILE__, __LINE__, "at access %u only %u came", n,
			  d->sent - sent);
}

static void in_the_middle(struct desk *d)
{
	unsigned n = accesses_of_a_pass(d);

	EXPECT(n > 5);
	for (unsigned i = 0; i < n; i++) {
		arrive_at(d, i, 1);
		arrive_at(d, i, 7);
	}
	EXPECT_EQ(d->log.restarts, 0);
	expect_all_seen(d);
}

TEST(logs, entry_at_any_moment_of_a_drain,
     "an entry that arrives at any step of a drain is handled, without another "
     "having to come (C111)")
{
	on_both(in_the_middle);
}

static void overflow_in_the_middle(struct desk *d)
{
	unsigned n = accesses_of_a_pass(d);

	for (unsigned i = 0; i < n; i++) {
		arrive_at(d, i, 2 * SLOTS);
		arrive_at(d, NEVER, 0); /* it runs */
	}
	EXPECT(d->log.restarts >= n - 1);
	expect_all_seen(d);
}

TEST(logs, overflow_at_any_moment_of_a_drain,
     "a log that overflows at any step of a drain runs again, and what it had "
     "logged is seen once")
{
	on_both(overflow_in_the_middle);
}

/* ---- registers that lie ------------------------------------------------ */

static void lying_tail(struct desk *d)
{
	static const uint64_t lies[] = { 0x50, 0x5f, ~UINT64_C(0),
					 GENMASK(18, 4), 1 };

	d->complaints_expected = true; /* head moves where nothing is */
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		uint64_t start = clock_ns();

		d->lie = lies[i] + 1;
		send_n(d, 2);
		log_drain(&d->log);
		EXPECT(clock_ns() - start < UINT64_C(5000000000));
		d->lie = 0;
		drain(d);
		/* Late at worst: nothing is invented, nothing comes twice. */
		EXPECT(d->next == d->sent);
	}
}

TEST(logs, tail_that_lies_invents_no_entry,
     "whatever the tail register says, entries that are not there are not "
     "handled, those that are come once, and the drain ends")
{
	on_both(lying_tail);
}

static void stuck_bit(struct desk *d)
{
	send_n(d, SLOTS);
	d->stuck = d->log.kind->overflow;
	drain(d);
	expect_all_seen(d);
	EXPECT(d->log.dead);
	EXPECT(log_lost_since(&d->log, log_era(&d->log)));
	EXPECT(!(reg_read(&d->port, REG_CONTROL) & d->log.kind->log_enable));
	drain(d);
	EXPECT_EQ(d->log.restarts, 0);
}

TEST(logs, overflow_that_stays_ends_the_log,
     "an overflow bit that cannot be cleared switches the log off, once")
{
	on_both(stuck_bit);
}
