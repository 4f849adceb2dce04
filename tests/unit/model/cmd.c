/* SPDX-License-Identifier: MIT */
/*
 * cmd.c - the strict IOMMU's commands are late, and its barriers hold
 */
#include "tests/fixture/iommu/model_fixture.h"

#define DEV     8
#define DOMAIN  7
#define PAGE(n) (BARE_IOVA + PAGE_SIZE * (n))
#define PAGES   6u

static uint64_t status(struct bare_model *r)
{
	return reg_read(&r->port, REG_STATUS);
}

/* Map PAGES pages and cache them. */
static void warm(struct bare_model *r, enum model_mode mode, unsigned delay,
		 uint64_t seed)
{
	struct model_config config = { .mode = mode,
				       .delay = delay,
				       .seed = seed };
	pa_t root;

	bare_open(r, &config);
	root = bare_attach(r, DEV, DOMAIN);
	for (unsigned i = 0; i < PAGES; i++) {
		bare_map(r, root, PAGE(i), bare_data(r), BARE_RW);
		EXPECT(bare_read(r, DEV, PAGE(i)) != NOTHING);
	}
}

static bool cached(struct bare_model *r, unsigned i)
{
	return model_lookup(r->m, false, DOMAIN, PAGE(i), NULL);
}

static unsigned cached_pages(struct bare_model *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += cached(r, i);
	return n;
}

static void drop_page(struct bare_model *r, unsigned i)
{
	bare_send(r,
		  command_invalidate_iommu_pages(
			  DOMAIN, command_range(PAGE(i), PAGE(i + 1)), false));
}

/* ---- late -------------------------------------------------------------- */

TEST(model_cmd, doorbell_only_queues,
     "a flush delayed by 3 steps takes effect after 3 reads of the status")
{
	uint64_t ticket;
	struct bare_model r;

	warm(&r, MODEL_DELAYED, 3, 0);
	drop_page(&r, 0);
	ticket = bare_send_wait(&r);
	for (unsigned look = 0; look < 3; look++) {
		EXPECT(cached(&r, 0) && !bare_done(&r, ticket));
		status(&r);
	}
	EXPECT(cached(&r, 0) && !bare_done(&r, ticket));
	status(&r);
	EXPECT(!cached(&r, 0) && bare_done(&r, ticket));
	bare_close(&r);
}

TEST(model_cmd, each_wait_takes_its_own_time,
     "two delayed flushes with a wait each do not complete together")
{
	uint64_t first, second;
	struct bare_model r;

	warm(&r, MODEL_DELAYED, 2, 0);
	drop_page(&r, 0);
	first = bare_send_wait(&r);
	drop_page(&r, 1);
	second = bare_send_wait(&r);
	model_step(r.m, 3);
	EXPECT(bare_done(&r, first) && !bare_done(&r, second));
	EXPECT(!cached(&r, 0) && cached(&r, 1));
	model_step(r.m, 3);
	EXPECT(bare_done(&r, second) && !cached(&r, 1));
	bare_close(&r);
}

TEST(model_cmd, fetched_is_not_done,
     "head may reach tail before any command has taken effect")
{
	struct bare_model r;

	warm(&r, MODEL_DELAYED, 5, 0);
	drop_page(&r, 0);
	status(&r);
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), r.tail);
	EXPECT(cached(&r, 0));
	EXPECT(!model_drain(r.m, 2));
	EXPECT(model_drain(r.m, 100));
	EXPECT(!cached(&r, 0));
	bare_close(&r);
}

TEST(model_cmd, stopped_never_completes,
     "a stopped IOMMU lets the ring fill and empties it when it runs again")
{
	uint64_t ticket;
	struct bare_model r;

	warm(&r, MODEL_STOPPED, 0, 0);
	for (unsigned i = 0; i < BARE_SLOTS - 2; i++)
		drop_page(&r, 0);
	ticket = bare_send_wait(&r);
	EXPECT(!model_drain(r.m, 1000));
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), 0);
	EXPECT(!bare_done(&r, ticket) && cached(&r, 0));
	model_set_mode(r.m, MODEL_IMMEDIATE, 0);
	EXPECT(bare_done(&r, ticket) && !cached(&r, 0));
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), r.tail);
	bare_close(&r);
}

