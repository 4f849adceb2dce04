/* SPDX-License-Identifier: MIT */
/*
 * unit_model_regs.c - the strict IOMMU's registers take only what they may
 */
#include "tests/model_rig.h"

#define RUNNING (STATUS_EVENT_RUN | STATUS_CMD_RUN | STATUS_PPR_RUN)

static const unsigned bases[] = { REG_CMD_BASE, REG_EVENT_BASE, REG_PPR_BASE };
static const unsigned heads[] = { REG_CMD_HEAD, REG_EVENT_HEAD, REG_PPR_HEAD };
static const unsigned tails[] = { REG_CMD_TAIL, REG_EVENT_TAIL, REG_PPR_TAIL };

/* Write; did the model complain? */
static bool refused(struct rig *r, unsigned reg, uint64_t value)
{
	reg_write(&r->port, reg, value);
	return model_complaint(r->m) != NULL;
}

static uint64_t get(struct rig *r, unsigned reg)
{
	return reg_read(&r->port, reg);
}

TEST(model_regs, status_is_cleared_by_ones,
     "a 1 clears an event bit, a 0 keeps it, and run bits cannot be written")
{
	uint64_t first = STATUS_EVENT_INT;
	struct rig r;

	rig_open(&r, NULL);
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING);
	model_log_event(r.m, BIT(60), 0);
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING | first);
	reg_write(&r.port, REG_STATUS, ~first);
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING | first);
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	EXPECT_EQ(get(&r, REG_STATUS), RUNNING);
	rig_control(&r, 0);
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	EXPECT_EQ(get(&r, REG_STATUS), 0);
	rig_close(&r);
}

TEST(model_regs, bases_change_only_while_off,
     "a base written while its ring runs is refused; off, it is taken")
{
	struct rig r;

	rig_open(&r, NULL);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t was = get(&r, bases[i]);

		EXPECT(refused(&r, bases[i], was + PAGE_SIZE));
		EXPECT_EQ(get(&r, bases[i]), was);
	}
	EXPECT(refused(&r, REG_DEV_TABLE_BASE, 0));
	EXPECT_EQ(get(&r, REG_DEV_TABLE_BASE), r.device_table);
	rig_control(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t value = get(&r, bases[i]) + PAGE_SIZE;

		EXPECT(!refused(&r, bases[i], value));
		EXPECT_EQ(get(&r, bases[i]), value);
	}
	EXPECT(!refused(&r, REG_DEV_TABLE_BASE, PAGE_SIZE | 1));
	EXPECT_EQ(get(&r, REG_DEV_TABLE_BASE), PAGE_SIZE | 1);
	rig_close(&r);
}

TEST(model_regs, ring_lengths_are_8_to_15,
     "a base with a length below 256 entries or reserved bits is refused")
{
	struct rig r;

	rig_open(&r, NULL);
	rig_control(&r, 0);
	for (unsigned len = 0; len < 16; len++)
		EXPECT_EQ(refused(&r, REG_CMD_BASE,
				  r.commands | FIELD_PREP(RING_LENGTH, len)),
			  len < 8);
	EXPECT(refused(&r, REG_CMD_BASE, r.commands | BIT(63) | BIT(59)));
	EXPECT(refused(&r, REG_CMD_BASE, r.commands | BIT(4) | BIT(59)));
	rig_close(&r);
}

TEST(model_regs, pointers_stay_in_the_ring,
     "a pointer at or past the end, or not of 16 bytes, is refused")
{
	struct rig r;

	rig_open(&r, NULL);
	EXPECT(refused(&r, REG_CMD_TAIL, RIG_SLOTS * 16));
	EXPECT(refused(&r, REG_CMD_TAIL, 8));
	EXPECT(refused(&r, REG_CMD_TAIL, BIT(19)));
	EXPECT_EQ(get(&r, REG_CMD_TAIL), 0);
	rig_control(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(refused(&r, heads[i], RIG_SLOTS * 16));
		EXPECT(refused(&r, tails[i], ~UINT64_C(0)));
		EXPECT(!refused(&r, heads[i], RIG_SLOTS * 16 - 16));
		EXPECT_EQ(get(&r, heads[i]), RIG_SLOTS * 16 - 16);
	}
	rig_close(&r);
}

