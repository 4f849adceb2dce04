/* SPDX-License-Identifier: MIT */
/*
 * swap_device.c - a device in an address space whose pages are swapped out
 *
 * No pin: the device faults a page back as a CPU does (C38, C41, C68, C73, C122).
 */
#include "kernel/err.h"
#include "kernel/rand.h"
#include "mm/core/entry.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/stress/stress.h"

USER_TEST(swap_device, page_comes_back,
	  "a page that a device uses is swapped out at the first attempt; the "
	  "device "
	  "does not reach its frame, faults, and finds the content (C38)")
{
	struct mm *mm;
	struct page *page;

	swap_fixture_begin(4);
	mm = fixture_warm(s);
	page = page_at(mm, P(0));
	REQUIRE(page);
	EXPECT_EQ(swap_out_at(mm, P(0)), -EBUSY); /* the reference above */
	fixture_expect_lost(s, P(0), page);
	EXPECT_EQ(swap_out(page), 0);
	page_put(page);
	EXPECT(swapped_at(mm, P(0)));
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_store(s, 0, P(0), 'B'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'B');
	swap_fixture_end();
}

USER_TEST(swap_device, written_by_the_device_only,
	  "what only a device has written to a page comes back from the store "
	  "(B33, "
	  "C122)")
{
	struct mm *mm;

	swap_fixture_begin(4);
	mm = fixture_warm(s);
	for (unsigned i = 0; i < 8; i++) {
		fixture_write(s, 0, P(0), 'a' + i);
		EXPECT_EQ(swap_out_at(mm, P(0)), 0);
		EXPECT_EQ(i & 1 ? rd(mm, P(0)) : fixture_load(s, 0, P(0)),
			  'a' + i);
		REQUIRE(!fixture_fault(0, P(0), PROT_W));
	}
	swap_fixture_end();
}

USER_TEST(swap_device, failed_read_refuses_the_device,
	  "a device's fault on a page that cannot be read from the store is "
	  "refused "
	  "with -EIO, and the next one is served")
{
	struct mm *mm;

	swap_fixture_begin(4);
	mm = fixture_warm(s);
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	swap_fixture_fail(1, 0);
	EXPECT_EQ(fixture_fault(0, P(0), PROT_R), -EIO);
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	swap_fixture_end();
}

static void fault_in(void *ret)
{
	*(int *)ret = fixture_fault(0, P(0), PROT_W);
}

static void write_word(void *mm)
{
	EXPECT_EQ(wr(mm, P(0) + 8, 'C'), 0);
}

USER_TEST(swap_device, cpu_and_device_get_one_page,
	  "a CPU and a device that bring one page back at the same time get "
	  "one frame "
	  "from one read, and the writes of both are kept (C73, H47)")
{
	struct sync_point g;
	struct task cpu, dev;
	struct mm *mm;
	int ret = 1;

	swap_fixture_begin(4);
	mm = fixture_warm(s);
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	swap_fixture_stop(&g, NULL);
	spawn(&dev, fault_in, &ret);
	sync_point_await(&g);
	spawn(&cpu, write_word, mm);
	EXPECT(still_waits(&cpu));
	sync_point_release(&g);
	swap_fixture_stop(NULL, NULL);
	join(&dev);
	join(&cpu);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(fixture_store(s, 0, P(0) + 16, 'D'), 0);
	EXPECT_EQ(swap_fixture_reads(), 1);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_load(s, 0, P(0) + 8), 'C');
	EXPECT_EQ(rd(mm, P(0) + 16), 'D');
	swap_fixture_end();
}

static void swap_device_page_the_device_uses_stays(struct iommu_fixture *s)
{
	struct mm *mm;

	swap_fixture_begin(4);
	mm = fixture_mm(s, 4);
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(fixture_store(s, 0, P(i), i + 1), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct page *page = page_at(mm, P(i));

		REQUIRE(page);
		page_referenced(page);
		page_put(page);
	}
	EXPECT_EQ(fixture_load(s, 0, P(1)), 2);
	EXPECT_EQ(mm_reclaim(mm, 3), 3);
	EXPECT(!swapped_at(mm, P(1)));
	EXPECT(swapped_at(mm, P(0)) && swapped_at(mm, P(2)) &&
	       swapped_at(mm, P(3)));
	swap_fixture_end();
}

/* Tables that a device shares with the CPU have no accessed bits of its own. */
USER_TEST_AS(swap_device, page_the_device_uses_stays, mirror, USER_MIRROR, qemu,
	     "the page that only the device has used is not swapped out before "
	     "three "
	     "idle ones (C74, B36)");
USER_TEST_AS(swap_device, page_the_device_uses_stays, mirror, USER_MIRROR,
	     model,
	     "the page that only the device has used is not swapped out before "
	     "three "
	     "idle ones, on the strict model (C74, B36)");

/* ---- a device that writes at a random step ---------------------------------- */

#define ROUNDS 40

/* The steps of a swap-out, in order, and of what follows. */
static const char *const steps[] = { "swap_begun",    "pte_clear",
				     "tlb_flush",     "pte_set",
				     "swap_unmapped", "swap_write",
				     "swap_written" };

static struct {
	struct iommu_fixture *s;
	uint64_t version; /* the last that the device has written            */
	unsigned hits;    /* of the step in this round                       */
} stream;

/* Write the next version; it counts if the device then reads it back. */
static void device_writes(void)
{
	fixture_write(stream.s, 0, P(0) + 64, stream.version + 1);
	if (fixture_read(stream.s, 0, P(0) + 64) == stream.version + 1)
		stream.version++;
}

static void at_step(uint64_t a, uint64_t b, void *arg)
{
	if (!stream.hits++)
		device_writes();
}

USER_TEST(swap_device, no_write_is_lost,
	  "a device that writes version numbers at random steps of 40 "
	  "swap-outs finds "
	  "the last one that reached memory when the page is back (C68, B42)")
{
	struct rng rng = rng_seed(test_seed());
	unsigned written = 0, blocked = 0;
	struct mm *mm;

	swap_fixture_begin(4);
	mm = fixture_warm(s);
	stream.s = s;
	stream.version = 1;
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_store(s, 0, P(0) + 64, 1), 0);
	for (unsigned i = 0; i < ROUNDS * stress_times(); i++) {
		const char *step = steps[rng_below(&rng, ARRAY_SIZE(steps))];
		uint64_t before = stream.version;

		stream.hits = 0;
		hook(step, at_step, NULL);
		EXPECT_EQ(swap_out_at(mm, P(0)), 0);
		unhook(step);
		written += stream.version > before;
		blocked += stream.hits && stream.version == before;
		EXPECT_EQ(i & 1 ? rd(mm, P(0) + 64)
				: fixture_load(s, 0, P(0) + 64),
			  stream.version);
		EXPECT_EQ(fixture_store(s, 0, P(0) + 64, ++stream.version), 0);
	}
	EXPECT(written > 0 && blocked > 0); /* both sides of the flush */
	swap_fixture_end();
}
