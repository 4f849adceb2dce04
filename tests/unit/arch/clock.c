/* SPDX-License-Identifier: MIT */
/*
 * clock.c - clocks of known rate, and clocks that do not run
 *
 * The machines of tools/machines have the other reference clocks.
 */
#include "arch/bits.h"
#include "arch/reference.h"
#include "kernel/string.h"
#include "tests/base/test.h"

#define MS        UINT64_C(1000000)
#define IDLE_PORT 0x80 /* of the POST code: keeps what is written         */

static const struct reference *named(const char *name)
{
	for (const struct reference *r = references; r->name; r++)
		if (!strcmp(r->name, name))
			return r;
	REQUIRE(!"there is such a reference");
	return NULL;
}

TEST(clock, pit_one_shot_has_its_length,
     "the PIT's one shot ends 2.5 ms after its start by the clock that was "
     "calibrated with it at boot")
{
	const struct reference *pit = named("PIT");
	struct clock_sources none = { 0 };
	uint64_t start = clock_ns(), took;

	REQUIRE(pit->begin(&none));
	REQUIRE(pit->end(&none));
	took = clock_ns() - start;
	EXPECT(took >= REFERENCE_NS - REFERENCE_NS / 33);
	test_note("%lu ns", took);
}

TEST(clock, stopped_counter_is_refused,
     "a PM timer or HPET that is absent or whose counter does not move is not "
     "used")
{
	static uint32_t regs[PAGE_SIZE / 4];
	struct clock_sources s = { 0 };

	EXPECT(!named("ACPI PM timer")->begin(&s));
	EXPECT(!named("HPET")->begin(&s));
	s = (struct clock_sources){ .pm_timer = IDLE_PORT,
				    .hpet = (char *)regs };
	EXPECT(!named("ACPI PM timer")->begin(&s));
	for (uint64_t period = 1; period <= UINT32_MAX; period *= 10) {
		regs[1] = (uint32_t)period;
		EXPECT(!named("HPET")->begin(&s));
	}
	EXPECT(regs[4] & BIT(0)); /* it was started */
}

TEST(clock, impossible_rates_are_refused,
     "a TSC of 10 MHz to 20 GHz and a timer of 100 kHz to 2 GHz are accepted, "
     "other rates and 0 are not")
{
	EXPECT_STR_NULL(clock_judge(1000 * MS, MS));
	EXPECT_STR_NULL(clock_judge(10 * MS, MS / 10));
	EXPECT_STR_NULL(clock_judge(20000 * MS, 2000 * MS));
	EXPECT(glob_match("the TSC*", clock_judge(10 * MS - 1, MS) ?: ""));
	EXPECT(glob_match("the TSC*", clock_judge(20001 * MS, MS) ?: ""));
	EXPECT(glob_match("the local APIC*", clock_judge(MS * 99, 0) ?: ""));
	EXPECT(glob_match("the local APIC*",
			  clock_judge(MS * 99, 2001 * MS) ?: ""));
	EXPECT(clock_judge(0, 0));
}