TEST(model_regs, hardware_owns_its_pointers_while_it_runs,
     "command head and log tails are refused while running; a head may not "
     "skip")
{
	struct rig r;

	rig_open(&r, NULL);
	EXPECT(refused(&r, REG_CMD_HEAD, 0));
	EXPECT(refused(&r, REG_EVENT_TAIL, 16));
	EXPECT(refused(&r, REG_PPR_TAIL, 16));
	model_log_event(r.m, BIT(60), 0);
	EXPECT(refused(&r, REG_EVENT_HEAD, 32));
	EXPECT_EQ(get(&r, REG_EVENT_HEAD), 0);
	EXPECT(!refused(&r, REG_EVENT_HEAD, 16));
	EXPECT(refused(&r, REG_EVENT_HEAD, 0));
	EXPECT_EQ(get(&r, REG_EVENT_HEAD), 16);
	rig_close(&r);
}

TEST(model_regs, features_are_read_only,
     "EFR keeps its value, unknown registers and CONTROL bits are complained "
     "of")
{
	struct rig r;

	rig_open(&r, NULL);
	EXPECT_EQ(get(&r, REG_EFR), MODEL_EFR);
	EXPECT(refused(&r, REG_EFR, 0));
	EXPECT_EQ(get(&r, REG_EFR), MODEL_EFR);
	EXPECT_EQ(get(&r, 0x2038 + 8), 0);
	EXPECT(model_complaint(r.m));
	EXPECT(refused(&r, 0x40, 1));
	EXPECT(refused(&r, REG_CONTROL, RIG_ON | BIT(16)));
	EXPECT_EQ(get(&r, REG_CONTROL), RIG_ON);
	rig_close(&r);
}

TEST(model_regs, two_models_keep_their_own_state,
     "a doorbell, an event and a flush in one leave the other as it was")
{
	struct rig one, two;

	rig_open(&one, NULL);
	rig_open(&two, NULL);
	rig_sync(&one);
	model_log_event(one.m, BIT(60), 0);
	EXPECT_EQ(get(&two, REG_CMD_HEAD), 0);
	EXPECT_EQ(rig_events(&two), 0);
	EXPECT_EQ(rig_stats(&two).fetched, 0);
	EXPECT_EQ(two.interrupt_count, 0);
	rig_close(&one);
	rig_sync(&two);
	rig_close(&two);
}

TEST(model_regs, dump_changes_nothing,
     "printing a model in the middle of its work neither steps nor loses any")
{
	uint64_t ticket;
	struct rig r;

	rig_open(&r,
		 &(struct model_config){ .mode = MODEL_DELAYED, .delay = 1 });
	ticket = rig_send_wait(&r);
	model_step(r.m, 1);
	model_dump(r.m);
	EXPECT_EQ(rig_stats(&r).steps, 1);
	EXPECT(!rig_done(&r, ticket));
	model_step(r.m, 1);
	EXPECT(rig_done(&r, ticket));
	rig_close(&r);
}

/* ---- rubbish ----------------------------------------------------------- */

static struct command *ring_slot(struct rig *r, uint64_t n)
{
	return (struct command *)phys_to_virt(r->commands) + n;
}

/* Mostly legal; none that stores, for that would hit memory of others. */
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

TEST(model_regs, rubbish_ends,
     "50000 random writes to CONTROL, pointers and ring end; it works "
     "afterwards")
{
	static const unsigned regs[] = { REG_CONTROL,    REG_CMD_HEAD,
					 REG_CMD_TAIL,   REG_EVENT_HEAD,
					 REG_EVENT_TAIL, REG_STATUS,
					 REG_PPR_HEAD,   REG_PPR_TAIL };
	const struct model_config config = { .mode = MODEL_SHUFFLED,
					     .seed = test_seed() };
	struct rng rng = rng_seed(test_seed());
	struct rig r;

	rig_open(&r, &config);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		*ring_slot(&r, i) = some_command(&rng);
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t value = rng_next(&rng) >> rng_below(&rng, 64);

		*ring_slot(&r, rng_below(&rng, RIG_SLOTS)) = some_command(&rng);
		reg_write(&r.port, regs[rng_below(&rng, ARRAY_SIZE(regs))],
			  rng_below(&rng, 2) ? value : value << 4);
		get(&r, REG_STATUS);
		if (!rng_below(&rng, 8))
			rig_control(&r, RIG_ON);
		rig_read(&r, (uint16_t)rng_below(&rng, 130), value);
	}
	EXPECT(rig_stats(&r).fetched > 1000 && rig_stats(&r).events[5] > 10);
	EXPECT(model_complaint(r.m));
	rig_control(&r, 0);
	EXPECT(model_drain(r.m, 1000));
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	r.tail = 0;
	EXPECT(!refused(&r, REG_CMD_HEAD, 0) && !refused(&r, REG_CMD_TAIL, 0));
	rig_control(&r, RIG_ON);
	rig_sync(&r);
	rig_close(&r);
}
