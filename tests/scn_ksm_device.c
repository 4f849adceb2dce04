/* SPDX-License-Identifier: MIT */
/*
 * scn_ksm_device.c - pages merge while a device uses them: C90-C92, B45, B46
 *
 *   step    looked summed protect | frozen compared  set unptl end
 *   device  may write, by what it has cached | may not, until it asks
 *
 * What a device may do at a step is tried on the spot, in a hook: by the
 * translation that it has cached, without a fault.  What it wrote before the
 * flush is there and refuses the merge; what it writes behind it goes nowhere.
 */
#include "kernel/rand.h"
#include "kernel/string.h"
#include "mm/entry.h"
#include "tests/ksm_world.h"
#include "tests/stand_mm.h"
#include "tests/stress.h"

/* Steps of a merge, in order; from FROZEN on nobody may write. */
static const char *const steps[] = {
	"ksm_looked", "ksm_summed",   "ksm_protect",
	"ksm_frozen", "ksm_compared", "pte_set",
	"unptl",      "range_end",    "range_ended",
};

#define FROZEN 3u
#define STEPS  ARRAY_SIZE(steps)

/* Who comes at a step: its own number is `step`. */
static struct intruder {
	struct stand *s;
	struct mm *mm;
	unsigned dev;
	uint64_t word;   /* 0: it reads                                  */
	unsigned chosen; /* step at which it comes                       */
	unsigned came;
	struct page *page; /* the frame of page 0 before                  */
	bool arrived;      /* did it write that?                          */
	uint64_t got;      /* what it read                                */
} in;

static unsigned numbers[STEPS];

static void at_step(uint64_t mm, uint64_t va, void *arg)
{
	if (*(unsigned *)arg != in.chosen || mm != (uint64_t)in.mm ||
	    va != P(0) || in.came++)
		return;
	if (in.word) {
		stand_write(in.s, in.dev, va, in.word);
		in.arrived = stand_word(in.page) == in.word;
	} else {
		in.got = stand_read(in.s, in.dev, va);
	}
}

static void intrude(struct stand *s, unsigned dev, struct mm *mm)
{
	in = (struct intruder){ .s = s, .mm = mm, .dev = dev };
	for (unsigned i = 0; i < STEPS; i++) {
		numbers[i] = i;
		hook(steps[i], at_step, &numbers[i]);
	}
}

static void intrude_end(void)
{
	for (unsigned i = 0; i < STEPS; i++)
		unhook(steps[i]);
}

/* A pass in which the intruder comes at step `chosen`. */
static void pass(unsigned chosen, uint64_t word)
{
	in.chosen = chosen;
	in.word = word;
	in.came = 0;
	in.page = page_at(in.mm, P(0));
	page_put(in.page); /* a reference more would refuse the merge */
	ksm_scans(1);
}

/* Nothing of this is left to the end of the test. */
static void expect_sound(struct stand *s)
{
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(iommu_check(s->iommu));
	EXPECT_STR_NULL(stand_check(0));
	EXPECT_STR_NULL(stand_check(1));
}

/* n mergeable pages of 'A', and device 0. */
static struct mm *merging(struct stand *s, unsigned n)
{
	struct mm *mm = stand_mm(s, n);

	REQUIRE(!ksm_mergeable(mm, VA, P(n)));
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 'A'));
	stand_bind(s, 0, mm);
	return mm;
}

/* The same, and all but page 0 are one frame. */
static struct mm *all_but_first(struct stand *s)
{
	struct mm *mm = merging(s, 3);

	REQUIRE(!wr(mm, P(0), 'B'));
	ksm_scans(2);
	REQUIRE(same_frame(mm, P(1), mm, P(2)));
	return mm;
}

/* ---- writes against the merger ------------------------------------------- */

#define ROUNDS 10000u /* of a chip in the mm's own tables; else a tenth    */
#define LIMIT  60     /* seconds */

struct outcome {
	bool landed; /* the write                                        */
	bool sound;
};

