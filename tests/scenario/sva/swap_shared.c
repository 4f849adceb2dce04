/* SPDX-License-Identifier: MIT */
/*
 * swap_shared.c - devices in address spaces that share memory which is swapped out
 *
 * Two address spaces map one object, four times as large as the limit of each, and each
 * has a device that writes version words and reads the other's.  No page is pinned.
 */
#include "mm/core/entry.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/stress/stress.h"

#define REGION  64u          /* pages                                        */
#define MEMORY  (REGION / 4) /* of them that each may map                    */
#define DEVICES 2u
#define PASSES  2u
#define LIMIT   1200 /* seconds: `make stress` is 200 times as long        */

/* Return an mm with room for the devices' own pages, that maps the object. */
static struct mm *shared_mm(struct iommu_fixture *s, struct object *object)
{
	struct mm *mm = fixture_mm(s, 1);

	REQUIRE(!mm_map(mm, VA, object->pages * PAGE_SIZE, RW, MAP_REPLACE,
			object, 0, NULL));
	return mm;
}

/* Swap out page 0, and return whether it was written to the store. */
static bool out_writes(struct mm *mm)
{
	uint64_t before = swap_fixture_writes();

	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	return swap_fixture_writes() > before;
}

USER_TEST(swap_shared, device_finds_it,
	  "a device does not reach the frame of a shared page that was swapped "
	  "out, and "
	  "finds it by a fault; what it has written since is written to the "
	  "store again, and "
	  "what it has only read is not (B33, B42, C122)")
{
	struct object *object = object_create(1);
	struct page *page;
	struct mm *mm;

	REQUIRE(object);
	swap_fixture_begin(4);
	mm = shared_mm(s, object);
	fixture_bind(s, 0, mm);
	EXPECT_EQ(fixture_store(s, 0, P(0), 'A'), 0);
	page = page_at(mm, P(0));
	REQUIRE(page);
	EXPECT_EQ(swap_out(page), 0);
	fixture_expect_lost(s, P(0), page);
	page_put(page);
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT(!out_writes(mm)); /* it has only been read */
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(fixture_store(s, 0, P(0), 'a' + i), 0);
		EXPECT(out_writes(mm));
		EXPECT_EQ(i & 1 ? rd(mm, P(0)) : fixture_load(s, 0, P(0)),
			  'a' + i);
		EXPECT(!out_writes(mm));
	}
	/* An entry that gains W with the region's rights has no D. */
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'd');
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	REQUIRE(!mm_protect(mm, P(0), P(1), RW));
	EXPECT_EQ(entry_at(mm, P(0)) & (ENTRY_W | PTE_D), ENTRY_W);
	if (fixture_kind() == USER_SVA) {
		fixture_write(s, 0, P(0), 'D'); /* without a fault */
		EXPECT(out_writes(mm));
		EXPECT_EQ(rd(mm, P(0)), 'D');
	}
	object_put(object);
	fixture_unbind(s, 0);
	fixture_exit(mm);
	swap_fixture_end();
}

/* ---- two that stream ------------------------------------------------------- */

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

/* Device d writes its version to page i, or reads the other's. */
static void device_access(unsigned d, unsigned i, unsigned pass, bool write)
{
	unsigned of = write ? d : !d;
	struct endpoint_job job = { .va = word_of(of, i),
				    .word = version(of, i, pass),
				    .write = write };

	endpoint_begin(&endpoints[d], &job);
	EXPECT_EQ(endpoint_end(&endpoints[d], &job), 0);
	EXPECT_EQ(job.word, version(of, i, pass));
}

/* Both devices go over the region, half of it apart; a CPU reads what they write. */
static void stream_pass(struct mm **mm, unsigned pass)
{
	for (unsigned i = 0; i < REGION; i++) {
		unsigned other = (i + REGION / 2) % REGION;

		device_access(0, i, pass, true);
		device_access(1, other, pass, true);
		EXPECT_EQ((uint32_t)rd(mm[i & 1], word_of(0, i)),
			  version(0, i, pass));
	}
	for (unsigned i = 0; i < REGION; i++) {
		device_access(0, i, pass, false);
		device_access(1, REGION - 1 - i, pass, false);
		EXPECT(mm[0]->mapped <= MEMORY + 4 &&
		       mm[1]->mapped <= MEMORY + 4);
	}
}

static void swap_shared_two_stream(struct iommu_fixture *s)
{
	unsigned passes = (s->model ? 1 : PASSES) * stress_times();
	struct object *object = object_create(REGION);
	struct mm *mm[DEVICES];
	struct swap_stat stat;

	REQUIRE(object);
	swap_fixture_begin(2 * REGION);
	fixture_serve(s);
	for (unsigned d = 0; d < DEVICES; d++) {
		mm[d] = shared_mm(s, object);
		mm_set_limit(mm[d], MEMORY);
		fixture_bind(s, d, mm[d]);
		endpoint_open(&endpoints[d], s, d,
			      &(struct endpoint_config){ .limit = 1000000 });
	}
	for (unsigned pass = 0; pass < passes; pass++)
		stream_pass(mm, pass);
	stat = swap_stat();
	test_note("%lu pages out, of them %lu unwritten, %lu in", stat.outs,
		  stat.clean, stat.ins);
	EXPECT(stat.outs > passes * REGION);
	EXPECT(stat.clean > passes);
	for (unsigned d = 0; d < DEVICES; d++)
		endpoint_close(&endpoints[d]);
	object_put(object);
	swap_fixture_end();
}

USER_TEST_IN(
	swap_shared, two_stream, sva, USER_SVA, qemu,
	"two devices in two address spaces, each with a limit of a quarter "
	"of the object that both map, read each other's versions (C41)",
	LIMIT);
USER_TEST_IN(
	swap_shared, two_stream, sva, USER_SVA, model,
	"two devices in two address spaces, each with a limit of a quarter "
	"of the object that both map, on the strict model (C41)",
	LIMIT);
USER_TEST_IN(
	swap_shared, two_stream, mirror, USER_MIRROR, qemu,
	"two devices with mirrors of two address spaces, each with a limit "
	"of a quarter of the object that both map, read each other's "
	"versions (C41)",
	LIMIT);
USER_TEST_IN(
	swap_shared, two_stream, mirror, USER_MIRROR, model,
	"two devices with mirrors of two address spaces, each with a limit "
	"of a quarter of the object that both map, on the strict model "
	"(C41)",
	LIMIT);
