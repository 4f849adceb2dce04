/* SPDX-License-Identifier: MIT */
/*
 * lsi.c - tests lsi.h: how the chip executes a program
 */
#include "arch/clock.h"
#include "drivers/lsi.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/base/test.h"
#include "tests/fixture/iommu/engines.h"

/* ----------------------------------------------------------------- chip */

static struct lsi *chip(unsigned i)
{
	need_engine(i ? "lsi1" : "lsi0");
	return lsi_at(i);
}

static void set32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, 4);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return v;
}

/* Run from memory and from the chip; both must end with tag. */
static void run_both(struct lsi *lsi, const struct lsi_insn *program,
		     unsigned n, uint32_t want)
{
	for (enum lsi_place p = LSI_IN_MEMORY; p <= LSI_IN_CHIP; p++) {
		uint32_t tag = ~want;

		EXPECT_EQ(lsi_run(lsi, p, program, n, &tag), 0);
		EXPECT_EQ(tag, want);
	}
}

#define RUN_BOTH(lsi, want, ...)                                \
	run_both(lsi, (const struct lsi_insn[]){ __VA_ARGS__ }, \
		 ARRAY_SIZE(((const struct lsi_insn[]){ __VA_ARGS__ })), want)

TEST(lsi, program_returns_its_tag,
     "a program returns the tag of the interrupt instruction that it reached")
{
	struct lsi *lsi = chip(0);

	RUN_BOTH(lsi, 0x12345678, lsi_interrupt(0x12345678), lsi_interrupt(9));
	RUN_BOTH(lsi, 5, lsi_jump(1), lsi_interrupt(4), lsi_label(1),
		 lsi_interrupt(5));
}

TEST(lsi, loads_and_stores_pass_registers,
     "bytes move from memory to a register and back, and no others")
{
	struct lsi *lsi = chip(0);
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
	iova_t from = buffer_bus(src), to = buffer_bus(dst);

	RUN_BOTH(lsi, 1, lsi_load(LSI_SCRATCHA, from + 8, 4),
		 lsi_load(LSI_SCRATCHC + 1, from + 13, 2),
		 lsi_store(LSI_SCRATCHA, to + 4, 4),
		 lsi_store(LSI_SCRATCHC + 1, to + 21, 1), lsi_interrupt(1));
	EXPECT_EQ(lsi_scratch(lsi, LSI_SCRATCHA), get32(src + 8));
	EXPECT_EQ(get32(dst + 4), get32(src + 8));
	for (unsigned at = 0; at < 64; at++)
		if (at < 4 || (at >= 8 && at != 21))
			EXPECT_EQ(dst[at], buffer_pattern(1, at));
	EXPECT_EQ(dst[21], src[13]);
}

TEST(lsi, programs_count_and_branch,
     "a loop runs as often as its counter says, and branches go both ways")
{
	struct lsi *lsi = chip(0);
	uint8_t *sum = engine_buffer(0);
	iova_t at = buffer_bus(sum);
	enum {
		AGAIN,
		OUT
	};

	set32(sum, 0);
	RUN_BOTH(lsi, 2, lsi_set(LSI_SCRATCHB, 0), lsi_label(AGAIN),
		 lsi_load(LSI_SCRATCHA, at, 1), lsi_add(LSI_SCRATCHA, 3),
		 lsi_store(LSI_SCRATCHA, at, 1), lsi_add(LSI_SCRATCHB, 1),
		 lsi_fetch(LSI_SCRATCHB), lsi_jump_if(5, 0xff, OUT),
		 lsi_jump_unless(0x10, 0x10, AGAIN), lsi_interrupt(1),
		 lsi_label(OUT), lsi_interrupt(2));
	EXPECT_EQ(get32(sum), 2 * 5 * 3);
}

TEST(lsi, masks_choose_bits, "a compare uses only the bits of its mask")
{
	struct lsi *lsi = chip(0);

	RUN_BOTH(lsi, 1, lsi_set(LSI_SCRATCHA, 0xa5), lsi_fetch(LSI_SCRATCHA),
		 lsi_jump_if(0x05, 0x0f, 0), lsi_interrupt(2), lsi_label(0),
		 lsi_interrupt(1));
	RUN_BOTH(lsi, 2, lsi_set(LSI_SCRATCHA, 0xa5), lsi_fetch(LSI_SCRATCHA),
		 lsi_jump_if(0x05, 0x3f, 0), lsi_jump_if(0x05, 0xff, 0),
		 lsi_interrupt(2), lsi_label(0), lsi_interrupt(1));
}

TEST(lsi, device_waits_for_memory,
     "a program that polls memory continues when the CPU has written")
{
	struct lsi *lsi = chip(0);
	uint8_t *flag = engine_buffer(0), *data = engine_buffer(1);
	uint8_t *copy = engine_buffer(2);
	uint64_t end = clock_ns() + UINT64_C(5000000000);
	uint32_t tag = 0;
	int error;
	const struct lsi_insn program[] = {
		lsi_label(0),
		lsi_load(LSI_SCRATCHA, buffer_bus(flag), 1),
		lsi_fetch(LSI_SCRATCHA),
		lsi_jump_unless(1, 0xff, 0),
		lsi_move(buffer_bus(copy), buffer_bus(data), 4096),
		lsi_interrupt(3),
	};

	*flag = 0;
	EXPECT_EQ(lsi_start(lsi, LSI_IN_MEMORY, program, ARRAY_SIZE(program)),
		  0);
	EXPECT_EQ(lsi_poll(lsi, &tag), -EAGAIN);
	memset(data, 0x77, 4096);
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
	while ((error = lsi_poll(lsi, &tag)) == -EAGAIN && clock_ns() < end)
		yield();
	EXPECT_EQ(error, 0);
	EXPECT_EQ(tag, 3);
	EXPECT(copy[0] == 0x77 && copy[4095] == 0x77);
}

