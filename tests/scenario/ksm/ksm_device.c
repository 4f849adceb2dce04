/* SPDX-License-Identifier: MIT */
/*
 * ksm_device.c - pages merge while a device uses them: C90-C92, B45, B46
 *
 *   step    batch_end checksummed write_protect | write_protected compared set end
 *   device  may write by a cached translation   | may not, before a page request
 *
 * A hook at a step makes the device write at once, by the translation that it has
 * cached, without a fault.  A write before the flush is kept and stops the merge; a
 * write after it is refused.
 */
#include "kernel/rand.h"
#include "kernel/string.h"
#include "mm/core/entry.h"
#include "tests/fake/late_flush.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/stress/stress.h"

/* Steps of a merge, in order; from FROZEN on no write is possible. */
static const char *const steps[] = {
	"ksm_batch_end",
	"ksm_checksummed",
	"ksm_write_protect",
	"ksm_write_protected",
	"ksm_compared",
	"pte_set",
	"unptl",
	"range_end",
	"range_ended",
};

#define FROZEN 3u
#define STEPS  ARRAY_SIZE(steps)

/* An access of the device at one step of a merge. */
static struct intruder {
	struct iommu_fixture *s;
	struct mm *mm;
	unsigned dev;
	uint64_t word;   /* written; 0: the device reads                 */
	unsigned chosen; /* step at which it happens                     */
	unsigned came;
	struct page *page; /* the frame of page 0 before the merge        */
	bool arrived;      /* the write reached that frame                */
	uint64_t got;      /* the word read                               */
} in;

static unsigned numbers[STEPS];

static void at_step(uint64_t mm, uint64_t va, void *arg)
{
	if (*(unsigned *)arg != in.chosen || mm != (uint64_t)in.mm ||
	    va != P(0) || in.came++)
		return;
	if (in.word) {
		fixture_write(in.s, in.dev, va, in.word);
		in.arrived = fixture_word(in.page) == in.word;
	} else {
		in.got = fixture_read(in.s, in.dev, va);
	}
}

static void intrude(struct iommu_fixture *s, unsigned dev, struct mm *mm)
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

/* Scans one pass, with the access at step `chosen`. */
static void pass(unsigned chosen, uint64_t word)
{
	in.chosen = chosen;
	in.word = word;
	in.came = 0;
	in.page = page_at(in.mm, P(0));
	page_put(in.page); /* one more reference would stop the merge */
	ksm_scans(1);
}

/* Ends the accesses before the test ends. */
static void expect_sound(struct iommu_fixture *s)
{
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(iommu_check(s->iommu));
	EXPECT_STR_NULL(fixture_check(0));
	EXPECT_STR_NULL(fixture_check(1));
}

/* Makes n mergeable pages of 'A', and attaches device 0. */
static struct mm *merging(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = fixture_mm(s, n);

	REQUIRE(!ksm_mergeable(mm, VA, P(n)));
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 'A'));
	fixture_bind(s, 0, mm);
	return mm;
}

/* The same, with all pages but page 0 merged. */
static struct mm *all_but_first(struct iommu_fixture *s)
{
	struct mm *mm = merging(s, 3);

	REQUIRE(!wr(mm, P(0), 'B'));
	ksm_scans(2);
	REQUIRE(same_frame(mm, P(1), mm, P(2)));
	return mm;
}

/* ---- writes against the merger ------------------------------------------- */

#define ROUNDS 2000u /* of a chip that walks the mm's tables; else a fourth */
#define LIMIT  60    /* seconds */

struct outcome {
	bool landed; /* the write reached the page                       */
	bool sound;
};

/*
 * The device makes page 0 equal to the merged ones, and so has the right to write it
 * cached.  Then scan a pass, with a write of the device at the given step.
 */
