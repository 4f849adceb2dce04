/* SPDX-License-Identifier: MIT */
/*
 * halt.c - the strict IOMMU halts at an illegal command, and decodes exactly
 * what command.h encodes
 */
#include "tests/fixture/iommu/model_fixture.h"
#include "tests/model/model_priv.h"

#define DEV    8
#define DOMAIN 7

static bool running(struct bare_model *r)
{
	return reg_read(&r->port, REG_STATUS) & STATUS_CMD_RUN;
}

static struct command op(enum command_op code)
{
	return (struct command){ { FIELD_PREP(CMD0_OP, code), 0 } };
}

/* ---- halting ----------------------------------------------------------- */

TEST(model_halt, illegal_command_halts_the_ring,
     "an illegal command halts the ring there, after the older commands, with "
     "an event")
{
	uint64_t before, after;
	struct log_entry e;
	struct bare_model r;

	bare_open(&r, &(struct model_config){ .mode = MODEL_SHUFFLED });
	r.complaints_expected = true;
	bare_send(&r, command_invalidate_devtab_entry(DEV));
	before = bare_send_wait(&r);
	bare_send(&r, op(15));
	after = bare_send_wait(&r);
	EXPECT(running(&r));
	model_step(r.m, 100);
	EXPECT(!running(&r));
	EXPECT(bare_done(&r, before) && !bare_done(&r, after));
	EXPECT_EQ(reg_read(&r.port, REG_CMD_HEAD), 2 * 16);
	e = bare_event(&r);
	EXPECT_EQ(e.w[0], FIELD_PREP(LOG0_TYPE, ILLEGAL_COMMAND_ERROR));
	EXPECT_EQ(e.w[1], r.commands + 2 * 16);
	bare_close(&r);
}

TEST(model_halt, ring_restarts_by_off_and_on,
     "a halted ring restarts after CmdBufEn 0, new pointers and CmdBufEn 1")
{
	struct bare_model r;

	bare_open(&r, NULL);
	r.complaints_expected = true;
	bare_send(&r, op(0));
	EXPECT(!running(&r));
	reg_write(&r.port, REG_STATUS, ~UINT64_C(0));
	bare_control(&r, BARE_ON);
	EXPECT(!running(&r));
	bare_control(&r, BARE_ON & ~CONTROL_CMD_BUF_EN);
	reg_write(&r.port, REG_CMD_HEAD, 16);
	bare_control(&r, BARE_ON);
	EXPECT(running(&r));
	bare_sync(&r);
	bare_close(&r);
}

TEST(model_halt, ring_stops_when_fetched_commands_are_done,
     "CmdBufRun stays 1 after CmdBufEn 0 until all fetched commands are done")
{
	uint64_t ticket;
	struct bare_model r;

	bare_open(&r,
		  &(struct model_config){ .mode = MODEL_DELAYED, .delay = 4 });
	ticket = bare_send_wait(&r);
	EXPECT(running(&r));
	bare_control(&r, BARE_ON & ~CONTROL_CMD_BUF_EN);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(running(&r) && !bare_done(&r, ticket));
	EXPECT(!running(&r));
	EXPECT(bare_done(&r, ticket));
	bare_close(&r);
}

/* Return whether the ring halts at this command. */
static bool halts(struct bare_model *r, struct command c)
{
	bare_send(r, c);
	if (running(r))
		return false;
	EXPECT_EQ(bare_event(r).w[0] >> 60, ILLEGAL_COMMAND_ERROR);
	bare_control(r, BARE_ON & ~CONTROL_CMD_BUF_EN);
	reg_write(&r->port, REG_CMD_HEAD, r->tail);
	bare_control(r, BARE_ON);
	return true;
}

/*
 * The bits that may be set, by opcode: those that command.h's masks name,
 * without PASIDs.
 */
static struct command usable(struct bare_model *r, enum command_op code)
{
	const uint64_t range = CMD1_ADDRESS | CMD1_S;

	switch (code) {
	case COMPLETION_WAIT:
		return (struct command){ { GENMASK(51, 0), ~UINT64_C(0) } };
	case INVALIDATE_DEVTAB_ENTRY:
	case INVALIDATE_INTERRUPT_TABLE:
		return (struct command){ { CMD0_DEVID, 0 } };
	case INVALIDATE_IOMMU_PAGES:
		return (struct command){ { CMD0_DOMAIN, range | CMD1_PDE } };
	case INVALIDATE_IOTLB_PAGES:
		return (struct command){
			{ CMD0_DEVID | CMD0_PENDING | CMD0_QUEUE, range }
		};
	case COMPLETE_PPR_REQUEST:
		return (struct command){ { CMD0_DEVID,
					   CMD1_TAG | CMD1_STATUS } };
	default:
		return (struct command){ { 0, 0 } };
	}
}

static void one_bit(struct bare_model *r, enum command_op code, unsigned word,
		    unsigned bit)
{
	struct command c = op(code), may = usable(r, code);

	if (code == COMPLETION_WAIT && word == 0 && bit < 3)
		return; /* S would store at 0, where no memory is */
	c.w[word] |= BIT(bit);
	if (word == 0 && bit >= 60)
		return; /* another opcode */
	EXPECT_EQ(halts(r, c), !(may.w[word] & BIT(bit)));
}

