/* SPDX-License-Identifier: MIT */
/*
 * regs.c - the strict IOMMU's registers accept only legal values
 */
#include "tests/fixture/iommu/model_fixture.h"

#define RUNNING (STATUS_EVENT_RUN | STATUS_CMD_RUN | STATUS_PPR_RUN)

static const unsigned bases[] = { REG_CMD_BASE, REG_EVENT_BASE, REG_PPR_BASE };
static const unsigned heads[] = { REG_CMD_HEAD, REG_EVENT_HEAD, REG_PPR_HEAD };
static const unsigned tails[] = { REG_CMD_TAIL, REG_EVENT_TAIL, REG_PPR_TAIL };

/* Write a register; returns whether the model complained. */
static bool refused(struct bare_model *r, unsigned reg, uint64_t value)
{
	reg_write(&r->port, reg, value);
	return model_complaint(r->m) != NULL;
}

static uint64_t get(struct bare_model *r, unsigned reg)
{
	return reg_read(&r->port, reg);
}

TEST(model_regs, status_is_cleared_by_ones,
     "a 1 clears an event bit, a 0 keeps it, and run bits cannot be written")
{
	uint64_t first = STATUS_EVENT_INT;
	struct bare_model r;

	bare_open(&r, NULL);
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING);
	model_log_event(r.m, BIT(60), 0);
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING | first);
	reg_write(&r.port, REG_STATUS, ~first);
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING | first);
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING);
	bare_control(&r, 0);
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	EXPECT_EQ(get(&r, REG_STATUS), 0);
	bare_close(&r);
}

TEST(model_regs, bases_change_only_while_off,
     "a base is refused while its ring runs and accepted while it is off")
{
	struct bare_model r;

	bare_open(&r, NULL);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t was = get(&r, bases[i]);

		EXPECT(refused(&r, bases[i], was + PAGE_SIZE));
		EXPECT_EQ(get(&r, bases[i]), was);
	}
	EXPECT(refused(&r, REG_DEV_TABLE_BASE, 0));
	EXPECT_EQ(get(&r, REG_DEV_TABLE_BASE), r.device_table);
	bare_control(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t value = get(&r, bases[i]) + PAGE_SIZE;

		EXPECT(!refused(&r, bases[i], value));
		EXPECT_EQ(get(&r, bases[i]), value);
	}
	EXPECT(!refused(&r, REG_DEV_TABLE_BASE, PAGE_SIZE | 1));
	EXPECT_EQ(get(&r, REG_DEV_TABLE_BASE), PAGE_SIZE | 1);
	bare_close(&r);
}

TEST(model_regs, ring_lengths_are_8_to_15,
     "a base with a length below 256 entries or reserved bits is refused")
{
	struct bare_model r;

	bare_open(&r, NULL);
	bare_control(&r, 0);
	for (unsigned len = 0; len < 16; len++)
		EXPECT_EQ(refused(&r, REG_CMD_BASE,
				  r.commands | FIELD_PREP(RING_LENGTH, len)),
			  len < 8);
	EXPECT(refused(&r, REG_CMD_BASE, r.commands | BIT(63) | BIT(59)));
	EXPECT(refused(&r, REG_CMD_BASE, r.commands | BIT(4) | BIT(59)));
	bare_close(&r);
}

TEST(model_regs, pointers_stay_in_the_ring,
     "a pointer at or past the ring's end, or not a multiple of 16, is refused")
{
	struct bare_model r;

	bare_open(&r, NULL);
	EXPECT(refused(&r, REG_CMD_TAIL, BARE_SLOTS * 16));
	EXPECT(refused(&r, REG_CMD_TAIL, 8));
	EXPECT(refused(&r, REG_CMD_TAIL, BIT(19)));
	EXPECT_EQ(get(&r, REG_CMD_TAIL), 0);
	bare_control(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(refused(&r, heads[i], BARE_SLOTS * 16));
		EXPECT(refused(&r, tails[i], ~UINT64_C(0)));
		EXPECT(!refused(&r, heads[i], BARE_SLOTS * 16 - 16));
		EXPECT_EQ(get(&r, heads[i]), BARE_SLOTS * 16 - 16);
	}
	bare_close(&r);
}

TEST(model_regs, hardware_owns_its_pointers_while_it_runs,
     "command head and log tails are read-only while running; a head may not "
     "skip")
{
	struct bare_model r;

	bare_open(&r, NULL);
	EXPECT(refused(&r, REG_CMD_HEAD, 0));
	EXPECT(refused(&r, REG_EVENT_TAIL, 16));
	EXPECT(refused(&r, REG_PPR_TAIL, 16));
	model_log_event(r.m, BIT(60), 0);
	EXPECT(refused(&r, REG_EVENT_HEAD, 32));
	EXPECT_EQ(get(&r, REG_EVENT_HEAD), 0);
	EXPECT(!refused(&r, REG_EVENT_HEAD, 16));
	EXPECT(refused(&r, REG_EVENT_HEAD, 0));
	EXPECT_EQ(get(&r, REG_EVENT_HEAD), 16);
	bare_close(&r);
}

TEST(model_regs, features_are_read_only,
     "EFR is read-only, and unknown registers and CONTROL bits are complaints")
{
	struct bare_model r;

	bare_open(&r, NULL);
	EXPECT_EQ(get(&r, REG_EFR), MODEL_EFR);
	EXPECT(refused(&r, REG_EFR, 0));
	EXPECT_EQ(get(&r, REG_EFR), MODEL_EFR);
	EXPECT_EQ(get(&r, 0x2038 + 8), 0);
	EXPECT(model_complaint(r.m));
	EXPECT(refused(&r, 0x40, 1));
	EXPECT(refused(&r, REG_CONTROL, BARE_ON | BIT(16)));
	EXPECT_EQ(get(&r, REG_CONTROL), BARE_ON);
	bare_close(&r);
}

