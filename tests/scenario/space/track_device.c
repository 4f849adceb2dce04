/* SPDX-License-Identifier: MIT */
/*
 * track_device.c - a device writes to pages whose writes are tracked: B33, B59
 *
 * A checkpoint is what the record is for: a copy of memory into which each report brings
 * the pages that it names.  When the writers rest, one more report makes it equal to
 * memory; a write that no report had would be missing.
 */
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define PAGES 8u

static uint64_t written(struct mm *mm)
{
	uint64_t pages = 0;

	EXPECT_EQ(mm_take_written(mm, P(0), P(PAGES), &pages), 0);
	return pages;
}

USER_TEST(
	track_device, write_of_a_device_is_reported,
	"a device that may write a page is refused after a report, until it "
	"faults, and the fault puts the page into the next report; a page that "
	"it reads is in none (B33)")
{
	struct mm *mm = fixture_mm(s, PAGES);

	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(fixture_store(s, 0, P(i), i + 1), 0);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(PAGES)), 0);
	fixture_write(s, 0, P(1), 'x');
	EXPECT_EQ(fixture_load(s, 0, P(1)), 2);
	EXPECT_EQ(fixture_load(s, 0, P(2)), 3);
	EXPECT_EQ(written(mm), 0);
	fixture_write(s, 0, P(1), 'x'); /* a read brought no right to write */
	EXPECT_EQ(fixture_load(s, 0, P(1)), 2);
	EXPECT_EQ(fixture_store(s, 0, P(1), 'a'), 0);
	fixture_write(s, 0, P(1) + 8, 'b'); /* without another fault */
	EXPECT_EQ(fixture_store(s, 0, P(5), 'c'), 0); /* a first touch */
	EXPECT_EQ(written(mm), 0x22);
	EXPECT_EQ(rd(mm, P(1) + 8), 'b');
	EXPECT_EQ(rd(mm, P(5)), 'c');
	fixture_write(s, 0, P(1), 'x');
	EXPECT_EQ(rd(mm, P(1)), 'a');
	EXPECT_EQ(written(mm), 0);
	EXPECT_EQ(mm_untrack_writes(mm, P(0), P(PAGES)), 0);
	EXPECT_EQ(fixture_store(s, 0, P(1), 'd'), 0);
	EXPECT_EQ(rd(mm, P(1)), 'd');
}

/* The steps of a report. */
static const char *const steps[] = { "range_start", "pte_protect", "range",
				     "track_withheld", "range_end" };

static struct {
	struct iommu_fixture *s;
	uint64_t version;
	unsigned hits;
} dev;

/* Write the next version, without a fault; it counts if the device reads it back. */
static void at_step(uint64_t a, uint64_t b, void *arg)
{
	if (dev.hits++)
		return;
	fixture_write(dev.s, 0, P(1), dev.version + 1);
	if (fixture_read(dev.s, 0, P(1)) == dev.version + 1)
		dev.version++;
}

USER_TEST(
	track_device, write_at_each_step_is_reported,
	"a write of a device at any step of a report is refused, or is in that "
	"report")
{
	struct mm *mm = fixture_mm(s, PAGES);
	unsigned landed = 0, refused = 0;

	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	dev.s = s;
	dev.version = 1;
	EXPECT_EQ(fixture_store(s, 0, P(1), 1), 0);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(PAGES)), 0);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(steps); i++) {
		uint64_t before = dev.version, pages;
		bool may = i & 1;

		if (may)
			EXPECT_EQ(fixture_store(s, 0, P(1), ++dev.version), 0);
		before = dev.version;
		dev.hits = 0;
		hook(steps[i / 2], at_step, NULL);
		pages = written(mm);
		unhook(steps[i / 2]);
		EXPECT_EQ(pages, may ? 2 : 0);
		EXPECT(may || dev.version == before);
		landed += dev.version > before;
		refused += dev.hits && dev.version == before;
		EXPECT_EQ(rd(mm, P(1)), dev.version);
	}
	EXPECT(landed > 0 && refused > 0);
}

#define ROUNDS       1000u
#define MODEL_ROUNDS 200u

static struct {
	struct mm *mm;
	_Atomic bool stop;
} run;

/* Write words that are never the same, beside the device, to other words. */
static void cpu_writes(void *unused)
{
	for (uint64_t i = 1; !atomic_load(&run.stop); i++) {
		EXPECT_EQ(wr(run.mm, P(i * 5 % PAGES) + 8, i), 0);
		yield();
	}
}

/* Bring the pages of a report into the copy. */
static void checkpoint(uint64_t copy[PAGES][2], unsigned *most)
{
	uint64_t pages = written(run.mm);
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		if (!(pages & BIT(i)))
			continue;
		copy[i][0] = rd(run.mm, P(i));
		copy[i][1] = rd(run.mm, P(i) + 8);
		n++;
	}
	if (n > *most)
		*most = n;
}

USER_TEST(track_device, checkpoint_is_complete,
	  "beside a device and a CPU that write, the pages of each report are "
	  "copied; when both rest the copy is equal to memory, after many "
	  "reports")
{
	unsigned rounds = s->model ? MODEL_ROUNDS : ROUNDS, most = 0;
	static uint64_t copy[PAGES][2];
	static struct endpoint e;
	struct endpoint_job job;
	struct task cpu;

	fixture_serve(s);
	run.mm = fixture_mm(s, PAGES);
	atomic_store(&run.stop, false);
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned k = 0; k < 2; k++) {
			copy[i][k] = 1;
			EXPECT_EQ(wr(run.mm, P(i) + 8 * k, 1), 0);
		}
	fixture_bind(s, 0, run.mm);
	fixture_may_be_refused(s, 0);
	endpoint_open(&e, s, 0, &(struct endpoint_config){ .limit = 100000 });
	EXPECT_EQ(mm_track_writes(run.mm, P(0), P(PAGES)), 0);
	spawn(&cpu, cpu_writes, NULL);
	/* How often the CPU gives W back before the device asks is a matter of luck. */
	for (unsigned i = 0;
	     i < rounds || i % 8 || e.stats.faults < rounds / 8 / 2; i++) {
		if (i % 8 == 0) {
			job = (struct endpoint_job){ .va = P(i / 8 * 3 % PAGES),
						     .word = i + 2,
						     .write = true };
			endpoint_begin(&e, &job);
		}
		checkpoint(copy, &most);
		if (i % 8 == 7)
			EXPECT_EQ(endpoint_end(&e, &job), 0);
	}
	atomic_store(&run.stop, true);
	join(&cpu);
	endpoint_close(&e);
	checkpoint(copy, &most);
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned k = 0; k < 2; k++)
			EXPECT_EQ(copy[i][k], rd(run.mm, P(i) + 8 * k));
	EXPECT(most > 0 && most <= PAGES);
	EXPECT_EQ(written(run.mm), 0);
}
