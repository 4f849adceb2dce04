/* SPDX-License-Identifier: MIT */
/*
 * scan.c - the scanner of collapse (mm/huge/scan.h)
 */
#include "mm/huge/scan.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/rand.h"
#include "mm/frame/pmm.h"
#include "mm/huge/collapse.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* Return an mm with 3 times 2 MiB that wants huge pages, and small pages in the first
 * n / 512 of them: i + 1 in page i. */
static struct mm *small_pages(unsigned n)
{
	struct mm *mm = mm_fixture(3 * N);

	mm_bind(mm);
	for (unsigned i = n; i-- > 0;)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	REQUIRE(!mm_advise_huge(mm, P(0), P(3 * N), true));
	return mm;
}

static struct huge_scan_stat stat_now(void)
{
	struct huge_scan_stat now;

	huge_scan_stat(&now);
	return now;
}

/* Do a whole pass.  Returns what it has counted. */
static struct huge_scan_stat pass(void)
{
	struct huge_scan_stat before, after;

	huge_full_scan(); /* one that is under way ends here */
	before = stat_now();
	huge_full_scan();
	after = stat_now();
	EXPECT_EQ(after.passes, before.passes + 1);
	return (struct huge_scan_stat){
		.scanned = after.scanned - before.scanned,
		.collapsed = after.collapsed - before.collapsed,
		.idle = after.idle - before.idle,
		.sparse = after.sparse - before.sparse,
		.busy = after.busy - before.busy,
		.no_block = after.no_block - before.no_block,
	};
}

/* Make every small page of the first 2 MiB idle. */
static void make_idle(struct mm *mm)
{
	for (unsigned i = 0; i < N; i++) {
		struct page *page = page_at(mm, P(i));

		REQUIRE(page);
		page_mark_idle(page);
		EXPECT(!page_young(page));
		page_put(page);
	}
}

static bool is_huge(struct mm *mm, va_t va)
{
	return entry_huge(entry_at(mm, va));
}

TEST(huge_scan, used_pages_are_collapsed,
     "a pass collapses each table of small pages in an advised region, and the "
     "next one finds nothing left to do")
{
	struct mm *mm;
	struct huge_scan_stat n;

	huge_full_scan();
	mm = small_pages(2 * N);
	huge_full_scan();
	EXPECT(is_huge(mm, P(0)) && is_huge(mm, Q(0)));
	EXPECT_EQ(huge_wrong(mm, 0, 2 * N), 0);
	n = pass();
	EXPECT_EQ(n.scanned, 0);
	mm_put(mm);
}

TEST(huge_scan, counts_what_it_visits,
     "each table that a pass visits is counted once, by what became of it")
{
	struct mm *mm;
	struct huge_scan_stat before, after;

	huge_full_scan();
	mm = small_pages(2 * N);
	before = stat_now();
	huge_full_scan();
	after = stat_now();
	EXPECT_EQ(after.scanned - before.scanned, 2);
	EXPECT_EQ(after.collapsed - before.collapsed, 2);
	EXPECT_EQ(after.busy, before.busy);
	EXPECT_EQ(after.idle, before.idle);
	mm_put(mm);
}

