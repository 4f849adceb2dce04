/* SPDX-License-Identifier: MIT */
/*
 * moves.c - a page moves to another frame, to a device and back, or is a device's alone:
 * races 21 to 25
 */
#include "kernel/probe.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "mm/space/pin.h"
#include "tests/explore/scene.h"
#include "tests/fake/fake_device.h"
#include "tests/fake/hmm_driver.h"

static struct {
	struct mm *mm;
	struct page *page, *to; /* of page 0; the frame to which it moves    */
	struct page *pinned;
	int error;
} now;

/* An actor: move page 0.  Only the caller of page_alloc() in setup() has `to`. */
static void move(const struct exploration *x)
{
	now.error = migrate_page(now.page, now.to);
}

static void hold_frames(struct mm *mm)
{
	now.mm = mm;
	now.pinned = NULL;
	now.page = page_at(mm, P(0));
	now.to = page_alloc();
	REQUIRE(now.page && now.to);
}

static void drop_frames(void)
{
	page_put(now.page);
	page_put(now.to);
}

/* ---- beside a device ---------------------------------------------------- */

static void scene_of_one(const struct exploration *x)
{
	scene_begin(x, 2, 1);
	device_writes(&scene.client[0], A, 10);
	hold_frames(scene.mm);
}

static void scene_over(const struct exploration *x)
{
	scene_end(x);
	drop_frames();
}

static const char *no_write_in_the_old_frame(const struct exploration *x)
{
	if (now.error)
		return "a page that nobody pins does not move";
	return fixture_word(now.page) == 66 && fixture_word(now.to) != 66
		       ? "a device's write is in the frame that was the page"
		       : NULL;
}

static struct exploration move_write = {
	.setup = scene_of_one,
	.teardown = scene_over,
	.verdict = no_write_in_the_old_frame,
	.actors = { { "moves", move }, { "device", device_uses_a } },
};

QEMU_TEST(explore, migration_flushed_in_start_is_found,
	  "the explorer finds that a client which flushes in "
	  "invalidate_range_start lets a device write to a frame that was "
	  "copied")
{
	scene_explore(s, &move_write, &only_start, true);
}

QEMU_TEST(explore, migration_beside_dma_writes,
	  "in every order of a migration and a DMA write the write is in the "
	  "frame that is the page, or refused (C70)")
{
	scene_explore(s, &move_write, SVA, false);
}

/* ---- beside CPUs -------------------------------------------------------- */

static void space_of_one(const struct exploration *x)
{
	struct mm *mm = mm_fixture(1);

	EXPECT_EQ(wr(mm, P(0), 10), 0);
	hold_frames(mm);
}

static void space_over(const struct exploration *x)
{
	if (now.pinned)
		unpin_pages(&now.pinned, 1);
	mm_put(now.mm);
	drop_frames();
}

static void write_a_word(const struct exploration *x)
{
	EXPECT_EQ(wr(now.mm, P(0) + 8, 21), 0);
}

static const char *both_words(const struct exploration *x)
{
	if (now.error)
		return "a page that a thread writes to does not move";
	return rd(now.mm, P(0)) == 10 && rd(now.mm, P(0) + 8) == 21
		       ? NULL
		       : "a write to a page that moves is lost";
}

static const struct exploration move_fault = {
	.setup = space_of_one,
	.teardown = space_over,
	.verdict = both_words,
	.actors = { { "moves", move }, { "writes", write_a_word } },
};

TEST_FULL(
	explore, migration_beside_a_fault,
	"in every order of a migration and a write the page moves and has the "
	"write (C72)",
	1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&move_fault);
}

static void pin(const struct exploration *x)
{
	if (pin_pages(now.mm, P(0), 1, PIN_WRITE, &now.pinned))
		now.pinned = NULL;
}

static const char *pin_is_the_page(const struct exploration *x)
{
	if (!now.pinned || wr(now.mm, P(0), 22))
		return "a pin or a write fails";
	return *(uint64_t *)page_va(now.pinned) == 22
		       ? NULL
		       : "a pinned frame is not the page any more";
}

static const struct exploration move_pin = {
	.setup = space_of_one,
	.teardown = space_over,
	.verdict = pin_is_the_page,
	.actors = { { "moves", move }, { "pins", pin } },
};

TEST_FULL(explore, migration_beside_a_pin,
	  "in every order of a migration and a pin the pinned frame stays the "
	  "page (C71)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&move_pin);
}

static struct {
	struct mm *mm;
	struct fake_device *d;
	uint64_t saw[2]; /* by loads                                       */
} dev;

/* ---- the memory of a device ---------------------------------------------- */

/* Two pages that hold 10, and a device with room for both. */
static void space_of_two(const struct exploration *x)
{
	dev.mm = mm_fixture(2);
	dev.d = fake_device(0, 2);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(wr(dev.mm, P(i), 10), 0);
}

/* The same, with the pages at the device. */
static void device_of_two(const struct exploration *x)
{
	space_of_two(x);
	REQUIRE(device_take(dev.d, dev.mm, 0, 2) == 2);
}

static void device_over(const struct exploration *x)
{
	mm_put(dev.mm);
	fake_device_end(dev.d);
}

/* The first page has been written to, or discarded; the second is as it was. */
static const char *sound(void)
{
	if (rd(dev.mm, P(1)) != 10)
		return "a page that nobody writes has changed";
	if (device_memory_used(&dev.d->memory))
		return "a device keeps a page that no entry names";
	return mm_check();
}

