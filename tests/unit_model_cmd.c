/* SPDX-License-Identifier: MIT */
/*
 * unit_model_cmd.c - the strict IOMMU's commands are late, and barriers hold
 */
#include "tests/model_rig.h"

#define DEV     8
#define DOMAIN  7
#define PAGE(n) (RIG_IOVA + (n)*PAGE_SIZE)
#define PAGES   6u

static uint64_t status(struct rig *r)
{
	return reg_read(&r->port, REG_STATUS);
}

/* PAGES pages mapped and cached. */
static void warm(struct rig *r, enum model_mode mode, unsigned delay,
		 uint64_t seed)
{
	struct model_config config = { .mode = mode,
				       .delay = delay,
				       .seed = seed };
	pa_t root;

	rig_open(r, &config);
	root = rig_attach(r, DEV, DOMAIN);
	for (unsigned i = 0; i < PAGES; i++) {
		rig_map(r, root, PAGE(i), rig_data(r), RIG_RW);
		EXPECT(rig_read(r, DEV, PAGE(i)) != NOTHING);
	}
}

static bool cached(struct rig *r, unsigned i)
{
	return model_lookup(r->m, false, DOMAIN, PAGE(i), NULL);
}

static unsigned cached_pages(struct rig *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += cached(r, i);
	return n;
}

static void drop_page(struct rig *r, unsigned i)
{
	rig_send(r,
		 command_invalidate_iommu_pages(
			 DOMAIN, command_range(PAGE(i), PAGE(i + 1)), false));
}

/* ---- late -------------------------------------------------------------- */

TEST(model_cmd, doorbell_only_queues,
     "delayed by 3, a flush has no effect for 3 looks at the status, then has")
{
	uint64_t ticket;
	struct rig r;

	warm(&r, MODEL_DELAYED, 3, 0);
	drop_page(&r, 0);
	ticket = rig_send_wait(&r);
	for (unsigned look = 0; look < 3; look++) {
		EXPECT(cached(&r, 0) && !rig_done(&r, ticket));
		status(&r);
	}
	EXPECT(cached(&r, 0) && !rig_done(&r, ticket));
	status(&r);
	EXPECT(!cached(&r, 0) && rig_done(&r, ticket));
	rig_close(&r);
}

TEST(model_cmd, each_wait_takes_its_own_time,
     "delayed, two flushes with a wait each do not complete together")
{
	uint64_t first, second;
	struct rig r;

	warm(&r, MODEL_DELAYED, 2, 0);
	drop_page(&r, 0);
	first = rig_send_wait(&r);
	drop_page(&r, 1);
	second = rig_send_wait(&r);
	model_step(r.m, 3);
	EXPECT(rig_done(&r, first) && !rig_done(&r, second));
	EXPECT(!cached(&r, 0) && cached(&r, 1));
	model_step(r.m, 3);
	EXPECT(rig_done(&r, second) && !cached(&r, 1));
	rig_close(&r);
}

TEST(model_cmd, fetched_is_not_done,
     "head may reach tail while no command has had its effect yet")
{
	struct rig r;

	warm(&r, MODEL_DELAYED, 5, 0);
	drop_page(&r, 0);
	status(&r);
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), r.tail);
	EXPECT(cached(&r, 0));
	EXPECT(!model_drain(r.m, 2));
	EXPECT(model_drain(r.m, 100));
	EXPECT(!cached(&r, 0));
	rig_close(&r);
}

TEST(model_cmd, stopped_never_completes,
     "a stopped IOMMU lets the ring fill, and takes it up when it goes on")
{
	uint64_t ticket;
	struct rig r;

	warm(&r, MODEL_STOPPED, 0, 0);
	for (unsigned i = 0; i < RIG_SLOTS - 2; i++)
		drop_page(&r, 0);
	ticket = rig_send_wait(&r);
	EXPECT(!model_drain(r.m, 1000));
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), 0);
	EXPECT(!rig_done(&r, ticket) && cached(&r, 0));
	model_set_mode(r.m, MODEL_IMMEDIATE, 0);
	EXPECT(rig_done(&r, ticket) && !cached(&r, 0));
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), r.tail);
	rig_close(&r);
}

TEST(model_cmd, ring_wraps,
     "3000 flushes go round a ring of 256 and each completes")
{
	struct rig r;

	warm(&r, MODEL_SHUFFLED, 0, test_seed());
	for (unsigned i = 0; i < 3000; i++) {
		drop_page(&r, i % PAGES);
		rig_sync(&r);
		EXPECT(!cached(&r, i % PAGES));
		EXPECT(rig_read(&r, DEV, PAGE(i % PAGES)) != NOTHING);
	}
	EXPECT_EQ(rig_stats(&r).commands[COMPLETION_WAIT], 3000);
	rig_close(&r);
}

/* ---- order ------------------------------------------------------------- */

TEST(model_cmd, completion_is_a_barrier,
     "in 200 shuffles the word is stored only after all flushes before it")
{
	unsigned partly = 0;

	for (unsigned seed = 0; seed < 200; seed++) {
		uint64_t ticket;
		struct rig r;

		warm(&r, MODEL_SHUFFLED, 0, test_seed() + seed);
		for (unsigned i = 0; i < PAGES; i++)
			drop_page(&r, i);
		ticket = rig_send_wait(&r);
		for (unsigned n = 0; n < 100 && !rig_done(&r, ticket); n++) {
			partly += cached_pages(&r) % PAGES != 0;
			status(&r);
		}
		EXPECT(rig_done(&r, ticket));
		EXPECT_EQ(cached_pages(&r), 0);
		rig_close(&r);
	}
	EXPECT_EQ(partly, 200 * (PAGES - 1));
}