TEST(huge_scan, only_advised_regions,
     "without the advice, without rights, with a limit, and where 2 MiB cross "
     "a region's edge the scanner visits no table")
{
	struct mm *mm = small_pages(N);

	EXPECT_EQ(mm_advise_huge(mm, P(0), P(3 * N), false), 0);
	EXPECT_EQ(pass().scanned, 0);
	EXPECT_EQ(mm_advise_huge(mm, P(1), P(3 * N), true), 0);
	EXPECT_EQ(pass().scanned, 0);
	EXPECT_EQ(mm_advise_huge(mm, P(1), P(3 * N), false), 0);
	EXPECT_EQ(mm_advise_huge(mm, P(0), P(N - 1), true), 0);
	EXPECT_EQ(pass().scanned, 0);
	EXPECT_EQ(mm_advise_huge(mm, P(0), P(N), true), 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_NONE), 0);
	EXPECT_EQ(pass().scanned, 0);
	EXPECT_EQ(mm_protect(mm, P(0), P(N), RW), 0);
	WRITE_ONCE(mm->limit, 4 * N);
	EXPECT_EQ(pass().scanned, 0);
	WRITE_ONCE(mm->limit, 0);
	EXPECT(!is_huge(mm, P(0)));
	EXPECT_EQ(wr(mm, P(0), 1), 0); /* used */
	EXPECT_EQ(pass().scanned, 0);  /* the pass before has done it */
	EXPECT(is_huge(mm, P(0)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_scan, idle_pages_stay_small,
     "a table of which no page was used since its accessed bits were cleared "
     "is left, until a CPU uses one page")
{
	struct mm *mm = small_pages(N);
	struct huge_scan_stat n;

	make_idle(mm);
	n = pass();
	EXPECT_EQ(n.scanned, 1);
	EXPECT_EQ(n.idle, 1);
	EXPECT(!is_huge(mm, P(0)));
	EXPECT_EQ(rd(mm, P(411)), 412);
	huge_full_scan();
	EXPECT(is_huge(mm, P(0)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

static va_t used_va;

static bool used_page(struct mmu_notifier *mn, struct mm *mm, va_t va)
{
	return va == used_va;
}

TEST(huge_scan, use_by_a_device_counts,
     "a table of which only a secondary MMU has used a page is collapsed: its "
     "notifier is asked about each page (C87)")
{
	static const struct mmu_notifier_ops ops = { .test_young = used_page };
	struct mmu_notifier mn = { .ops = &ops };
	struct mm *mm = small_pages(N);

	make_idle(mm);
	used_va = Q(3);
	REQUIRE(!mmu_notifier_register(&mn, mm));
	EXPECT_EQ(pass().idle, 1);
	used_va = P(511);
	huge_full_scan();
	EXPECT(is_huge(mm, P(0)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mmu_notifier_unregister(&mn);
	mm_put(mm);
}

TEST(huge_scan, empty_entries_up_to_the_knob,
     "a table with more empty entries than max_none stays small, and one with "
     "as "
     "many is collapsed")
{
	struct mm *mm = small_pages(N);

	EXPECT_EQ(mm_discard(mm, P(100), P(110)), 0);
	EXPECT_EQ(rd(mm, P(105)), 0); /* the zero page counts, too */
	huge_scan_knobs.max_none = 9;
	EXPECT_EQ(pass().sparse, 1);
	EXPECT(!is_huge(mm, P(0)));
	huge_scan_knobs.max_none = 10;
	huge_full_scan();
	EXPECT(is_huge(mm, P(0)));
	huge_scan_knobs = HUGE_SCAN_KNOBS_DEFAULT;
	EXPECT_EQ(rd(mm, P(105)), 0);
	EXPECT_EQ(huge_wrong(mm, 110, N), 0);
	mm_put(mm);
}

/* Expect that a pass leaves the first table as it is, because of a page, and that
 * mm_collapse() refuses it. */
static void expect_busy(struct mm *mm)
{
	static uint64_t was[N];
	unsigned changed = 0;

	EXPECT_EQ(pass().busy, 1);
	for (unsigned i = 0; i < N; i++)
		was[i] = entry_at(mm, P(i));
	EXPECT_EQ(mm_collapse(mm, VA), -EBUSY);
	for (unsigned i = 0; i < N; i++)
		changed += entry_at(mm, P(i)) != was[i];
	EXPECT_EQ(changed, 0);
	EXPECT(!is_huge(mm, P(0)));
}

TEST(huge_scan, page_in_use_stays_small,
     "a pinned, a referenced, an evicted and a swapped page each keep their "
     "table, with every entry as it was (C84)")
{
	struct mm *mm = small_pages(N);
	struct page *page;

	REQUIRE(!pin_pages(mm, P(300), 1, PIN_WRITE, &page));
	expect_busy(mm);
	unpin_pages(&page, 1);
	page = page_at(mm, P(511));
	expect_busy(mm);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	expect_busy(mm);
	EXPECT_EQ(rd(mm, P(511)), 512);
	swap_fixture_begin(4);
	EXPECT_EQ(swap_out_at(mm, P(0)), 0);
	expect_busy(mm);
	EXPECT(swapped_at(mm, P(0)));
	swap_fixture_end();
	EXPECT_EQ(rd(mm, P(0)), 1);
	huge_full_scan();
	EXPECT(is_huge(mm, P(0)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_scan, merged_page_stays_small,
     "two merged pages keep their table, and what they hold, until they are "
     "private again (C103)")
{
	struct mm *mm = small_pages(N);

	REQUIRE(!wr(mm, P(7), 'K') && !wr(mm, P(9), 'K'));
	REQUIRE(!ksm_mergeable(mm, P(0), P(N)));
	ksm_scans(2);
	REQUIRE(same_frame(mm, P(7), mm, P(9)));
	expect_busy(mm);
	EXPECT(same_frame(mm, P(7), mm, P(9)));
	REQUIRE(!ksm_unmergeable(mm, P(0), P(N)));
	huge_full_scan();
	EXPECT(is_huge(mm, P(0)));
	EXPECT_EQ(rd(mm, P(7)), 'K');
	EXPECT_EQ(rd(mm, P(9)), 'K');
	EXPECT_EQ(huge_wrong(mm, 10, N), 0);
	mm_put(mm);
}

TEST(huge_scan, shared_pages_stay_small,
     "pages that a fork shares stay small in both spaces, and are collapsed in "
     "the one that is left")
{
	struct mm *mm = small_pages(N), *child = fork_of(mm);

	EXPECT_EQ(pass().busy, 2);
	mm_put(mm);
	EXPECT_EQ(rd(child, P(1)), 2);
	huge_full_scan();
	EXPECT(is_huge(child, P(0)));
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
}

TEST(huge_scan, without_a_block_nothing_changes,
     "a pass without memory for a block counts that, changes nothing, and goes "
     "on")
{
	struct mm *mm;
	uint64_t before;

	huge_full_scan();
	mm = small_pages(2 * N);
	before = stat_now().no_block;
	inject_arm(1);
	huge_full_scan();
	EXPECT(inject_disarm());
	EXPECT_EQ(stat_now().no_block, before + 1);
	EXPECT(!is_huge(mm, P(0)));
	EXPECT(is_huge(mm, Q(0)));
	EXPECT_EQ(huge_wrong(mm, 0, 2 * N), 0);
	mm_put(mm);
}

static struct mm *late;

/* Withdraw the advice after the table was found worth a collapse. */
static void withdraw(uint64_t mm, uint64_t va, void *unused)
{
	if (mm == (uint64_t)late)
		EXPECT_EQ(mm_advise_huge(late, P(0), P(3 * N), false), 0);
}

TEST(huge_scan, advice_is_read_again,
     "an advice that is withdrawn after the scanner's look keeps the pages "
     "small: the collapse looks again under the lock")
{
	struct mm *mm = small_pages(N);

	late = mm;
	hook("huge_scanned", withdraw, NULL);
	huge_full_scan();
	unhook("huge_scanned");
	EXPECT(!is_huge(mm, P(0)));
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	mm_put(mm);
}

TEST(huge_scan, cursor_outlives_an_address_space,
     "a pass goes on with the next address space when the one at its cursor "
     "has ended, and visits every table of those that live once")
{
	struct mm *a, *b;

	huge_full_scan();
	a = small_pages(2 * N);
	b = small_pages(2 * N);
	EXPECT_EQ(huge_scan(1), 1);
	EXPECT(is_huge(a, P(0)) && !is_huge(a, Q(0)));
	mm_put(a);
	EXPECT_EQ(huge_scan(1), 1);
	EXPECT(is_huge(b, P(0)) && !is_huge(b, Q(0)));
	EXPECT_EQ(huge_scan(100), 1);
	EXPECT(is_huge(b, Q(0)));
	EXPECT_EQ(huge_wrong(b, 0, 2 * N), 0);
	mm_put(b);
}

TEST(huge_scan, thread_collapses_by_itself,
     "the thread collapses what is advised until it is stopped, and there is "
     "one at most")
{
	struct mm *mm = small_pages(2 * N);
	uint64_t scanned;

	huge_scan_knobs.sleep_ns = 100000;
	inject_arm(1);
	EXPECT_EQ(huge_scan_start(), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(huge_scan_start(), 0);
	EXPECT_EQ(huge_scan_start(), -EBUSY);
	while (!is_huge(mm, Q(0)) || !is_huge(mm, P(0)))
		yield();
	huge_scan_stop();
	huge_scan_stop();
	EXPECT_EQ(huge_wrong(mm, 0, 2 * N), 0);
	huge_split_at(mm, P(1));
	scanned = stat_now().scanned;
	for (unsigned i = 0; i < 50; i++)
		yield();
	EXPECT_EQ(stat_now().scanned, scanned);
	EXPECT(!is_huge(mm, P(0)));
	huge_scan_knobs = HUGE_SCAN_KNOBS_DEFAULT;
	mm_put(mm);
}

TEST(huge_scan, pages_change_beside_the_thread,
     "what is written, discarded, protected and unmapped while the thread "
     "collapses is what a model says")
{
	static uint64_t model[2 * N];
	struct mm *mm = small_pages(2 * N);
	struct rng rng;
	unsigned wrong = 0;
	uint64_t before = stat_now().collapsed;

	rng = rng_seed(test_seed());
	for (unsigned i = 0; i < 2 * N; i++)
		model[i] = i + 1;
	huge_scan_knobs.sleep_ns = 1000;
	EXPECT_EQ(huge_scan_start(), 0);
	for (unsigned i = 0; i < 300 || stat_now().collapsed < before + 5;
	     i++) {
		unsigned at = (unsigned)rng_below(&rng, 2 * N);
		unsigned n = (unsigned)rng_below(&rng, 8) + 1;

		if (at + n > 2 * N)
			n = 2 * N - at;
		switch (rng_below(&rng, 3)) {
		case 0:
			EXPECT_EQ(mm_discard(mm, P(at), P(at + n)), 0);
			for (unsigned j = at; j < at + n; j++)
				model[j] = 0;
			break;
		case 1:
			EXPECT_EQ(mm_protect(mm, P(at), P(at + n), PROT_R), 0);
			EXPECT_EQ(wr(mm, P(at), 1), -EFAULT);
			EXPECT_EQ(mm_protect(mm, P(at), P(at + n), RW), 0);
			break;
		default:
			EXPECT_EQ(wr(mm, P(at), i), 0);
			model[at] = i;
		}
		wrong += rd(mm, P(at)) != model[at];
		yield();
	}
	huge_scan_stop();
	huge_scan_knobs = HUGE_SCAN_KNOBS_DEFAULT;
	for (unsigned i = 0; i < 2 * N; i++)
		wrong += rd(mm, P(i)) != model[i];
	EXPECT_EQ(wrong, 0);
	mm_put(mm);
}
