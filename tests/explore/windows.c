/* SPDX-License-Identifier: MIT */
/*
 * windows.c - a fault of a secondary MMU beside invalidations that do not wait for
 * it: those of the reverse map, and those of another interval
 *
 * A walk of the reverse map holds no mm->lock, so a client may register between its
 * start and its end.  The sequence of intervals stays odd while an invalidation over
 * any of them is open.
 */
#include "mm/rmap/rmap.h"
#include "tests/explore/explore.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/recorder.h"

#define OUTSIDE (FAKE_PAGES + 1) /* a page that the fake MMU does not map   */

static struct {
	struct mm *mm;
	struct fake_mmu fake;
	struct recorder other;
	struct watch outside;
	struct mmu_notifier_range open;
} now;

static void attached(const struct exploration *x)
{
	now.mm = written(1);
	fake_attach(&now.fake, x->arg, now.mm);
}

static void load(const struct exploration *x)
{
	(void)fake_read(&now.fake, VA);
}

static const char *no_stale_entry(const struct exploration *x)
{
	const char *message = fake_check(&now.fake);

	if (message)
		return message;
	return fake_read(&now.fake, VA) == rd(now.mm, VA)
		       ? NULL
		       : "a fake MMU keeps a page that is gone";
}

/* The verdict has been given: what a wrong client still holds is dropped. */
static void teardown(const struct exploration *x)
{
	spin_lock(&now.fake.lock);
	fake_zap(&now.fake, VA, VA + PAGE_SIZE);
	spin_unlock(&now.fake.lock);
	fake_detach(&now.fake);
	mm_put(now.mm);
}

/* ---- an eviction --------------------------------------------------------- */

static void evict(const struct exploration *x)
{
	struct page *page = page_at(now.mm, VA);

	if (!page)
		return;
	(void)!try_to_unmap(page); /* -EBUSY: it has been mapped again */
	page_put(page);
}

static struct exploration evictions = {
	.setup = attached,
	.teardown = teardown,
	.verdict = no_stale_entry,
	.actors = { { "evicts", evict }, { "faults", load } },
};

TEST_FULL(explore, faults_of_fakes_beside_eviction,
	  "in every order of an eviction and a fault of each kind of fake MMU "
	  "it keeps no translation of the evicted page (B20)",
	  1, EXPLORE_LIMIT)
{
	for_each_kind (k, fake_mmus()) {
		if ((*k)->guest)
			continue; /* an entry is one step: VMRUN knows no turns */
		evictions.arg = *k;
		EXPECT_EXPLORED(&evictions);
	}
}

/* ---- a client that registers during an eviction --------------------------- */

/* With another notifier the chain is called from the start. */
static void with_another(const struct exploration *x)
{
	now.mm = written(1);
	record(&now.other, now.mm);
}

static void attach_and_load(const struct exploration *x)
{
	fake_attach(&now.fake, x->arg, now.mm);
	load(x);
}

static void without_another(const struct exploration *x)
{
	record_end(&now.other);
	teardown(x);
}

static struct exploration joins = {
	.setup = with_another,
	.teardown = without_another,
	.verdict = no_stale_entry,
	.actors = { { "evicts", evict }, { "joins", attach_and_load } },
};

TEST_FULL(explore, client_joins_beside_eviction,
	  "in every order of an eviction and a client that registers and then "
	  "faults, it keeps no translation of the evicted page (B20)",
	  1, EXPLORE_LIMIT)
{
	static const struct fake_mmu_kind *const kinds[] = {
		&fake_tlb, &fake_shadow, &fake_region, NULL
	};

	for_each_kind (k, kinds) {
		joins.arg = *k;
		EXPECT_EXPLORED(&joins);
	}
}

/* ---- an invalidation of another interval stays open ------------------------ */

static void other_interval_open(const struct exploration *x)
{
	attached(x);
	watch(&now.outside, now.mm, OUTSIDE, 1);
	rw_read_lock(&now.mm->lock);
	invalidation_begin(&now.open, now.mm, OUTSIDE, OUTSIDE + 1);
}

static void discard_twice(const struct exploration *x)
{
	change(now.mm, 0, 1);
	EXPECT_EQ(wr(now.mm, VA, 6), 0);
	change(now.mm, 0, 1);
	EXPECT_EQ(wr(now.mm, VA, 7), 0);
}

static const char *closed_and_no_stale_entry(const struct exploration *x)
{
	mmu_notifier_invalidate_range_end(&now.open);
	rw_read_unlock(&now.mm->lock);
	return no_stale_entry(x);
}

static void other_interval_gone(const struct exploration *x)
{
	mmu_interval_notifier_remove(&now.outside.mni);
	teardown(x);
}

static const struct exploration numbers = {
	.setup = other_interval_open,
	.teardown = other_interval_gone,
	.verdict = closed_and_no_stale_entry,
	.actors = { { "changes", discard_twice }, { "faults", load } },
	.arg = &fake_region,
};

TEST_FULL(explore, discards_while_another_interval_is_invalidated,
	  "in every order of two discards and a fault, while an invalidation "
	  "over another interval is open, no interval keeps a translation of a "
	  "page that went (B21)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&numbers);
}
