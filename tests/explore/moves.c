/* SPDX-License-Identifier: MIT */
/*
 * moves.c - a page moves to another frame: race 14
 */
#include "kernel/probe.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "mm/space/pin.h"
#include "tests/explore/scene.h"

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
