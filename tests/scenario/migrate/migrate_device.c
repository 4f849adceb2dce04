/* SPDX-License-Identifier: MIT */
/*
 * migrate_device.c - a device in an address space whose pages move: C70, C72
 */
#include "kernel/err.h"
#include "kernel/rand.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/stress/stress.h"

static void fault_in(void *ret)
{
	*(int *)ret = fixture_fault(0, P(0), PROT_W);
}

USER_TEST(
	migrate_device, fault_waits,
	"a device does not reach a page on its way, its fault waits, and then "
	"it uses the new frame (C72, C121)")
{
	struct mm *mm = fixture_warm(s);
	struct migration m;
	struct task t;
	int ret = 1;

	fixture_may_be_refused(s, 0);
	migration_begin(&m, mm, "migrate_copied");
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	fixture_write(s, 0, P(0), 'X');
	spawn(&t, fault_in, &ret);
	EXPECT(still_waits(&t));
	EXPECT_EQ(migration_end(&m), 0);
	join(&t);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_store(s, 0, P(0), 'B'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'B');
}

#define ROUNDS 40

/* The steps of a migration, in order. */
static const char *const steps[] = { "rmap_walk",        "pte_clear",
				     "tlb_flush",        "pte_set",
				     "migrate_unmapped", "migrate_frozen",
				     "migrate_copied" };

static struct {
	struct iommu_fixture *s;
	uint64_t version; /* the last that the device has written            */
	unsigned hits;    /* of the step in this round                       */
} stream;

/* Write the next version; it counts if the device then reads it back. */
static void at_step(uint64_t a, uint64_t b, void *arg)
{
	if (stream.hits++)
		return;
	fixture_write(stream.s, 0, P(0) + 64, stream.version + 1);
	if (fixture_read(stream.s, 0, P(0) + 64) == stream.version + 1)
		stream.version++;
}

/* Return the device's word of a frame. */
static uint64_t word_of(struct page *page)
{
	return READ_ONCE(*(uint64_t *)(page_va(page) + 64));
}

/* Move the page once, with a write of the device at a step.  Its old frame keeps the
 * last version that the device wrote before the copy: the canary. */
static void round(struct mm *mm, const char *step)
{
	struct page *page = page_at(mm, P(0)), *to = page_alloc();
	uint64_t last;

	REQUIRE(page && to);
	stream.hits = 0;
	hook(step, at_step, NULL);
	EXPECT_EQ(migrate_page(page, to), 0);
	unhook(step);
	last = stream.version;
	EXPECT_EQ(word_of(to), last);
	EXPECT_EQ(fixture_store(stream.s, 0, P(0) + 64, ++stream.version), 0);
	EXPECT_EQ(word_of(page), last);
	EXPECT_EQ(word_of(to), stream.version);
	page_put(page);
	page_put(to);
}

USER_TEST(
	migrate_device, no_write_is_lost,
	"a device that writes version numbers at random steps of 40 "
	"migrations finds the last one that reached memory, and writes nothing "
	"to the old frame (C70, B42)")
{
	struct rng rng = rng_seed(test_seed());
	unsigned written = 0, blocked = 0;
	struct mm *mm = fixture_warm(s);

	stream.s = s;
	stream.version = 1;
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_store(s, 0, P(0) + 64, 1), 0);
	for (unsigned i = 0; i < ROUNDS * stress_times(); i++) {
		uint64_t before = stream.version;

		round(mm, steps[rng_below(&rng, ARRAY_SIZE(steps))]);
		written += stream.version > before + 1;
		blocked += stream.hits && stream.version == before + 1;
		EXPECT_EQ(i & 1 ? rd(mm, P(0) + 64)
				: fixture_load(s, 0, P(0) + 64),
			  stream.version);
	}
	EXPECT(written > 0 && blocked > 0); /* both sides of the flush */
}
