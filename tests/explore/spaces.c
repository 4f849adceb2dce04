/* SPDX-License-Identifier: MIT */
/*
 * spaces.c - operations of CPUs alone: faults, fork, pins, KSM, notifiers
 */
#include "kernel/probe.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/rmap.h"
#include "mm/space/pin.h"
#include "tests/explore/explore.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/mm_fixture.h"

static struct {
	struct mm *mm, *child;
	struct page *pinned;
	struct recorder recorder, other;
	unsigned heard; /* calls until unregister() returned           */
	uint64_t saw;
	int error;
	bool registered;
} now;

static void begin(unsigned n)
{
	now.mm = mm_fixture(n);
	now.child = NULL;
	now.pinned = NULL;
	now.registered = false;
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(wr(now.mm, P(i), 10), 0);
}

static void one_page(const struct exploration *x)
{
	begin(1);
}

static void teardown(const struct exploration *x)
{
	if (now.pinned)
		unpin_pages(&now.pinned, 1);
	if (now.child)
		mm_put(now.child);
	mm_put(now.mm);
}

/* ---- a pin beside a fork ------------------------------------------------ */

static void pin(const struct exploration *x)
{
	now.error = pin_pages(now.mm, P(0), 1, PIN_WRITE, &now.pinned);
	if (now.error)
		now.pinned = NULL;
}

static void fork_mm(const struct exploration *x)
{
	if (mm_fork(now.mm, &now.child))
		now.child = NULL;
}

/* The parent writes, and the owner of the pin must see it. */
static const char *pin_is_the_parents(const struct exploration *x)
{
	if (!now.pinned || !now.child)
		return "a pin or a fork fails";
	if (wr(now.mm, P(0), 21) || *(uint64_t *)page_va(now.pinned) != 21)
		return "the parent writes to another page than the pinned one";
	return rd(now.child, P(0)) == 10 ? mm_check()
					 : "the child sees a later write";
}

static const struct exploration pin_fork = {
	.setup = one_page,
	.teardown = teardown,
	.verdict = pin_is_the_parents,
	.actors = { { "pins", pin }, { "forks", fork_mm } },
};

TEST_FULL(
	explore, pin_beside_fork,
	"in every order of a pin and a fork the pinned page stays the parent's "
	"(B41)",
	1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&pin_fork);
}

/* ---- two writers of a shared page --------------------------------------- */

static void shared(const struct exploration *x)
{
	begin(1);
	now.child = fork_of(now.mm);
}

static void parent_writes(const struct exploration *x)
{
	now.error = wr(now.mm, P(0), 21);
}

static void child_writes(const struct exploration *x)
{
	now.error = wr(now.child, P(0), 22);
}

static void parent_writes_too(const struct exploration *x)
{
	now.error = wr(now.mm, P(0) + 8, 23);
}

static const char *each_has_its_own(const struct exploration *x)
{
	if (rd(now.mm, P(0)) != 21 || rd(now.child, P(0)) != 22)
		return "one of two address spaces reads the other's write";
	if (rd(now.mm, P(0) + 8) != 23 || rd(now.child, P(0) + 8) == 23)
		return "a write of a second thread is lost or shows in the "
		       "child";
	return mm_check();
}

static const struct exploration two_writers = {
	.setup = shared,
	.teardown = teardown,
	.verdict = each_has_its_own,
	.actors = { { "parent", parent_writes },
		    { "parent too", parent_writes_too },
		    { "child", child_writes } },
};

TEST_FULL(
	explore, two_copies_of_one_page,
	"in every order of three writes to a page that a fork has shared each "
	"address space reads its own (B9, B40)",
	1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&two_writers);
}

/* ---- faults of one address ----------------------------------------------- */

static void untouched(const struct exploration *x)
{
	now.mm = mm_fixture(1);
	now.child = NULL;
	now.pinned = NULL;
}

static void touch(const struct exploration *x)
{
	now.error = wr(now.mm, P(0), 21);
}

static void read_first(const struct exploration *x)
{
	now.saw = rd(now.mm, P(0));
}

static void discard(const struct exploration *x)
{
	now.error = mm_discard(now.mm, P(0), P(1));
}

static const char *zero_or_written(const struct exploration *x)
{
	uint64_t v = rd(now.mm, P(0));

	if ((now.saw && now.saw != 21) || (v && v != 21))
		return "a page holds what was never written";
	return mm_check();
}

static const struct exploration faults = {
	.setup = untouched,
	.teardown = teardown,
	.verdict = zero_or_written,
	.actors = { { "writes", touch },
		    { "reads", read_first },
		    { "discards", discard } },
};

TEST_FULL(explore, faults_beside_discard,
	  "in every order of a write fault, a read fault and a discard of one "
	  "address "
	  "the page holds zero or what was written (B44)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&faults);
}

/* ---- a merge beside a write ---------------------------------------------- */

static void seen_once(const struct exploration *x)
{
	now.mm = ksm_equal(2, 10);
	now.child = NULL;
	now.pinned = NULL;
	ksm_scans(1);
}

static uint64_t merged_before;