TEST(model_cmd, ring_wraps,
     "each of 3000 flushes through a ring of 256 completes")
{
	struct bare_model r;

	warm(&r, MODEL_SHUFFLED, 0, test_seed());
	for (unsigned i = 0; i < 3000; i++) {
		drop_page(&r, i % PAGES);
		bare_sync(&r);
		EXPECT(!cached(&r, i % PAGES));
		EXPECT(bare_read(&r, DEV, PAGE(i % PAGES)) != NOTHING);
	}
	EXPECT_EQ(bare_stats(&r).commands[COMPLETION_WAIT], 3000);
	bare_close(&r);
}

/* ---- order ------------------------------------------------------------- */

TEST(model_cmd, completion_is_a_barrier,
     "in 200 shuffles the word is stored only after all flushes before it")
{
	unsigned partly = 0;

	for (unsigned seed = 0; seed < 200; seed++) {
		uint64_t ticket;
		struct bare_model r;

		warm(&r, MODEL_SHUFFLED, 0, test_seed() + seed);
		for (unsigned i = 0; i < PAGES; i++)
			drop_page(&r, i);
		ticket = bare_send_wait(&r);
		for (unsigned n = 0; n < 100 && !bare_done(&r, ticket); n++) {
			partly += cached_pages(&r) % PAGES != 0;
			status(&r);
		}
		EXPECT(bare_done(&r, ticket));
		EXPECT_EQ(cached_pages(&r), 0);
		bare_close(&r);
	}
	EXPECT_EQ(partly, 200 * (PAGES - 1));
}

/* Return the order in which one shuffle drops the pages, a digit each. */
static uint64_t order_of(uint64_t seed)
{
	uint64_t order = 0;
	struct bare_model r;

	warm(&r, MODEL_SHUFFLED, 0, seed);
	for (unsigned i = 0; i < PAGES; i++)
		drop_page(&r, i);
	while (cached_pages(&r)) {
		bool before[PAGES];

		for (unsigned i = 0; i < PAGES; i++)
			before[i] = cached(&r, i);
		model_step(r.m, 1);
		for (unsigned i = 0; i < PAGES; i++)
			if (before[i] && !cached(&r, i))
				order = order * 10 + i + 1;
	}
	bare_close(&r);
	return order;
}

TEST(model_cmd, shuffle_reorders_and_replays,
     "flushes between waits are done in any order, the same one for a seed")
{
	unsigned sorted = 0, different = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		uint64_t order = order_of(seed);

		EXPECT_EQ(order, order_of(seed));
		sorted += order == 123456;
		different += order != order_of(seed + 1);
	}
	EXPECT(sorted < 4 && different > 30);
}

/* Send DTE, pages, DTE, pages; record what is done after each step. */
static void step_dependent(struct bare_model *r)
{
	for (unsigned i = 0; i < 2; i++) {
		bare_send(r, command_invalidate_devtab_entry(DEV));
		drop_page(r, i);
		bare_send(r, command_invalidate_iotlb_pages(
				     DEV, 0, 0,
				     command_range(PAGE(i), PAGE(i + 1))));
	}
	while (!model_drain(r->m, 1)) {
		struct model_stats s = bare_stats(r);
		uint64_t dtes = s.commands[INVALIDATE_DEVTAB_ENTRY];
		uint64_t pages = s.commands[INVALIDATE_IOMMU_PAGES];

		EXPECT(pages <= dtes);
		EXPECT(s.commands[INVALIDATE_IOTLB_PAGES] <= pages);
	}
}

