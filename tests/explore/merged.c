/* SPDX-License-Identifier: MIT */
/*
 * merged.c - a merge beside a pin, and what becomes of a merged page
 */
#include "kernel/probe.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/rmap.h"
#include "mm/space/pin.h"
#include "tests/explore/explore.h"
#include "tests/fixture/mm/ksm_fixture.h"

static struct {
	struct mm *mm;
	struct page *pinned;
	int error;
	unsigned
		merged; /* of all orders: those in which the pages became one */
	unsigned long merged_before;
} now;

static void equal(const struct exploration *x)
{
	now.mm = ksm_equal(2, 10);
	now.pinned = NULL;
	ksm_scans(1);
	now.merged_before = ksm_now().pages_merged;
}

static void merge(const struct exploration *x)
{
	now.error = ksm_full_scan();
}

static void teardown(const struct exploration *x)
{
	if (now.pinned)
		unpin_pages(&now.pinned, 1);
	mm_put(now.mm);
}

/* ---- a pin --------------------------------------------------------------- */

/* As a driver: what the device writes is written to the pinned frame.  Of two equal
 * pages the scanner replaces the second. */
static void pin_and_write(const struct exploration *x)
{
	if (pin_pages(now.mm, P(1), 1, PIN_WRITE, &now.pinned)) {
		now.pinned = NULL;
		return;
	}
	PROBE(explore_step, 0, 0);
	WRITE_ONCE(*(uint64_t *)page_va(now.pinned), 66);
}

static const char *pinned_stays(const struct exploration *x)
{
	now.merged += ksm_now().pages_merged != now.merged_before;
	if (!now.pinned)
		return "a page cannot be pinned";
	if (rd(now.mm, P(1)) != 66)
		return "a pinned page is replaced";
	if (rd(now.mm, P(0)) != 10)
		return "a write to a pinned page shows in a page equal to it";
	return mm_check();
}

static const struct exploration merge_pin = {
	.setup = equal,
	.teardown = teardown,
	.verdict = pinned_stays,
	.actors = { { "scanner", merge }, { "pins", pin_and_write } },
};

TEST_FULL(explore, merge_beside_a_pin,
	  "in every order of a merge and a pin of one of two equal pages the "
	  "pinned page stays at its address (B41)",
	  1, EXPLORE_LIMIT)
{
	now.merged = 0;
	EXPECT_EXPLORED(&merge_pin);
	EXPECT(now.merged > 0);
}

/* ---- an unmerge ----------------------------------------------------------- */

static void already_merged(const struct exploration *x)
{
	equal(x);
	ksm_scans(1);
}

static void unmerge(const struct exploration *x)
{
	now.error = ksm_unmergeable(now.mm, P(0), P(2));
}

static void evict(const struct exploration *x)
{
	struct page *page = page_at(now.mm, P(0));

	if (!page)
		return;
	(void)!try_to_unmap(page); /* -EBUSY: it has been mapped again */
	page_put(page);
}

static const char *unmerged(const struct exploration *x)
{
	if (rd(now.mm, P(0)) != 10 || rd(now.mm, P(0)) != 10)
		return "a page loses its content";
	if (now.error || is_merged(now.mm, P(0)) || is_merged(now.mm, P(1)))
		return "a page stays merged";
	return mm_check();
}

static const struct exploration unmerge_walk = {
	.setup = already_merged,
	.teardown = teardown,
	.verdict = unmerged,
	.actors = { { "unmerges", unmerge }, { "evicts", evict } },
};

TEST_FULL(explore, unmerge_beside_eviction,
	  "in every order of an unmerge and an eviction of the merged page no "
	  "page stays merged, and both keep their content (B47, B49)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&unmerge_walk);
}