/*
 * Page 0 becomes as the merged ones, by the device, who may write it; then a
 * pass, with a write of the device's at a step of this.
 */
static struct outcome round_of(struct stand *s, struct mm *mm, unsigned step)
{
	int error = stand_store(s, 0, P(0), 'A');
	struct outcome o;
	uint64_t word;

	pass(step, 'B');
	word = rd(mm, P(0));
	o.landed = word == 'B';
	o.sound = !error && in.came == 1 && (o.landed || word == 'A') &&
		  o.landed == in.arrived && o.landed == !is_merged(mm, P(0)) &&
		  (!o.landed || step < FROZEN) && rd(mm, P(1)) == 'A';
	if (!o.sound)
		test_fail(__FILE__, __LINE__,
			  "at %s: %lx and %lx, came %u, wrote %u", steps[step],
			  word, rd(mm, P(1)), in.came, in.arrived);
	return o;
}

static void ksm_device_writes_against_the_merger(struct stand *s)
{
	struct mm *mm = all_but_first(s);
	struct rng rng = rng_seed(90);
	struct outcome o = { .sound = true };
	bool whole = !s->model && stand_kind() == USER_SVA;
	unsigned end = (whole ? ROUNDS : ROUNDS / 10) * stress_times();
	unsigned landed = 0, rounds = 0;

	intrude(s, 0, mm);
	for (; rounds < end && o.sound; rounds++) {
		o = round_of(s, mm, (unsigned)rng_below(&rng, STEPS));
		landed += o.landed;
	}
	intrude_end();

	EXPECT_EQ(rounds, end);
	EXPECT(landed > end / 10);
	EXPECT(landed < end / 2);
	EXPECT_EQ(rd(mm, P(2)), 'A');
	expect_sound(s);
}

USER_TEST_IN(ksm_device, writes_against_the_merger, sva, USER_SVA, qemu,
	     "10,000 merges, at a step of each of which the device writes by "
	     "the right that it has cached: either that is seen and the page "
	     "stays its own, or nothing is written (C90, B45, B46)",
	     LIMIT);
USER_TEST_IN(ksm_device, writes_against_the_merger, sva, USER_SVA, model,
	     "a tenth of it, strictly", LIMIT);
USER_TEST_IN(ksm_device, writes_against_the_merger, mirror, USER_MIRROR, qemu,
	     "a tenth of it with a tree of the device's own", LIMIT);
USER_TEST_IN(ksm_device, writes_against_the_merger, mirror, USER_MIRROR, model,
	     "the same, strictly", LIMIT);

USER_TEST(ksm_device, write_before_the_flush_refuses,
	  "what a device wrote while W went is there, and seen by the "
	  "comparison (C90)")
{
	struct mm *mm = all_but_first(s);

	intrude(s, 0, mm);
	for (unsigned step = 0; step < FROZEN; step++) {
		bool landed = round_of(s, mm, step).landed;
		struct ksm_stat stat;

		/* A table of its own is empty from the start of the window. */
		EXPECT(landed || !strcmp(steps[step], "ksm_protect"));
		ksm_stat(&stat);
		EXPECT_EQ(stat.pages_sharing, 1 + !landed);
		expect_sound(s);
	}
	intrude_end();
}

USER_TEST(ksm_device, write_behind_the_flush_goes_nowhere,
	  "from the comparison on the device's write is refused, not lost: it "
	  "asks, gets a copy, and writes that (C91)")
{
	struct mm *mm = all_but_first(s);

	intrude(s, 0, mm);
	for (unsigned step = FROZEN; step < STEPS; step++) {
		EXPECT(!round_of(s, mm, step).landed);
		EXPECT_KSM(1, 2, 0, 0);
		expect_sound(s);
		EXPECT_EQ(stand_store(s, 0, P(0), 'C'), 0);
		EXPECT_EQ(rd(mm, P(0)), 'C');
		EXPECT_EQ(rd(mm, P(1)), 'A');
		EXPECT_KSM(1, 1, 0, 0);
	}
	intrude_end();
}

