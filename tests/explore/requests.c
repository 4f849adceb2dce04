/* SPDX-License-Identifier: MIT */
/*
 * requests.c - a page request is served while the page changes: races 8, 10, 12
 *
 * The actor "worker" does what a thread of the IOMMU does: the client's fault
 * function, and then the device repeats its access.
 */
#include "kernel/probe.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/rmap.h"
#include "tests/checker/canary.h"
#include "tests/explore/scene.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/pri.h"
#include "tests/fixture/mm/ksm_fixture.h"

static void serve_a_write(const struct exploration *x)
{
	if (!sva_fault(&scene.client[0].sva, A, PROT_W))
		device_writes(&scene.client[0], A, 66);
}

static const char *a_or_the_write(void)
{
	uint64_t a = rd(scene.mm, A);

	if (a != 10 && a != 66)
		return "a page holds what was never written";
	if (rd(scene.mm, B) != 10)
		return "a device's write shows in a page equal to it";
	/* QEMU's chip has entries of its own in the table (client_lend()). */
	return scene.s && !scene.s->model ? NULL : mm_check();
}

/* ---- exit, with a fault in flight ------------------------------------------ */

/* The whole way: the device's request, the log and its interrupt, the thread that reads
 * and serves it, the answer.  The threads are actors from when they are woken. */
static void hole_at_a(const struct exploration *x)
{
	scene_serve(x, 2);
	change(scene.mm, 0, 1);
}

static void exit_mm(const struct exploration *x)
{
	struct mm *mm = scene.mm;

	scene.mm = NULL;
	mm_put(mm);
}

static void take_frames(const struct exploration *x)
{
	canary_release();
	for (unsigned i = 0; i < TAKEN_MAX; i++) {
		scene.taken[i] = page_alloc();
		if (scene.taken[i])
			fixture_fill(scene.taken[i], 77);
	}
}

static void exit_and_take(const struct exploration *x)
{
	exit_mm(x);
	take_frames(x);
}

static void device_faults(const struct exploration *x)
{
	struct model_ppr request = { .devid = scene.s->devid[0],
				     .tag = 1,
				     .last = true,
				     .read = true,
				     .write = true,
				     .iova = A };

	if (pri_send(&request) == PRI_LOGGED)
		wait_event(&pri_news, !pri_unanswered());
	device_writes(&scene.client[0], A, 66);
}

static const char *owners_read_their_own(const struct exploration *x)
{
	if (pri_unanswered())
		return "a page request has no answer";
	for (unsigned i = 0; i < TAKEN_MAX; i++)
		if (scene.taken[i] && fixture_word(scene.taken[i]) != 77)
			return "a device writes to a frame of another owner";
	return NULL;
}

static struct exploration exit_request = {
	.setup = hole_at_a,
	.teardown = scene_end,
	.verdict = owners_read_their_own,
	.actors = { { "exits", exit_and_take }, { "device", device_faults } },
	.interrupts = true,
	.adopts = 2, /* a third thread finds nothing to do */
};

STRICT_TEST(explore, exit_beside_a_fault_in_flight,
	    "in every order of an exit and a page request, from the log to its "
	    "answer, the request is answered and the device writes to no page "
	    "of another owner (B25)")
{
	scene_explore(s, &exit_request, SVA, false);
}

/* ---- eviction ------------------------------------------------------------- */

static void resident(const struct exploration *x)
{
	scene_begin(x, 2, 1);
	device_writes(&scene.client[0], A, 10);
}

static void evict_a(const struct exploration *x)
{
	struct page *page = page_at(scene.mm, A);

	scene.error = page ? try_to_unmap(page) : -1;
	if (page)
		page_put(page);
}

static const char *evicted_or_written(const struct exploration *x)
{
	return a_or_the_write();
}

static struct exploration evict_request = {
	.setup = resident,
	.teardown = scene_end,
	.verdict = evicted_or_written,
	.actors = { { "evicts", evict_a }, { "worker", serve_a_write } },
};

QEMU_TEST(explore, evict_beside_a_page_request,
	  "in every order of an eviction and a page request the page holds "
	  "what was written last")
{
	scene_explore(s, &evict_request, SVA, false);
}

/* What would be written to the disk must not change: the page is kept. */
static void evict_and_look(const struct exploration *x)
{
	struct page *page = page_at(scene.mm, A);

	scene.error = try_to_unmap(page);
	scene.saw[0] = fixture_word(page);
	says("page 1 is written to the disk");
	scene.taken[0] = page;
}

static const char *evicted_stays(const struct exploration *x)
{
	return scene.error || scene.saw[0] == fixture_word(scene.page)
		       ? NULL
		       : "a device writes to a page that has been evicted";
}

static struct exploration evict_write = {
	.setup = resident,
	.teardown = scene_end,
	.verdict = evicted_stays,
	.actors = { { "evicts", evict_and_look }, { "device", device_uses_a } },
};

QEMU_TEST(explore, eviction_flushed_in_start_is_found,
	  "the explorer finds that a client which flushes in "
	  "invalidate_range_start lets a device write to an evicted page")
{
	scene_explore(s, &evict_write, &only_start, true);
}