static struct outcome round_of(struct iommu_fixture *s, struct mm *mm,
			       unsigned step)
{
	int error = fixture_store(s, 0, P(0), 'A');
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

static void ksm_device_writes_against_the_merger(struct iommu_fixture *s)
{
	struct mm *mm = all_but_first(s);
	struct rng rng = rng_seed(90);
	struct outcome o = { .sound = true };
	bool whole = !s->model && fixture_kind() == USER_SVA;
	unsigned end = (whole ? ROUNDS : ROUNDS / 4) * stress_times();
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
	     "in 2,000 merges a device writes by a cached right at a random "
	     "step: either the page is not merged, or the write is refused "
	     "(C90, B45, B46)",
	     LIMIT);
USER_TEST_IN(ksm_device, writes_against_the_merger, sva, USER_SVA, model,
	     "500 merges with a write of the device, on the strict model",
	     LIMIT);
USER_TEST_IN(ksm_device, writes_against_the_merger, mirror, USER_MIRROR, qemu,
	     "500 merges with a write of a device that has its own tree",
	     LIMIT);
USER_TEST_IN(ksm_device, writes_against_the_merger, mirror, USER_MIRROR, model,
	     "500 merges with a write of a mirror, on the strict model", LIMIT);

USER_TEST(ksm_device, write_before_the_flush_stops_the_merge,
	  "a device's write before the flush that takes W is kept, and the "
	  "comparison sees it (C90)")
{
	struct mm *mm = all_but_first(s);

	intrude(s, 0, mm);
	for (unsigned step = 0; step < FROZEN; step++) {
		bool landed = round_of(s, mm, step).landed;
		struct ksm_stat stat;

		/* Its own table is empty from the start of the invalidation. */
		EXPECT(landed || !strcmp(steps[step], "ksm_write_protect"));
		ksm_stat(&stat);
		EXPECT_EQ(stat.pages_sharing, 1 + !landed);
		expect_sound(s);
	}
	intrude_end();
}

USER_TEST(ksm_device, write_after_the_flush_is_refused,
	  "a device's write after the comparison is refused; its page request "
	  "gets a copy, and the repeated write reaches that (C91)")
{
	struct mm *mm = all_but_first(s);

	intrude(s, 0, mm);
	for (unsigned step = FROZEN; step < STEPS; step++) {
		EXPECT(!round_of(s, mm, step).landed);
		EXPECT_KSM(1, 2, 0, 0);
		expect_sound(s);
		EXPECT_EQ(fixture_store(s, 0, P(0), 'C'), 0);
		EXPECT_EQ(rd(mm, P(0)), 'C');
		EXPECT_EQ(rd(mm, P(1)), 'A');
		EXPECT_KSM(1, 1, 0, 0);
	}
	intrude_end();
}

/* ---- reads ----------------------------------------------------------------- */

USER_TEST(ksm_device, device_reads_the_content_at_each_step,
	  "at every step of a merge a device reads the page's content or is "
	  "refused (C92)")
{
	struct mm *mm = all_but_first(s);

	intrude(s, 0, mm);
	for (unsigned step = 0; step < STEPS; step++) {
		REQUIRE(!fixture_store(s, 0, P(0), 'A'));
		REQUIRE(fixture_load(s, 0, P(0)) == 'A');
		pass(step, 0);
		EXPECT_EQ(in.came, 1);
		EXPECT(in.got == 'A' || in.got == BLOCKED);
		EXPECT(is_merged(mm, P(0)));
		EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
		expect_sound(s);
	}
	intrude_end();
}

/* Caches the old frame again, after the flush that took W. */
static void warm_frozen(uint64_t mm, uint64_t va, void *arg)
{
	if (mm == (uint64_t)in.mm)
		fixture_read(arg, 0, va);
}

USER_TEST(ksm_device, device_reads_the_content_before_and_after,
	  "a device reads the same content before and after a merge, and "
	  "after it not from the old frame")
{
	struct mm *mm = merging(s, 2);
	struct page *old[2];

	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(fixture_load(s, 0, P(i)), 'A');
		old[i] = page_at(mm, P(i));
	}
	for (unsigned i = 0; i < 2; i++)
		page_put(old[i]);
	in = (struct intruder){ .mm = mm };
	hook("ksm_write_protected", warm_frozen, s);
	ksm_scans(2);
	unhook("ksm_write_protected");
	EXPECT_KSM(1, 1, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(page_kind(old[i]) == PAGE_KSM ||
		       !fixture_names(s, old[i]));
		EXPECT_EQ(fixture_load(s, 0, P(i)), 'A');
		fixture_write(s, 0, P(i), 'X');
		EXPECT_EQ(rd(mm, P(i)), 'A');
	}
	expect_sound(s);
}

/* ---- the flush that comes late ------------------------------------------- */

static struct {
	struct page *old;
	unsigned times;
} late;

/* The locks are dropped and the old frame has not been flushed. */
static void still_held(uint64_t mm, uint64_t va, void *arg)
{
	struct iommu_fixture *s = arg;

	if (mm != (uint64_t)in.mm || va != P(0) || late.times++)
		return;
	EXPECT(page_kind(late.old) == PAGE_ANON);
	EXPECT_EQ(fixture_word(late.old), 'A');
	in.got = fixture_read(s, 0, va);
	fixture_write(s, 0, va, 'X');
	EXPECT_EQ(fixture_word(late.old), 'A');
}

USER_TEST(ksm_device, late_flush_does_no_harm,
	  "where the flush of a merged page waits for the end of the "
	  "invalidation, the device reads the same until then, by the old "
	  "frame, which is not free; then that frame is out of its reach "
	  "(B11, C92)")
{
	struct mm *mm = all_but_first(s);
	struct mmu_notifier *mn = fixture_binding(0)->mn;
	const struct mmu_notifier_ops *ops = mn->ops;

	in = (struct intruder){ .mm = mm };
	late.times = 0;
	REQUIRE(!fixture_store(s, 0, P(0), 'A'));
	REQUIRE(fixture_load(s, 0, P(0)) == 'A');
	late.old = page_at(mm, P(0));
	page_put(late.old);
	mn->ops = late_flush_of_merges(ops, mm);
	hook("ksm_write_protected", warm_frozen, s);
	hook("range_end", still_held, s);
	ksm_scans(1);
	unhook("range_end");
	unhook("ksm_write_protected");
	EXPECT_EQ(late_flush_over(), 1);
	mn->ops = ops; /* a quiet point again */

	EXPECT_EQ(late.times, 1);
	EXPECT(in.got == 'A' || in.got == BLOCKED);
	EXPECT(!fixture_names(s, late.old));
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_store(s, 0, P(0), 'B'), 0);
	EXPECT_EQ(rd(mm, P(1)), 'A');
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	expect_sound(s);
}
