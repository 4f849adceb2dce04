/* SPDX-License-Identifier: MIT */
/*
 * working_set.c - pages flow between swap, RAM and the memory of a device
 *
 * Every page has words that only one side counts up, so that a copy that is lost, or
 * made too early, leaves a word too small.
 */
#include "kernel/err.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/rmap/migrate.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fake/fake_device.h"
#include "tests/fixture/mm/swap_fixture.h"

#define ROOM  8u /* pages of RAM, and of the device                        */
#define PAGES (2 * ROOM + 2 * ROOM)
#define STEPS 3000u

/* ---- one thread ------------------------------------------------------------- */

static uint64_t by_cpu[PAGES], by_device[PAGES];

/* Have page i with the device: from swap by a fault, with room made by an eviction. */
static void fetch(struct fake_device *d, struct mm *mm, unsigned i)
{
	if (device_has(d, mm, P(i)))
		return;
	if (device_memory_used(&d->memory) == ROOM)
		REQUIRE(device_memory_evict(&d->memory, 2) == 2);
	REQUIRE(!mm_fault(mm, P(i), PROT_W));
	REQUIRE(device_take(d, mm, i, 1) == 1);
}

/* The device counts its first word of page i up. */
static void device_step(struct fake_device *d, struct mm *mm, unsigned i)
{
	fetch(d, mm, i);
	EXPECT_EQ(device_word(d, mm, P(i)), by_device[i]);
	EXPECT_EQ(device_store(d, mm, P(i), ++by_device[i]), 0);
}

/* A CPU counts the second one up. */
static void cpu_step(struct mm *mm, unsigned i)
{
	EXPECT_EQ(rd(mm, P(i) + 8), by_cpu[i]);
	EXPECT_EQ(wr(mm, P(i) + 8, ++by_cpu[i]), 0);
}

TEST(working_set, larger_than_ram_and_device,
     "a CPU and a device work on a region of twice the RAM limit and twice the "
     "device's memory; pages flow between swap, RAM and the device by faults, "
     "and every word is the last one written")
{
	struct fake_device *d = fake_device(0, ROOM);
	struct mm *mm = swap_fixture(2 * PAGES, PAGES);
	struct rng rng = rng_seed(test_seed());

	memset(by_cpu, 0, sizeof(by_cpu));
	for (unsigned i = 0; i < PAGES; i++)
		by_device[i] = i + 1; /* as the fixture wrote it */
	mm_set_limit(mm, ROOM);
	for (unsigned n = 0; n < STEPS; n++) {
		unsigned i = (unsigned)rng_below(&rng, PAGES);

		if (rng_below(&rng, 2))
			device_step(d, mm, i);
		else
			cpu_step(mm, i);
	}
	EXPECT(swap_fixture_writes() > ROOM && d->copies > ROOM);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(rd(mm, P(i)), by_device[i]);
		EXPECT_EQ(rd(mm, P(i) + 8), by_cpu[i]);
	}
	mm_put(mm);
	fake_device_end(d);
	swap_fixture_end();
}

/* ---- several ---------------------------------------------------------------- */

#define SPAN   6u
#define ROUNDS 400u

static struct mm *shared_mm;
static struct fake_device *shared_device;

/* Return whether a thread that has made n rounds goes on: until a page has gone to the
 * device.  One that is written after the last fork can. */
static bool more(unsigned n)
{
	return n < ROUNDS || !atomic_load(&shared_device->copies);
}

/* A writer of one word in each page. */
struct writer {
	unsigned word;
	uint64_t counts[SPAN];
};

static void write_words(void *arg)
{
	struct writer *w = arg;
	struct rng rng = rng_seed(test_seed() + w->word);

	for (unsigned n = 0; more(n); n++) {
		unsigned i = (unsigned)rng_below(&rng, SPAN);
		va_t va = P(i) + 8 * w->word;

		EXPECT_EQ(rd(shared_mm, va), w->counts[i]);
		EXPECT_EQ(wr(shared_mm, va, ++w->counts[i]), 0);
	}
}

/* Take ranges to the device, at times with a copy that fails, and evict. */
static void migrate_ranges(void *unused)
{
	struct rng rng = rng_seed(test_seed() + 99);

	for (unsigned n = 0; more(n); n++) {
		unsigned i = (unsigned)rng_below(&rng, SPAN);
		unsigned k = 1 + (unsigned)rng_below(&rng, SPAN - i);

		EXPECT(device_take(shared_device, shared_mm, i, k) >= 0);
		if (!rng_below(&rng, 4))
			device_memory_evict(&shared_device->memory, k);
	}
}

static void fork_and_exit(void *unused)
{
	for (unsigned n = 0; n < ROUNDS / 8; n++)
		mm_put(fork_of(shared_mm));
}

TEST(working_set, storm,
     "two CPUs write, one thread migrates and evicts, one forks, at once: no "
     "write is lost, and every page of the device is free at the end")
{
	static struct writer a, b;
	struct task t[4];

	a = (struct writer){ .word = 0 };
	b = (struct writer){ .word = 1 };
	shared_mm = mm_fixture(SPAN);
	shared_device = fake_device(0, SPAN);
	spawn(&t[0], write_words, &a);
	spawn(&t[1], write_words, &b);
	spawn(&t[2], migrate_ranges, NULL);
	spawn(&t[3], fork_and_exit, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		join(&t[i]);
	EXPECT_STR_NULL(mm_check());
	for (unsigned i = 0; i < SPAN; i++) {
		EXPECT_EQ(rd(shared_mm, P(i)), a.counts[i]);
		EXPECT_EQ(rd(shared_mm, P(i) + 8), b.counts[i]);
	}
	mm_put(shared_mm);
	fake_device_end(shared_device);
}