TEST(lsi, endless_program_is_stopped,
     "an endless program is stopped, and the chip works again")
{
	struct lsi *lsi = chip(0);
	uint8_t *count = engine_buffer(0);
	iova_t at = buffer_bus(count);
	uint32_t tag, then;
	const struct lsi_insn program[] = {
		lsi_label(0),
		lsi_load(LSI_SCRATCHA, at, 1),
		lsi_add(LSI_SCRATCHA, 1),
		lsi_store(LSI_SCRATCHA, at, 1),
		lsi_jump(0),
	};

	EXPECT_EQ(lsi_run(lsi, LSI_IN_CHIP, program, ARRAY_SIZE(program), &tag),
		  -ETIMEDOUT);
	then = *count;
	sleep_ns(5000000);
	EXPECT_EQ(READ_ONCE(*count), then);
	RUN_BOTH(lsi, 6, lsi_interrupt(6));
}

TEST(lsi, illegal_instruction_is_an_error,
     "an illegal instruction is an error, and the chip works again")
{
	struct lsi *lsi = chip(0);
	uint32_t tag;
	const struct lsi_insn reserved[] = { lsi_raw(0xb0080000, 0) };
	const struct lsi_insn bus_phase[] = { lsi_raw(0x07000010, 0x1000) };

	EXPECT_EQ(lsi_run(lsi, LSI_IN_MEMORY, reserved, 1, &tag), -EIO);
	EXPECT_EQ(lsi_run(lsi, LSI_IN_MEMORY, bus_phase, 1, &tag), -EIO);
	RUN_BOTH(lsi, 6, lsi_interrupt(6));
}

TEST(lsi, steps_are_instructions,
     "a single step executes one instruction, so that other code can run "
     "between two")
{
	struct lsi *lsi = chip(0);
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
	uint32_t tag = 0;
	const struct lsi_insn program[] = {
		lsi_move(buffer_bus(dst), buffer_bus(src), 16),
		lsi_move(buffer_bus(dst + 16), buffer_bus(src), 16),
		lsi_interrupt(4),
	};

	EXPECT_EQ(lsi_load_program(lsi, LSI_IN_MEMORY, program,
				   ARRAY_SIZE(program)),
		  0);
	EXPECT_EQ(dst[0], buffer_pattern(1, 0));
	EXPECT_EQ(lsi_step(lsi, &tag), -EAGAIN);
	EXPECT_EQ(dst[0], buffer_pattern(0, 0));
	EXPECT_EQ(dst[16], buffer_pattern(1, 16));
	src[0] = 0x42;
	EXPECT_EQ(lsi_step(lsi, &tag), -EAGAIN);
	EXPECT_EQ(dst[16], 0x42);
	EXPECT_EQ(lsi_step(lsi, &tag), 0);
	EXPECT_EQ(tag, 4);
	RUN_BOTH(lsi, 6, lsi_interrupt(6));
}

TEST(lsi, two_chips_run_beside_each_other,
     "one chip's program waits for what the other chip's program writes")
{
	struct lsi *a = chip(0), *b = chip(1);
	uint8_t *flag = engine_buffer(0);
	uint64_t end = clock_ns() + UINT64_C(5000000000);
	uint32_t tag = 0;
	int error;
	const struct lsi_insn waits[] = {
		lsi_label(0),
		lsi_load(LSI_SCRATCHA, buffer_bus(flag), 1),
		lsi_fetch(LSI_SCRATCHA),
		lsi_jump_unless(0x99, 0xff, 0),
		lsi_interrupt(1),
	};

	EXPECT_EQ(lsi_start(a, LSI_IN_MEMORY, waits, ARRAY_SIZE(waits)), 0);
	EXPECT_EQ(lsi_poll(a, &tag), -EAGAIN);
	RUN_BOTH(b, 2, lsi_set(LSI_SCRATCHA, 0x99),
		 lsi_store(LSI_SCRATCHA, buffer_bus(flag), 1),
		 lsi_interrupt(2));
	while ((error = lsi_poll(a, &tag)) == -EAGAIN && clock_ns() < end)
		yield();
	EXPECT_EQ(error, 0);
	EXPECT_EQ(tag, 1);
}

TEST(lsi, no_right_to_master_moves_nothing,
     "a chip without bus mastering neither fetches nor moves")
{
	struct lsi *lsi = chip(0);
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);

	pci_set_master(lsi->dev, false);
	EXPECT(dma_copy(&lsi->engine, buffer_bus(dst), buffer_bus(src), 64) <
	       0);
	pci_set_master(lsi->dev, true);
	for (unsigned at = 0; at < 64; at++)
		EXPECT_EQ(dst[at], buffer_pattern(1, at));
	EXPECT_EQ(dma_copy(&lsi->engine, buffer_bus(dst), buffer_bus(src), 64),
		  0);
	EXPECT_EQ(dst[63], buffer_pattern(0, 63));
}

TEST(lsi, program_is_fetched_at_its_bus_address,
     "the program is fetched at the bus address that the device was given for "
     "it")
{
	struct lsi *lsi = chip(0);
	struct dma_own *own = &lsi->engine.own;
	uint32_t other[2] = { 0x98080000, 77 }, tag = 0;
	uint8_t *page = engine_buffer(3);
	const struct lsi_insn program[] = { lsi_interrupt(1) };

	memcpy(page, other, sizeof(other));
	dma_set_own(&lsi->engine, buffer_bus(page));
	EXPECT_EQ(lsi_run(lsi, LSI_IN_MEMORY, program, 1, &tag), 0);
	dma_set_own(&lsi->engine, own->pa);
	EXPECT_EQ(tag, 77);
}