TEST(model_cmd, shuffle_keeps_what_the_manual_orders,
     "pages wait for older DTE flushes, device TLBs for older page flushes")
{
	uint64_t early = 0;

	for (unsigned seed = 0; seed < 100; seed++) {
		struct bare_model r;

		warm(&r, MODEL_SHUFFLED, 0, test_seed() + seed);
		model_set_ats(r.m, DEV, MODEL_ATS_ON);
		step_dependent(&r);
		early += bare_stats(&r).early;
		EXPECT_EQ(bare_stats(&r).commands[INVALIDATE_IOTLB_PAGES], 2);
		bare_close(&r);
	}
	EXPECT(early > 50);
}

/* Is a flush sent after a wait ever done before the wait? */
static bool overtakes(bool f)
{
	bool overtaken = false;

	for (unsigned seed = 0; seed < 50; seed++) {
		struct command wait;
		struct bare_model r;

		warm(&r, MODEL_SHUFFLED, 0, test_seed() + seed);
		wait = command_completion_wait(r.word, 1);
		wait.w[0] |= f ? CMD0_F : 0;
		drop_page(&r, 0);
		bare_send(&r, wait);
		drop_page(&r, 1);
		while (!model_drain(r.m, 1))
			overtaken |= !cached(&r, 1) && !bare_done(&r, 1);
		EXPECT(bare_done(&r, 1) && !cached(&r, 1));
		bare_close(&r);
	}
	return overtaken;
}

TEST(model_cmd, only_f_holds_back_what_follows,
     "a flush may overtake the wait before it unless the wait's F bit is set")
{
	EXPECT(overtakes(false));
	EXPECT(!overtakes(true));
}

TEST(model_cmd, completion_may_interrupt,
     "a wait with I sets ComWaitInt and interrupts once until it is cleared")
{
	struct command wait;
	struct bare_model r;

	warm(&r, MODEL_IMMEDIATE, 0, 0);
	wait = command_completion_wait(r.word, 1);
	wait.w[0] |= CMD0_I;
	bare_send(&r, wait);
	EXPECT_EQ(r.interrupts, STATUS_COMWAIT_INT);
	EXPECT_EQ(status(&r) & STATUS_COMWAIT_INT, STATUS_COMWAIT_INT);
	bare_send(&r, wait);
	EXPECT_EQ(r.interrupt_count, 1);
	reg_write(&r.port, REG_STATUS, STATUS_COMWAIT_INT);
	EXPECT_EQ(status(&r) & STATUS_COMWAIT_INT, 0);
	bare_send(&r, wait);
	EXPECT_EQ(r.interrupt_count, 2);
	bare_close(&r);
}

/* ---- a device that does not answer ------------------------------------- */

static void to_unresponsive_device(struct bare_model *r, uint64_t timeout)
{
	warm(r, MODEL_DELAYED, 0, 0);
	model_set_ats(r->m, DEV, MODEL_ATS_UNRESPONSIVE);
	bare_control(r, BARE_ON | FIELD_PREP(CONTROL_INV_TIMEOUT, timeout));
	bare_send(r, command_invalidate_iotlb_pages(DEV, 0, 0, RANGE_ALL));
}

TEST(model_cmd, unresponsive_device_holds_the_ring,
     "without InvTimeout a device that does not answer blocks completion "
     "forever")
{
	uint64_t ticket;
	struct bare_model r;

	to_unresponsive_device(&r, 0);
	ticket = bare_send_wait(&r);
	EXPECT(!model_drain(r.m, 10000));
	EXPECT(!bare_done(&r, ticket));
	EXPECT_EQ(bare_events(&r), 0);
	bare_close(&r);
}

TEST(model_cmd, unresponsive_device_times_out,
     "with InvTimeout the wait completes after an event that names the command")
{
	struct log_entry e;
	struct bare_model r;

	to_unresponsive_device(&r, 1);
	bare_sync(&r);
	e = bare_event(&r);
	EXPECT_EQ(e.w[0], FIELD_PREP(LOG0_TYPE, IOTLB_INV_TIMEOUT) | DEV);
	EXPECT_EQ(e.w[1], r.commands);
	bare_close(&r);
}
