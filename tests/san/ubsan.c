/* SPDX-License-Identifier: MIT */
/*
 * ubsan.c - planted undefined behaviour: each case is reported
 *
 * The values are volatile so that the compiler cannot see the fault.
 */
#include "kernel/san/san.h"
#include "kernel/string.h"
#include "tests/base/test.h"
#include "tests/san/expect_report.h"

static volatile int by = 40, zero, most = INT32_MAX, index = 5;
static volatile uint64_t odd = 1;
static int small[4];

TEST(ubsan, shift_by_too_much,
     "a shift by the width of the type or more is reported")
{
	small[0] = 1 << by;
	EXPECT_REPORT("*shift of 1 by 40*");
}

TEST(ubsan, signed_overflow, "a signed addition that overflows is reported")
{
	small[0] = most + 1;
	EXPECT_REPORT("*2147483647 + 1 overflows*");
}

TEST(ubsan, index_out_of_bounds, "an index beyond an array is reported")
{
	int got;

	got = small[index];
	EXPECT_REPORT("*index 5 is outside of*");
	test_note("%d", got);
}

TEST(ubsan, misaligned_pointer,
     "a load through a misaligned pointer is reported")
{
	uint64_t got = *(uint64_t *)((char *)small + odd);

	EXPECT_REPORT("*is not aligned to 8*");
	test_note("%lu", got);
}

TEST(ubsan, invalid_bool, "a bool that is neither 0 nor 1 is reported")
{
	union {
		uint8_t byte;
		bool flag;
	} u = { .byte = (uint8_t)index };
	volatile bool got = *(volatile bool *)&u.flag;

	EXPECT_REPORT("*5 is no value of*");
	test_note("%d", got + zero);
}
