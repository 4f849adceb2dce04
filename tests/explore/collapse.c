/* SPDX-License-Identifier: MIT */
/*
 * collapse.c - 2 MiB: a collapse beside a device's write, a split beside a page request, a
 * copy on write beside a protect
 */
#include "kernel/err.h"
#include "mm/huge/collapse.h"
#include "mm/rmap/huge.h"
#include "tests/explore/scene.h"

/* A and B are mapped in 2 MiB of one region; the device has written to A. */
static void warm_in_2mib(const struct exploration *x)
{
	scene_begin(x, 2, 1);
	REQUIRE(!mm_map(scene.mm, P(2), BLOCK_SIZE - 2 * PAGE_SIZE, RW, 0, NULL,
			0, NULL));
	device_writes(&scene.client[0], A, 10);
}

static void collapse(const struct exploration *x)
{
	scene.error = mm_collapse(scene.mm, A);
}

static void write_and_look(const struct exploration *x)
{
	device_writes(&scene.client[0], A, 66);
	scene.saw[0] = device_reads(&scene.client[0], A);
}

static const char *write_is_kept(const struct exploration *x)
{
	uint64_t now = rd(scene.mm, A);

	if (scene.error)
		return "the collapse failed";
	if (scene.saw[0] == 66 && now != 66)
		return "a write of the device is lost";
	return now == 66 || now == 10 ? NULL : "the page has other contents";
}

static struct exploration beside_write = {
	.setup = warm_in_2mib,
	.teardown = scene_end,
	.verdict = write_is_kept,
	.actors = { { "T0", collapse }, { "device", write_and_look } },
	.large = true,
};

QEMU_TEST(explore, collapse_without_a_flush_is_found,
	  "the explorer finds that a device with a stale translation writes to "
	  "a page that a collapse has copied")
{
	scene_explore(s, &beside_write, &no_flush, true);
}

QEMU_TEST(explore, collapse_beside_dma_writes,
	  "in every order of a collapse and a device's write the huge page has "
	  "what the device reads back")
{
	scene_explore(s, &beside_write, SVA, false);
}

/* ---- one entry -------------------------------------------------------------- */

/* A and the 511 pages after it are one entry; a device is in the address space. */
static void one_entry(const struct exploration *x)
{
	scene_begin(x, 2, 1);
	REQUIRE(!mm_map(scene.mm, P(2), BLOCK_SIZE - 2 * PAGE_SIZE, RW, 0, NULL,
			0, NULL));
	REQUIRE(!mm_collapse(scene.mm, A));
	REQUIRE(entry_huge(entry_at(scene.mm, A)));
}

/* ---- split beside a page request ------------------------------------------- */

static void discard_b(const struct exploration *x)
{
	scene.error = mm_discard(scene.mm, B, C);
}

static void serve_write_and_look(const struct exploration *x)
{
	REQUIRE(!sva_fault(&scene.client[0].sva, A, PROT_W));
	device_writes(&scene.client[0], A, 66);
	scene.saw[0] = device_reads(&scene.client[0], A);
	scene.saw[1] = device_reads(&scene.client[0], B);
}

static const char *only_b_is_gone(const struct exploration *x)
{
	if (scene.error || entry_huge(entry_at(scene.mm, A)))
		return "the discard of a part has not split the entry";
	if (rd(scene.mm, A) != 66 || scene.saw[0] != 66)
		return "a split has refused or lost a device's write";
	if (scene.saw[1] != 10 && scene.saw[1] != BLOCKED)
		return "a device has read what was never in the page";
	return rd(scene.mm, B) ? "a discarded page is not empty" : NULL;
}

static struct exploration split_request = {
	.setup = one_entry,
	.teardown = scene_end,
	.verdict = only_b_is_gone,
	.actors = { { "discards", discard_b },
		    { "device", serve_write_and_look } },
	.large = true,
};

QEMU_TEST(
	explore, split_beside_a_page_request,
	"in every order of a discard of a part of 2 MiB and a page request for "
	"another part the device's write is kept")
{
	scene_explore(s, &split_request, SVA, false);
}

/* ---- copy on write beside a protect ----------------------------------------- */

static struct {
	struct mm *mm, *child;
	int wrote, protected;
} now;

static void shared_entry(const struct exploration *x)
{
	now.mm = mm_create();
	REQUIRE(now.mm);
	REQUIRE(!mm_map(now.mm, A, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(wr(now.mm, A, 10), 0);
	REQUIRE(entry_huge(entry_at(now.mm, A)));
	now.child = fork_of(now.mm);
}

static void write_a(const struct exploration *x)
{
	now.wrote = wr(now.mm, A, 21);
}

static void protect_all(const struct exploration *x)
{
	now.protected = mm_protect(now.mm, A, A + BLOCK_SIZE, PROT_R);
}

/* H42: a change of the whole entry and a change of a part see each other. */
static const char *no_right_is_left(const struct exploration *x)
{
	if (now.protected)
		return "the protect failed";
	if (rd(now.mm, A) != (now.wrote ? 10 : 21) || rd(now.child, A) != 10)
		return "a write to a shared huge page is lost or in the child";
	if (wr(now.mm, A, 22) != -EFAULT || wr(now.mm, B, 22) != -EFAULT)
		return "a page is writable after the protect";
	return wr(now.child, B, 23) || rd(now.mm, B)
		       ? "a page is shared in part"
		       : NULL;
}

static void spaces_over(const struct exploration *x)
{
	mm_put(now.child);
	mm_put(now.mm);
}

static const struct exploration copy_protect = {
	.setup = shared_entry,
	.teardown = spaces_over,
	.verdict = no_right_is_left,
	.actors = { { "writes", write_a }, { "protects", protect_all } },
	.large = true,
};

TEST_FULL(
	explore, huge_copy_beside_a_protect,
	"in every order of a write to a shared huge page and a protect of its "
	"2 MiB no right to write is left and the child reads its own (H42)",
	1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&copy_protect);
}
