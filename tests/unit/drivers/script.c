/* SPDX-License-Identifier: MIT */
/*
 * script.c - tests lsi_script.h: the encoding of a program
 */
#include "drivers/lsi_script.h"
#include "kernel/err.h"
#include "tests/base/test.h"

/* Compare an instruction with its encoding, taken from the manual's figures. */
static bool words_are(struct lsi_insn i, uint32_t w0, uint32_t w1, uint32_t w2)
{
	if (!i.bad && i.w[0] == w0 && i.w[1] == w1 && i.w[2] == w2)
		return true;
	test_note("%08x %08x %08x, not %08x %08x %08x", i.w[0], i.w[1], i.w[2],
		  w0, w1, w2);
	return false;
}

TEST(script, instructions_are_encoded_as_in_the_manual,
     "each constructor encodes its instruction as the manual's figures show")
{
	EXPECT(words_are(lsi_move(0x1000, 0x2345, 0x123456), 0xc0123456, 0x2345,
			 0x1000));
	EXPECT(words_are(lsi_load(LSI_SCRATCHA, 0x8000, 4), 0xe1340004, 0x8000,
			 0));
	EXPECT(words_are(lsi_store(LSI_SCRATCHB + 1, 0x8001, 2), 0xe05d0002,
			 0x8001, 0));
	EXPECT(words_are(lsi_set(LSI_SCRATCHA, 0x5a), 0x78345a00, 0, 0));
	EXPECT(words_are(lsi_set(0x9c, 0x5a), 0x781c5a80, 0, 0));
	EXPECT(words_are(lsi_add(LSI_SCRATCHA, 1), 0x7e340100, 0, 0));
	EXPECT(words_are(lsi_fetch(LSI_SCRATCHA), 0x72340000, 0, 0));
	EXPECT(words_are(lsi_jump(0), 0x80880000, 0, 0));
	EXPECT(words_are(lsi_jump_if(0x12, 0xff, 0), 0x808c0012, 0, 0));
	EXPECT(words_are(lsi_jump_unless(0x02, 0x0f, 0), 0x8084f002, 0, 0));
	EXPECT(words_are(lsi_interrupt(7), 0x98080000, 7, 0));
}

TEST(script, jumps_are_distances,
     "a jump is encoded as the signed distance from the next instruction")
{
	const struct lsi_insn program[] = {
		lsi_jump(2), lsi_label(1), lsi_move(0, 64, 4), lsi_label(2),
		lsi_jump(1), lsi_jump(31), lsi_label(31),      lsi_interrupt(1),
	};
	uint32_t w[11];

	REQUIRE(lsi_assemble(program, ARRAY_SIZE(program), w, 11) == 11);
	EXPECT_EQ(w[1], 12);
	EXPECT_EQ(w[6], 0xffffff & -20u);
	EXPECT_EQ(w[8], 0);
	EXPECT_EQ(w[10], 1);
}

static int assemble(const struct lsi_insn *program, unsigned n)
{
	uint32_t w[8];

	return lsi_assemble(program, n, w, ARRAY_SIZE(w));
}

#define ASSEMBLE(...)                                      \
	assemble((const struct lsi_insn[]){ __VA_ARGS__ }, \
		 ARRAY_SIZE(((const struct lsi_insn[]){ __VA_ARGS__ })))

TEST(script, impossible_instructions_are_refused,
     "an instruction that the chip does not have is refused, and nothing "
     "starts")
{
	EXPECT_EQ(ASSEMBLE(lsi_jump(3)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_label(3), lsi_label(3)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_label(LSI_LABELS)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_label(-1)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_move(0, 0, 0)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_move(0, 0, LSI_MOVE_MAX + 1)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_move(0, 0, LSI_MOVE_MAX)), 3);
	EXPECT_EQ(ASSEMBLE(lsi_move(BIT(32), 0, 1)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_move(0, BIT(32), 1)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_load(LSI_SCRATCHA, 0, 5)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_load(LSI_SCRATCHA + 2, 2, 3)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_load(LSI_SCRATCHA, 1, 1)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_store(LSI_SCRATCHA, BIT(32), 1)), -EINVAL);
	EXPECT_EQ(ASSEMBLE(lsi_move(0, 0, 1), lsi_move(0, 0, 1),
			   lsi_move(0, 0, 1)),
		  -EINVAL);
}