TEST(model_halt, reserved_bits_of_commands_are_illegal,
     "for each bit of 7 commands, those that command.h names are legal, no "
     "others")
{
	struct bare_model r;

	bare_open(&r, NULL);
	r.complaints_expected = true;
	model_set_ats(r.m, 0, MODEL_ATS_ON);
	for (unsigned code = 1; code <= INVALIDATE_IOMMU_ALL; code++) {
		if (code == PREFETCH_IOMMU_PAGES) {
			EXPECT(halts(&r, op(code)));
			continue;
		}
		for (unsigned bit = 0; bit < 128; bit++)
			if (code != INVALIDATE_IOTLB_PAGES || bit >= 16)
				one_bit(&r, code, bit / 64, bit % 64);
	}
	EXPECT(halts(&r, op(0)) && halts(&r, op(9)) && halts(&r, op(15)));
	bare_close(&r);
}

TEST(model_halt, features_make_commands_legal,
     "commands that need PPR, IA or PreF halt the ring when EFR lacks it")
{
	struct bare_model r;

	bare_open(&r, &(struct model_config){ .efr = EFR_PREFETCH });
	r.complaints_expected = true;
	EXPECT(halts(&r, command_invalidate_iommu_all()));
	EXPECT(halts(&r, command_complete_ppr_request(DEV, PPR_NO_PASID, 0,
						      PPR_SUCCESS)));
	EXPECT(!halts(&r, command_prefetch_iommu_pages(DEV, BARE_IOVA, 4)));
	bare_close(&r);
}

TEST(model_halt, memory_errors_halt_the_ring,
     "a store or a ring outside RAM causes COMMAND_HARDWARE_ERROR")
{
	struct bare_model r;

	bare_open(&r, NULL);
	bare_send(&r, command_completion_wait(BIT(45), 1));
	EXPECT(!running(&r));
	EXPECT_EQ(bare_event(&r).w[0] >> 60, COMMAND_HARDWARE_ERROR);
	bare_control(&r, BARE_ON & ~CONTROL_CMD_BUF_EN);
	reg_write(&r.port, REG_CMD_BASE, BIT(45) | FIELD_PREP(RING_LENGTH, 8));
	bare_control(&r, BARE_ON);
	bare_send_wait(&r);
	EXPECT(!running(&r));
	EXPECT_EQ(bare_event(&r).w[0] >> 60, COMMAND_HARDWARE_ERROR);
	bare_close(&r);
}

/* ---- ranges ------------------------------------------------------------ */

/*
 * Decode the range as the manual states it: size by the first zero from bit 12
 * up.
 */
static struct range decode(uint64_t w1)
{
	unsigned k = 12;

	if (!(w1 & 1))
		return (struct range){ w1 & PAGE_MASK, 12 };
	while (k < 64 && (w1 >> k & 1))
		k++;
	if (k >= 63)
		return (struct range){ 0, 64 };
	for (unsigned bit = 0; bit <= k; bit++)
		w1 &= ~BIT(bit);
	return (struct range){ w1, k + 1 };
}

static bool covers(struct range r, iova_t start, iova_t end)
{
	return r.shift >= 64 || (!((start ^ r.base) >> r.shift) &&
				 !(((end - 1) ^ r.base) >> r.shift));
}

static void check_range(iova_t start, iova_t end)
{
	uint64_t w = command_range(start, end).w;
	struct range slow = decode(w), fast = range_of(w);

	EXPECT(slow.base == fast.base && slow.shift == fast.shift);
	EXPECT(covers(slow, start, end));
	if (slow.shift < 64) {
		EXPECT(!(slow.base & (BIT(slow.shift) - 1)));
		/* Neither half alone would cover the range. */
		EXPECT(slow.shift == 12 ||
		       (start ^ (end - 1)) >> (slow.shift - 1) & 1);
	} else {
		EXPECT((start ^ (end - 1)) >> 52);
		EXPECT_EQ(w, RANGE_ALL.w);
	}
}

TEST(model_halt, ranges_are_the_smallest_that_cover,
     "100000 random ranges are encoded and decoded alike, to 2^18 pages and "
     "all")
{
	struct rng rng = rng_seed(test_seed());

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t bits = 19 + rng_below(&rng, 45);
		iova_t start = rng_next(&rng) >> (64 - bits) & PAGE_MASK;
		uint64_t pages = 1 + (rng_next(&rng) & (BIT(18) - 1)) %
					     BIT(rng_below(&rng, 19));

		check_range(start, start + pages * PAGE_SIZE);
	}
	for (unsigned bit = 12; bit < 63; bit++) {
		check_range(0, BIT(bit));
		check_range(BIT(bit) - PAGE_SIZE, BIT(bit) + PAGE_SIZE);
		check_range(BIT(bit) - PAGE_SIZE, BIT(bit));
	}
	check_range(0, ~UINT64_C(0) & PAGE_MASK);
	EXPECT_EQ(range_of(RANGE_ALL.w).shift, 64);
	EXPECT_EQ(range_of(GENMASK(63, 12) | 1).shift, 64);
	EXPECT_EQ(range_of(1).shift, 13);
	EXPECT_EQ(range_of(0).shift, 12);
}