static void goes(const struct exploration *x)
{
	int taken = device_take(dev.d, dev.mm, 0, 2);

	EXPECT(taken >= 1);
}

static void write_beside(const struct exploration *x)
{
	EXPECT_EQ(wr(dev.mm, P(0) + 8, 21), 0);
}

static void load(const struct exploration *x)
{
	dev.saw[0] = rd(dev.mm, P(0));
}

static void load_too(const struct exploration *x)
{
	dev.saw[1] = rd(dev.mm, P(0));
}

static void discard(const struct exploration *x)
{
	EXPECT_EQ(mm_discard(dev.mm, P(0), P(1)), 0);
}

static const char *write_is_there(const struct exploration *x)
{
	if (rd(dev.mm, P(0)) != 10 || rd(dev.mm, P(0) + 8) != 21)
		return "a write to a page that goes to a device is lost";
	return sound();
}

static const struct exploration goes_write = {
	.setup = space_of_two,
	.teardown = device_over,
	.verdict = write_is_there,
	.actors = { { "goes", goes }, { "writes", write_beside } },
};

TEST_FULL(explore, device_migration_beside_a_fault,
	  "in every order of a migration to a device and a write the write is "
	  "in the page (C62, H45)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&goes_write);
}

static const char *discarded(const struct exploration *x)
{
	uint64_t v = rd(dev.mm, P(0) + 8);

	if (rd(dev.mm, P(0)) != 0 || (v != 0 && v != 21))
		return "a discarded page has its content";
	return sound();
}

static const struct exploration goes_write_discard = {
	.setup = space_of_two,
	.teardown = device_over,
	.verdict = discarded,
	.actors = { { "goes", goes },
		    { "writes", write_beside },
		    { "discards", discard } },
	.large = true,
};

TEST_FULL(explore, device_migration_beside_a_fault_and_discard,
	  "in every order of a migration to a device, a write and a discard "
	  "the old content is gone, and no page is left (C62)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&goes_write_discard);
}

static const char *loads_are_right(const struct exploration *x)
{
	for (unsigned i = 0; i < 2; i++)
		if (dev.saw[i] != 10 && dev.saw[i] != 0)
			return "a load of a device's page has a strange word";
	if (rd(dev.mm, P(0)) != 0)
		return "a discarded page has its content";
	return sound();
}

static const struct exploration two_loads_discard = {
	.setup = device_of_two,
	.teardown = device_over,
	.verdict = loads_are_right,
	.actors = { { "loads", load },
		    { "loads too", load_too },
		    { "discards", discard } },
	.large = true,
};

TEST_FULL(explore, two_faults_of_a_device_page_beside_discard,
	  "in every order of two loads of a device's page and a discard each "
	  "load has the content or zero, and no page is left (H44)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&two_loads_discard);
}

/* ---- a page that a device has alone ---------------------------------------- */

static struct hmm_driver driver;

static void scene_of_a_driver(const struct exploration *x)
{
	scene_begin(x, 1, 0);
	dev.mm = scene.mm;
	hmm_driver_start(&driver, scene.s, 0, scene.mm, 0, 1);
}

/* The same, and the device has added 1. */
static void scene_of_an_exclusive_page(const struct exploration *x)
{
	scene_of_a_driver(x);
	EXPECT_EQ(hmm_driver_make_exclusive(&driver), 0);
	fixture_write(scene.s, 0, IO(0), 11);
	hmm_driver_unlock(&driver);
}

static void driver_over(const struct exploration *x)
{
	hmm_driver_stop(&driver);
	fixture_detach(scene.s, 0);
	fixture_destroy(scene.s, driver.domain);
	scene_end(x);
}

static void add(const struct exploration *x)
{
	uint64_t v;

	EXPECT_EQ(hmm_driver_make_exclusive(&driver), 0);
	v = fixture_read(scene.s, 0, IO(0));
	fixture_write(scene.s, 0, IO(0), v + 1);
	hmm_driver_unlock(&driver);
}

static void store(const struct exploration *x)
{
	EXPECT_EQ(wr(scene.mm, A, 70), 0);
}

static const char *store_is_there(const struct exploration *x)
{
	uint64_t v = rd(scene.mm, A);

	if (v != 70 && v != 71)
		return "a device's addition undoes a store";
	return mm_check();
}

static struct exploration add_store = {
	.setup = scene_of_a_driver,
	.teardown = driver_over,
	.verdict = store_is_there,
	.actors = { { "adds", add }, { "stores", store } },
};

QEMU_TEST(explore, exclusive_beside_a_store,
	  "in every order of a device's addition and a CPU's store the store "
	  "is there, or the addition follows it (C64)")
{
	scene_explore(s, &add_store, SVA, false);
}

static const char *load_is_its_own(const struct exploration *x)
{
	if (dev.saw[0] != 11 && dev.saw[0] != 0)
		return "a load of an exclusive page has a strange word";
	if (rd(scene.mm, A) != 0)
		return "a discarded page has its content";
	return owner_reads_its_own(x) ?: mm_check();
}

static struct exploration load_discard = {
	.setup = scene_of_an_exclusive_page,
	.teardown = driver_over,
	.verdict = load_is_its_own,
	.actors = { { "loads", load },
		    { "discards", discard },
		    { "next owner", take_frame } },
};

QEMU_TEST(explore, fault_of_an_exclusive_page_beside_discard,
	  "in every order of a load of a page that a device has alone, a "
	  "discard and its reuse the load has the device's word or zero (H46)")
{
	scene_explore(s, &load_discard, SVA, false);
}