TEST(model_regs, exclusion_changes_only_while_off,
     "the exclusion range is writable while off; reserved bits, and a write "
     "while on, are complaints without effect")
{
	struct bare_model r;

	bare_open(&r, NULL);
	EXPECT(refused(&r, REG_EXCL_BASE, 0x1000 | EXCL_EN));
	EXPECT(refused(&r, REG_EXCL_LIMIT, 0x1000));
	bare_control(&r, 0);
	EXPECT(refused(&r, REG_EXCL_BASE, 0x1004));
	EXPECT(refused(&r, REG_EXCL_LIMIT, 0x1001));
	EXPECT_EQ(get(&r, REG_EXCL_BASE) | get(&r, REG_EXCL_LIMIT), 0);
	EXPECT(!refused(&r, REG_EXCL_BASE, 0x1000 | EXCL_EN | EXCL_ALLOW));
	EXPECT(!refused(&r, REG_EXCL_LIMIT, 0x2000));
	EXPECT_EQ(get(&r, REG_EXCL_BASE), 0x1003);
	EXPECT_EQ(get(&r, REG_EXCL_LIMIT), 0x2000);
	bare_close(&r);
}

TEST(model_regs, two_models_keep_their_own_state,
     "a doorbell, an event and a flush of one model do not change the other")
{
	struct bare_model one, two;

	bare_open(&one, NULL);
	bare_open(&two, NULL);
	bare_sync(&one);
	model_log_event(one.m, BIT(60), 0);
	EXPECT_EQ(get(&two, REG_CMD_HEAD), 0);
	EXPECT_EQ(bare_events(&two), 0);
	EXPECT_EQ(bare_stats(&two).fetched, 0);
	EXPECT_EQ(two.interrupt_count, 0);
	bare_close(&one);
	bare_sync(&two);
	bare_close(&two);
}

TEST(model_regs, dump_changes_nothing,
     "printing a model makes no step and loses no state")
{
	uint64_t ticket;
	struct bare_model r;

	bare_open(&r,
		  &(struct model_config){ .mode = MODEL_DELAYED, .delay = 1 });
	ticket = bare_send_wait(&r);
	model_step(r.m, 1);
	model_dump(r.m);
	EXPECT_EQ(bare_stats(&r).steps, 1);
	EXPECT(!bare_done(&r, ticket));
	model_step(r.m, 1);
	EXPECT(bare_done(&r, ticket));
	bare_close(&r);
}

/* ---- rubbish ----------------------------------------------------------- */

static struct command *ring_slot(struct bare_model *r, uint64_t n)
{
	return (struct command *)phys_to_virt(r->commands) + n;
}

/* Mostly legal commands; none that stores, for that would damage memory. */
static struct command some_command(struct rng *rng)
{
	uint64_t n = rng_next(rng), start = n & PAGE_MASK;
	struct command c = { { n & rng_next(rng), rng_next(rng) } };

	switch (rng_below(rng, 16)) {
	case 0:
		if (c.w[0] >> 60 == COMPLETION_WAIT)
			c.w[0] &= ~CMD0_S;
		return c;
	case 1:
		return command_invalidate_iommu_all();
	case 2:
		return (struct command){ { BIT(60) | (n & CMD0_F), 0 } };
	case 3:
		return command_complete_ppr_request(8, PPR_NO_PASID, n & 0xff,
						    PPR_SUCCESS);
	default:
		return command_invalidate_iommu_pages(
			n & 3, command_range(start, start + PAGE_SIZE), n & 4);
	}
}

TEST(model_regs, random_writes_do_no_harm,
     "after 50000 random writes to CONTROL, pointers and the ring the IOMMU "
     "works")
{
	static const unsigned regs[] = { REG_CONTROL,    REG_CMD_HEAD,
					 REG_CMD_TAIL,   REG_EVENT_HEAD,
					 REG_EVENT_TAIL, REG_STATUS,
					 REG_PPR_HEAD,   REG_PPR_TAIL };
	const struct model_config config = { .mode = MODEL_SHUFFLED,
					     .seed = test_seed() };
	struct rng rng = rng_seed(test_seed());
	struct bare_model r;

	bare_open(&r, &config);
	for (unsigned i = 0; i < BARE_SLOTS; i++)
		*ring_slot(&r, i) = some_command(&rng);
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t value = rng_next(&rng) >> rng_below(&rng, 64);

		*ring_slot(&r, rng_below(&rng, BARE_SLOTS)) =
			some_command(&rng);
		reg_write(&r.port, regs[rng_below(&rng, ARRAY_SIZE(regs))],
			  rng_below(&rng, 2) ? value : value << 4);
		get(&r, REG_STATUS);
		if (!rng_below(&rng, 8))
			bare_control(&r, BARE_ON);
		bare_read(&r, (uint16_t)rng_below(&rng, 130), value);
	}
	EXPECT(bare_stats(&r).fetched > 1000 && bare_stats(&r).events[5] > 10);
	bare_control(&r, 0);
	EXPECT(model_drain(r.m, 1000));
	EXPECT(model_complaint(r.m)); /* of the last commands, too */
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	r.tail = 0;
	EXPECT(!refused(&r, REG_CMD_HEAD, 0) && !refused(&r, REG_CMD_TAIL, 0));
	bare_control(&r, BARE_ON);
	bare_sync(&r);
	bare_close(&r);
}