/* The order in which the pages of one shuffle go: a digit each. */
static uint64_t order_of(uint64_t seed)
{
	uint64_t order = 0;
	struct rig r;

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
	rig_close(&r);
	return order;
}

TEST(model_cmd, shuffle_reorders_and_replays,
     "between waits flushes happen in any order, the same for the same seed")
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

/* Send DTE, pages, DTE, pages; note what is done after each step. */
static void step_dependent(struct rig *r)
{
	for (unsigned i = 0; i < 2; i++) {
		rig_send(r, command_invalidate_devtab_entry(DEV));
		drop_page(r, i);
		rig_send(r, command_invalidate_iotlb_pages(
				    DEV, 0, 0,
				    command_range(PAGE(i), PAGE(i + 1))));
	}
	while (!model_drain(r->m, 1)) {
		struct model_stats s = rig_stats(r);
		uint64_t dtes = s.commands[INVALIDATE_DEVTAB_ENTRY];
		uint64_t pages = s.commands[INVALIDATE_IOMMU_PAGES];

		EXPECT(pages <= dtes);
		EXPECT(s.commands[INVALIDATE_IOTLB_PAGES] <= pages);
	}
}

TEST(model_cmd, shuffle_keeps_what_the_manual_orders,
     "pages wait for older DTE flushes, device TLBs for older flushes of pages")
{
	uint64_t early = 0;

	for (unsigned seed = 0; seed < 100; seed++) {
		struct rig r;

		warm(&r, MODEL_SHUFFLED, 0, test_seed() + seed);
		model_set_ats(r.m, DEV, MODEL_ATS_ON);
		step_dependent(&r);
		early += rig_stats(&r).early;
		EXPECT_EQ(rig_stats(&r).commands[INVALIDATE_IOTLB_PAGES], 2);
		rig_close(&r);
	}
	EXPECT(early > 50);
}

/* Does a flush sent after a wait ever happen before the wait is done? */
static bool overtakes(bool f)
{
	bool overtaken = false;

	for (unsigned seed = 0; seed < 50; seed++) {
		struct command wait;
		struct rig r;

		warm(&r, MODEL_SHUFFLED, 0, test_seed() + seed);
		wait = command_completion_wait(r.word, 1);
		wait.w[0] |= f ? CMD0_F : 0;
		drop_page(&r, 0);
		rig_send(&r, wait);
		drop_page(&r, 1);
		while (!model_drain(r.m, 1))
			overtaken |= !cached(&r, 1) && !rig_done(&r, 1);
		EXPECT(rig_done(&r, 1) && !cached(&r, 1));
		rig_close(&r);
	}
	return overtaken;
}

TEST(model_cmd, only_f_holds_back_what_follows,
     "a flush may overtake the wait before it, unless that has its F bit set")
{
	EXPECT(overtakes(false));
	EXPECT(!overtakes(true));
}

TEST(model_cmd, completion_may_interrupt,
     "I sets ComWaitInt and interrupts once, until software clears the bit")
{
	struct command wait;
	struct rig r;

	warm(&r, MODEL_IMMEDIATE, 0, 0);
	wait = command_completion_wait(r.word, 1);
	wait.w[0] |= CMD0_I;
	rig_send(&r, wait);
	EXPECT_EQ(r.interrupts, STATUS_COMWAIT_INT);
	EXPECT_EQ(status(&r) & STATUS_COMWAIT_INT, STATUS_COMWAIT_INT);
	rig_send(&r, wait);
	EXPECT_EQ(r.interrupt_count, 1);
	reg_write(&r.port, REG_STATUS, STATUS_COMWAIT_INT);
	EXPECT_EQ(status(&r) & STATUS_COMWAIT_INT, 0);
	rig_send(&r, wait);
	EXPECT_EQ(r.interrupt_count, 2);
	rig_close(&r);
}

/* ---- a device that does not answer ------------------------------------- */

static void to_mute_device(struct rig *r, uint64_t timeout)
{
	warm(r, MODEL_DELAYED, 0, 0);
	model_set_ats(r->m, DEV, MODEL_ATS_MUTE);
	rig_control(r, RIG_ON | FIELD_PREP(CONTROL_INV_TIMEOUT, timeout));
	rig_send(r, command_invalidate_iotlb_pages(DEV, 0, 0, RANGE_ALL));
}

TEST(model_cmd, mute_device_holds_the_ring,
     "without InvTimeout a device that does not answer stops completion for "
     "good")
{
	uint64_t ticket;
	struct rig r;

	to_mute_device(&r, 0);
	ticket = rig_send_wait(&r);
	EXPECT(!model_drain(r.m, 10000));
	EXPECT(!rig_done(&r, ticket));
	EXPECT_EQ(rig_events(&r), 0);
	rig_close(&r);
}

TEST(model_cmd, mute_device_times_out,
     "with InvTimeout set the wait completes, after an event names the command")
{
	struct log_entry e;
	struct rig r;

	to_mute_device(&r, 1);
	rig_sync(&r);
	e = rig_event(&r);
	EXPECT_EQ(e.w[0], FIELD_PREP(LOG0_TYPE, IOTLB_INV_TIMEOUT) | DEV);
	EXPECT_EQ(e.w[1], r.commands);
	rig_close(&r);
}