static void merge(const struct exploration *x)
{
	merged_before = ksm_now().pages_merged;
	now.error = ksm_full_scan();
}

/* The first page is converted into the merged one, the second is merged into it. */
static const unsigned first = 0, second = 1;

static void touch_one(const struct exploration *x)
{
	const unsigned *n = x->arg;

	now.error = wr(now.mm, P(*n), 21);
}

static unsigned merged; /* orders in which the pages became one           */

static const char *neighbour_keeps_its_word(const struct exploration *x)
{
	const unsigned *n = x->arg;

	merged += ksm_now().pages_merged != merged_before;
	if (rd(now.mm, P(*n)) != 21)
		return "a write beside a merge is lost";
	if (rd(now.mm, P(1 - *n)) != 10)
		return "a write to one page shows in a page equal to it";
	return mm_check();
}

static struct exploration merge_write = {
	.setup = seen_once,
	.teardown = teardown,
	.verdict = neighbour_keeps_its_word,
	.actors = { { "scanner", merge }, { "writes", touch_one } },
};

TEST_FULL(explore, merge_beside_a_write,
	  "in every order of a merge and a write to one of two equal pages the "
	  "write is "
	  "kept and the other page unchanged (B45, B46)",
	  1, EXPLORE_LIMIT)
{
	merged = 0;
	merge_write.arg = &first;
	EXPECT_EXPLORED(&merge_write);
	merge_write.arg = &second;
	EXPECT_EXPLORED(&merge_write);
	EXPECT(merged > 0);
}

/* ---- a notifier joins and leaves ------------------------------------------ */

static unsigned calls(const struct recorder *r)
{
	return r->starts + r->ends + r->ranges + r->releases;
}

static void in_start(struct recorder *r, const struct mmu_notifier_range *range)
{
	PROBE(explore_step, r, range->start);
}

/* The mm has another notifier, so that operations call the chain from the start. */
static void with_another(const struct exploration *x)
{
	begin(1);
	record(&now.other, now.mm);
}

static void without_another(const struct exploration *x)
{
	mmu_notifier_unregister(&now.other.mn);
	teardown(x);
}

static void join_and_leave(const struct exploration *x)
{
	struct recorder *r = &now.recorder;

	recorder_init(r, &recorder_ops);
	r->in_start = in_start;
	now.registered = !mmu_notifier_register(&r->mn, now.mm);
	if (now.registered)
		mmu_notifier_unregister(&r->mn);
	now.heard = calls(r);
}

/* Holds the lock of the page's anon_vma, and not mm->lock. */
static void evict(const struct exploration *x)
{
	struct page *page = page_at(now.mm, P(0));

	now.error = page ? try_to_unmap(page) : 0;
	if (page)
		page_put(page);
}

/* Until unregister() returns callbacks may come after release(), and an end may stay
 * out whose start came: as in Linux. */
static const char *no_end_alone(const struct exploration *x)
{
	const struct recorder *r = &now.recorder;

	if (!now.registered)
		return "a notifier cannot register";
	if (calls(r) != now.heard)
		return "a notifier is called after it was unregistered";
	if (r->ends > r->starts)
		return "a notifier receives an end without its start";
	return r->releases == 1 ? NULL : "release() is not called once";
}

static const struct exploration joins = {
	.setup = with_another,
	.teardown = without_another,
	.verdict = no_end_alone,
	.actors = { { "evicts", evict }, { "joins", join_and_leave } },
};

static void discard_page(const struct exploration *x)
{
	change(now.mm, 0, 1);
}

static const struct exploration joins_discard = {
	.setup = with_another,
	.teardown = without_another,
	.verdict = no_end_alone,
	.actors = { { "discards", discard_page }, { "joins", join_and_leave } },
};

TEST_FULL(
	explore, notifier_beside_invalidation,
	"in every order of an eviction or a discard and a notifier that "
	"registers and "
	"unregisters, it receives no end without its start, and no call later",
	1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&joins);
	EXPECT_EXPLORED(&joins_discard);
}

/* ---- exit beside unregister() ---------------------------------------------- */

static void heard(const struct exploration *x)
{
	begin(1);
	record(&now.recorder, now.mm);
}

static void exit_mm(const struct exploration *x)
{
	mm_put(now.mm);
}

static void leave_chain(const struct exploration *x)
{
	mmu_notifier_unregister(&now.recorder.mn);
	now.heard = calls(&now.recorder);
}

static const char *released_once(const struct exploration *x)
{
	if (calls(&now.recorder) != now.heard)
		return "a notifier is called after it was unregistered";
	return now.recorder.releases == 1 ? NULL
					  : "release() is not called once";
}

static void nothing(const struct exploration *x)
{
}

static const struct exploration exits = {
	.setup = heard,
	.teardown = nothing,
	.verdict = released_once,
	.actors = { { "exits", exit_mm }, { "leaves", leave_chain } },
};

TEST_FULL(explore, exit_beside_unregister,
	  "in every order of the exit of a process and unregister() the "
	  "notifier's release() is called once, and nothing later (B25)",
	  1, EXPLORE_LIMIT)
{
	EXPECT_EXPLORED(&exits);
}