/* ---- reads ----------------------------------------------------------------- */

USER_TEST(ksm_device, reads_the_same_at_each_step,
	  "whatever step a merge is at, a device reads the content, or has to "
	  "ask (C92)")
{
	struct mm *mm = all_but_first(s);

	intrude(s, 0, mm);
	for (unsigned step = 0; step < STEPS; step++) {
		REQUIRE(!stand_store(s, 0, P(0), 'A'));
		REQUIRE(stand_load(s, 0, P(0)) == 'A');
		pass(step, 0);
		EXPECT_EQ(in.came, 1);
		EXPECT(in.got == 'A' || in.got == BLOCKED);
		EXPECT(is_merged(mm, P(0)));
		EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
		expect_sound(s);
	}
	intrude_end();
}

/* Warm again, of the old frame, behind the flush that took W. */
static void warm_frozen(uint64_t mm, uint64_t va, void *arg)
{
	if (mm == (uint64_t)in.mm)
		stand_read(arg, 0, va);
}

USER_TEST(ksm_device, reads_before_and_after,
	  "a device reads the same before and behind a merge, and behind it by "
	  "no translation of the frame that was given up")
{
	struct mm *mm = merging(s, 2);
	struct page *old[2];

	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(stand_load(s, 0, P(i)), 'A');
		old[i] = page_at(mm, P(i));
	}
	for (unsigned i = 0; i < 2; i++)
		page_put(old[i]);
	in = (struct intruder){ .mm = mm };
	hook("ksm_frozen", warm_frozen, s);
	ksm_scans(2);
	unhook("ksm_frozen");
	EXPECT_KSM(1, 1, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(page_kind(old[i]) == PAGE_KSM ||
		       !stand_names(s, old[i]));
		EXPECT_EQ(stand_load(s, 0, P(i)), 'A');
		stand_write(s, 0, P(i), 'X');
		EXPECT_EQ(rd(mm, P(i)), 'A');
	}
	expect_sound(s);
}

/* ---- the flush that comes late ------------------------------------------- */

static struct {
	struct page *old;
	unsigned times;
} late;

/* The window is closed and the old frame has not been flushed. */
static void still_held(uint64_t mm, uint64_t va, void *arg)
{
	struct stand *s = arg;

	if (mm != (uint64_t)in.mm || va != P(0) || late.times++)
		return;
	EXPECT(page_kind(late.old) == PAGE_ANON);
	EXPECT_EQ(stand_word(late.old), 'A');
	in.got = stand_read(s, 0, va);
	stand_write(s, 0, va, 'X');
	EXPECT_EQ(stand_word(late.old), 'A');
}

USER_TEST(ksm_device, late_flush_does_no_harm,
	  "flushed behind the window, the old frame is read by the device till "
	  "then, holds the same and is nobody else's; then it is out of reach "
	  "(B11, C92)")
{
	struct mm *mm = all_but_first(s);

	in = (struct intruder){ .mm = mm };
	late.times = 0;
	REQUIRE(!stand_store(s, 0, P(0), 'A'));
	REQUIRE(stand_load(s, 0, P(0)) == 'A');
	late.old = page_at(mm, P(0));
	page_put(late.old);
	ksm_knobs.late_flush = true;
	hook("ksm_frozen", warm_frozen, s);
	hook("unptl", still_held, s);
	ksm_scans(1);
	unhook("unptl");
	unhook("ksm_frozen");
	ksm_knobs_reset();

	EXPECT_EQ(late.times, 1);
	EXPECT(in.got == 'A' || in.got == BLOCKED);
	EXPECT(!stand_names(s, late.old));
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	EXPECT_EQ(stand_store(s, 0, P(0), 'B'), 0);
	EXPECT_EQ(rd(mm, P(1)), 'A');
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
	expect_sound(s);
}
