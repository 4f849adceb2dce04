/* SPDX-License-Identifier: MIT */
/*
 * free.c - a page leaves an address space while a device uses it: races 1, 2, 8
 */
#include "kernel/probe.h"
#include "tests/explore/scene.h"
#include "tests/fake/recorder.h"

static void cached(const struct exploration *x)
{
	scene_begin(x, 2, 1);
	device_reads(&scene.client[0], A);
}

/* ---- discard ------------------------------------------------------------ */

static void discard_a(const struct exploration *x)
{
	change(scene.mm, 0, 1);
}

static struct exploration discard = {
	.setup = cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "T0", discard_a },
		    { "T1", take_frame },
		    { "device", device_uses_a } },
};

QEMU_TEST(explore, flush_in_start_is_found,
	  "the explorer finds that a client which flushes in "
	  "invalidate_range_start lets a device write to a freed frame")
{
	scene_explore(s, &discard, &only_start, true);
}

QEMU_TEST(explore, flush_in_end_is_found,
	  "the explorer finds that a client which flushes in "
	  "invalidate_range_end lets a device write to a freed frame")
{
	scene_explore(s, &discard, &only_end, true);
}

IOMMU_TEST_ON(
	explore, discard_beside_dma,
	"in every order of a discard, a device that uses the page and the next "
	"owner of its frame, the owner reads its own data",
	1, EXPLORE_LIMIT)
{
	scene_explore(s, &discard, SVA, false);
}

/* The IOMMU executes commands while no thread polls for them. */
static void complete_late(const struct exploration *x)
{
	for (unsigned i = 0; i < 3; i++) {
		model_step(scene.s->model, 1);
		PROBE(explore_step, i, 0);
	}
}

static void discard_and_take(const struct exploration *x)
{
	discard_a(x);
	take_frame(x);
}

static struct exploration late = {
	.setup = cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "T0", discard_and_take },
		    { "device", device_uses_a },
		    { "IOMMU", complete_late } },
};

STRICT_TEST(explore, discard_beside_late_completion,
	    "in every order of a discard, the IOMMU's execution of commands, a "
	    "device and the frame's next owner, the owner reads its own data")
{
	scene_explore(s, &late, SVA, false);
}

/* ---- remap -------------------------------------------------------------- */

static void move_and_discard(const struct exploration *x)
{
	scene.error = mm_remap(scene.mm, A, PAGE_SIZE, D, PAGE_SIZE, NULL);
	if (!scene.error)
		change(scene.mm, 3, 4);
}

static struct exploration move = {
	.setup = cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "T0", move_and_discard },
		    { "T1", take_frame },
		    { "device", device_uses_a } },
};

QEMU_TEST(explore, move_without_a_flush_is_found,
	  "the explorer finds that a client which does not flush lets a device "
	  "write by the old address of a page that was moved and freed")
{
	scene_explore(s, &move, &no_flush, true);
}

QEMU_TEST(explore, move_and_discard_beside_dma,
	  "in every order a page that was moved and then discarded is out of a "
	  "device's reach before its frame has another owner")
{
	scene_explore(s, &move, SVA, false);
}

static void move_a(const struct exploration *x)
{
	scene.error = mm_remap(scene.mm, A, PAGE_SIZE, D, PAGE_SIZE, NULL);
}

/* Before the move or after it, A's page may be at either address. */
static void discard_both(const struct exploration *x)
{
	int error = mm_discard(scene.mm, A, B);

	if (error)
		error = mm_discard(scene.mm, D, D + PAGE_SIZE);
	(void)error; /* no region there */
	take_frame(x);
}

static struct exploration move_beside = {
	.setup = cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "moves", move_a },
		    { "discards", discard_both },
		    { "device", device_uses_a } },
};

QEMU_TEST(explore, move_beside_discard_and_dma,
	  "in every order of a move and a discard of one page its frame is out "
	  "of a device's reach before it has another owner")
{
	scene_explore(s, &move_beside, SVA, false);
}

/* ---- exit --------------------------------------------------------------- */

static void exit_mm(const struct exploration *x)
{
	struct mm *mm = scene.mm;

	scene.mm = NULL;
	mm_put(mm);
}

static struct exploration leave = {
	.setup = cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "T0", exit_mm },
		    { "T1", take_frame },
		    { "device", device_uses_a } },
};

QEMU_TEST(
	explore, exit_beside_dma,
	"in every order the exit of a process takes its pages from the device "
	"before their frames have another owner")
{
	scene_explore(s, &leave, SVA, false);
}