QEMU_TEST(explore, evict_beside_dma_writes,
	  "in every order no device writes to a page after its eviction")
{
	scene_explore(s, &evict_write, SVA, false);
}

/* ---- KSM ------------------------------------------------------------------ */

static uint64_t merged_before;
static unsigned merged; /* orders in which the pages became one           */

static void equal(const struct exploration *x)
{
	resident(x);
	REQUIRE(!ksm_mergeable(scene.mm, A, C));
	ksm_scans(1);
	merged_before = ksm_now().pages_merged;
}

static void merge(const struct exploration *x)
{
	scene.error = ksm_full_scan();
}

static void device_writes_a(const struct exploration *x)
{
	device_writes(&scene.client[0], A, 66);
}

static const char *neighbour_keeps_its_word(const struct exploration *x)
{
	merged += ksm_now().pages_merged != merged_before;
	return a_or_the_write();
}

static struct exploration merge_write = {
	.setup = equal,
	.teardown = scene_end,
	.verdict = neighbour_keeps_its_word,
	.actors = { { "scanner", merge }, { "device", device_writes_a } },
};

QEMU_TEST(explore, merge_without_a_flush_is_found,
	  "the explorer finds that a device with a stale right writes to two "
	  "pages that have been merged")
{
	scene_explore(s, &merge_write, &no_flush, true);
}

QEMU_TEST(explore, merge_beside_dma_writes,
	  "in every order of a merge and a device's write to one of two equal "
	  "pages the other page is unchanged (B45, B46)")
{
	merged = 0;
	scene_explore(s, &merge_write, SVA, false);
	EXPECT(merged > 0);
}

static struct exploration merge_request = {
	.setup = equal,
	.teardown = scene_end,
	.verdict = neighbour_keeps_its_word,
	.actors = { { "scanner", merge }, { "worker", serve_a_write } },
};

QEMU_TEST(explore, merge_beside_a_page_request,
	  "in every order of a merge and a page request to write one of two "
	  "equal pages the other page is unchanged")
{
	scene_explore(s, &merge_request, SVA, false);
}

static void already_merged(const struct exploration *x)
{
	equal(x);
	ksm_scans(1);
}

static void unmerge(const struct exploration *x)
{
	scene.error = ksm_unmergeable(scene.mm, A, C);
}

static const char *unmerged(const struct exploration *x)
{
	if (scene.error || is_merged(scene.mm, A) || is_merged(scene.mm, B))
		return "a page stays merged";
	return a_or_the_write();
}

static struct exploration unmerge_request = {
	.setup = already_merged,
	.teardown = scene_end,
	.verdict = unmerged,
	.actors = { { "unmerges", unmerge }, { "worker", serve_a_write } },
};

QEMU_TEST(explore, unmerge_beside_a_page_request,
	  "in every order of an unmerge and a page request to write a merged "
	  "page, no page stays merged and the other is unchanged (B49)")
{
	scene_explore(s, &unmerge_request, SVA, false);
}

/* ---- a merge, and a walk of the reverse map -------------------------------- */

static void two_equal(const struct exploration *x)
{
	scene = (struct scene){ .mm = ksm_equal(2, 10) };
	ksm_scans(1);
	merged_before = ksm_now().pages_merged;
}

static struct exploration merge_walk = {
	.setup = two_equal,
	.teardown = scene_end,
	.verdict = neighbour_keeps_its_word,
	.actors = { { "scanner", merge }, { "evicts", evict_a } },
};

TEST_FULL(explore, merge_beside_a_reverse_map_walk,
	  "in every order of a merge and an eviction, which walks from the "
	  "page to its mappings, both pages keep their content (B47)",
	  1, EXPLORE_LIMIT)
{
	merged = 0;
	EXPECT_EXPLORED(&merge_walk);
	EXPECT(merged > 0);
}

/* ---- a compared page (race 12) --------------------------------------------- */

static void protect_a(const struct exploration *x)
{
	scene.error = mm_protect(scene.mm, A, B, PROT_R);
}

/* As KSM: a page that is write-protected under pt_lock does not change. */
static void compare(const struct exploration *x)
{
	if (entry_at(scene.mm, A) & PTE_W)
		return;
	scene.saw[0] = fixture_word(scene.page);
	says("compared: equal to another page");
	PROBE(explore_step, 0, 0);
	scene.saw[1] = fixture_word(scene.page);
}

static const char *compared_stays(const struct exploration *x)
{
	return scene.saw[0] == scene.saw[1]
		       ? NULL
		       : "a page changes after it was compared";
}

static struct exploration comparison = {
	.setup = resident,
	.teardown = scene_end,
	.verdict = compared_stays,
	.actors = { { "T0", protect_a },
		    { "compares", compare },
		    { "device", device_writes_a } },
};

QEMU_TEST(explore, comparison_before_end_is_found,
	  "the explorer finds that a client which flushes in "
	  "invalidate_range_end lets a device change a page that was compared")
{
	scene_explore(s, &comparison, &only_end, true);
}

QEMU_TEST(explore, comparison_beside_dma_writes,
	  "in every order a page that is write-protected does not change "
	  "after it was compared")
{
	scene_explore(s, &comparison, SVA, false);
}
