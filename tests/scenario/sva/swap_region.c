/* SPDX-License-Identifier: MIT */
/*
 * swap_region.c - two devices stream over a region four times as large as memory: C41
 *
 * The address space has a limit of a quarter of the region.  Two devices write a
 * version word of their own to each page, and read it back, pass after pass, each at
 * another place; a CPU reads both.  No page is pinned: each access to a page that is
 * swapped out is a page request, which a worker serves (iommu/sva/ppr.h) by a fault that first
 * swaps out what was not used lately.  On QEMU the words move by real DMA.
 */
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/stress/stress.h"

#define REGION  128u         /* pages                                        */
#define MEMORY  (REGION / 4) /* of them that may be mapped                   */
#define DEVICES 2u
#define PASSES  2u
#define LIMIT   1200 /* seconds: `make stress` is 200 times as long        */
#define FAULTS  4u   /* that are served at once, each may add a page          */

static struct endpoint endpoints[DEVICES];

/* What device d writes to page i in a pass: never 0, and never twice the same. */
static uint32_t version(unsigned d, unsigned i, unsigned pass)
{
	return (pass * REGION + i) * DEVICES + d + 1;
}

static va_t word_of(unsigned d, unsigned i)
{
	return P(i) + 64 * (d + 1);
}

/* Both devices access a page each, at the same time: device d page (i + d half
 * regions). */
static void access_both(unsigned i, unsigned pass, bool write)
{
	struct endpoint_job jobs[DEVICES];

	for (unsigned d = 0; d < DEVICES; d++) {
		unsigned page = (i + d * REGION / 2) % REGION;

		jobs[d] = (struct endpoint_job){ .va = word_of(d, page),
						 .word = version(d, page, pass),
						 .write = write };
		endpoint_begin(&endpoints[d], &jobs[d]);
	}
	for (unsigned d = 0; d < DEVICES; d++) {
		unsigned page = (i + d * REGION / 2) % REGION;

		EXPECT_EQ(endpoint_end(&endpoints[d], &jobs[d]), 0);
		EXPECT_EQ(jobs[d].word, version(d, page, pass));
	}
}

/* A CPU reads the words of both in some pages. */
static void cpu_reads(struct mm *mm, unsigned pass)
{
	for (unsigned i = pass % 7; i < REGION; i += 7)
		for (unsigned d = 0; d < DEVICES; d++)
			EXPECT_EQ((uint32_t)rd(mm, word_of(d, i)),
				  version(d, i, pass));
}

/* No page of the region is pinned, and no more are mapped than may be. */
static void look(struct mm *mm, uint64_t *most)
{
	uint64_t mapped;

	spin_lock(&mm->pt_lock);
	mapped = mm->mapped;
	spin_unlock(&mm->pt_lock);
	if (mapped > *most)
		*most = mapped;
}

static void swap_region_devices_stream(struct iommu_fixture *s)
{
	unsigned passes = (s->model ? 1 : PASSES) * stress_times();
	struct swap_stat stat;
	uint64_t most = 0;
	struct mm *mm;

	swap_fixture_begin(2 * REGION);
	fixture_serve(s);
	mm = fixture_mm(s, REGION);
	mm_set_limit(mm, MEMORY);
	for (unsigned d = 0; d < DEVICES; d++) {
		fixture_bind(s, d, mm);
		endpoint_open(&endpoints[d], s, d,
			      &(struct endpoint_config){ .limit = 1000000 });
	}
	for (unsigned pass = 0; pass < passes; pass++) {
		for (unsigned i = 0; i < REGION; i++) {
			access_both(i, pass, true);
			look(mm, &most);
		}
		for (unsigned i = 0; i < REGION; i++) {
			access_both(i, pass, false);
			look(mm, &most);
		}
		cpu_reads(mm, pass);
	}
	stat = swap_stat();
	test_note("%lu pages out, %lu in, at most %lu mapped; %lu and %lu page "
		  "requests",
		  stat.outs, stat.ins, most, endpoints[0].stats.faults,
		  endpoints[1].stats.faults);
	EXPECT(most <= MEMORY + FAULTS);
	EXPECT(stat.outs > passes * REGION);
	EXPECT(stat.ins > passes * REGION / 2);
	for (unsigned d = 0; d < DEVICES; d++)
		endpoint_close(&endpoints[d]);
	swap_fixture_end();
}

/* ---- a hot set that only a device uses --------------------------------- */

#define HOT   8u           /* pages                                          */
#define EVERY 4u           /* of the stream, between two uses of each of them */
#define WARM  (2 * MEMORY) /* of the stream: then each had a whole turn       */

/* A CPU writes a stream of pages once each; a device reads a few again and again.  Of
 * those none is swapped out once the hand has gone round.  (A device that walks the mm's
 * own table sets no accessed bit: it has no such test.) */
static void swap_region_hot_set_stays(struct iommu_fixture *s)
{
	unsigned early = 0, late = 0;
	struct mm *mm;

	swap_fixture_begin(2 * REGION);
	mm = fixture_mm(s, REGION);
	mm_set_limit(mm, MEMORY);
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < REGION; i++) {
		REQUIRE(!wr(mm, P(i), i + 1));
		for (unsigned k = 0; i % EVERY == 0 && k < HOT && k <= i; k++) {
			*(i < WARM ? &early : &late) += swapped_at(mm, P(k));
			EXPECT_EQ(fixture_load(s, 0, P(k)), k + 1);
		}
	}
	test_note(
		"%u uses found a page in swap before the hand had gone round, "
		"%u after; %lu pages out",
		early, late, swap_stat().outs);
	EXPECT_EQ(late, 0);
	EXPECT(swap_stat().outs >= REGION - MEMORY);
	swap_fixture_end();
}

USER_TEST_AS(
	swap_region, hot_set_stays, mirror, USER_MIRROR, qemu,
	"pages that only a device uses stay in memory beside a stream of pages "
	"that are used once (B36, C74)");
USER_TEST_AS(
	swap_region, hot_set_stays, mirror, USER_MIRROR, model,
	"pages that only a device uses stay in memory beside a stream of pages "
	"that are used once, on the strict model (B36, C74)");

USER_TEST_IN(
	swap_region, devices_stream, sva, USER_SVA, qemu,
	"two devices that walk the mm's page table stream over a region of "
	"four "
	"times the memory limit, without a pin: every version is right (C41)",
	LIMIT);
USER_TEST_IN(swap_region, devices_stream, sva, USER_SVA, model,
	     "two devices that walk the mm's page table stream over a region "
	     "of four "
	     "times the memory limit, on the strict model (C41)",
	     LIMIT);
USER_TEST_IN(swap_region, devices_stream, mirror, USER_MIRROR, qemu,
	     "two devices with a mirror of the mm stream over a region of four "
	     "times "
	     "the memory limit, without a pin: every version is right (C41)",
	     LIMIT);
USER_TEST_IN(swap_region, devices_stream, mirror, USER_MIRROR, model,
	     "two devices with a mirror of the mm stream over a region of four "
	     "times "
	     "the memory limit, on the strict model (C41)",
	     LIMIT);
