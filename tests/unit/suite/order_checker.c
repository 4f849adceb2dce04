/* SPDX-License-Identifier: MIT */
/*
 * order_checker.c - the checker of the order of probes finds each wrong order
 */
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "tests/checker/cache_checker.h"
#include "tests/checker/order_checker.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/unit/suite/complained.h"

/* An mm that does not exist; the test plays its steps by hand. */
static struct mm fake[2] = { { .users = 1 }, { .users = 1 } };
#define MM    ((uint64_t)&fake[0])
#define OTHER ((uint64_t)&fake[1])
#define MN    UINT64_C(0x5678)

static void joined(void)
{
	CHECKED_ONLY("has checkers of devices");
	PROBE(notifier_join, MM, MN);
	PROBE(range_started, MM, VA);
}

static void left(void)
{
	PROBE(range_ended, MM, VA);
	PROBE(notifier_leave, MM, MN);
}

IOMMU_TEST(checker, order_of_a_copy,
	   "an entry is cleared, notified and set in this order; every other "
	   "order is reported (B9, B12)")
{
	joined();
	PROBE(pte_clear, MM, VA);
	PROBE(range, MM, VA);
	PROBE(range_flushed, MM, VA);
	PROBE(change_pte, MM, VA);
	PROBE(pte_set, MM, VA);
	PROBE(pte_clear, MM, VA);
	PROBE(pte_set, MM, VA);
	EXPECT(complained("order: *cleared and not notified before pte_set"));
	PROBE(pte_clear, MM, VA);
	PROBE(change_pte, MM, VA);
	EXPECT(complained("order: *not notified before change_pte"));
	PROBE(pte_clear, MM, VA);
	PROBE(pte_clear, MM, P(1)); /* a gather */
	PROBE(notifier_join, OTHER, MN);
	PROBE(range_started, OTHER, VA);
	PROBE(pte_clear, OTHER, VA);
	EXPECT(complained("order: *before one of another mm is cleared"));
	PROBE(range_ended, OTHER, VA);
	EXPECT(complained("order: *not notified before range_ended"));
	PROBE(notifier_leave, OTHER, MN);
	left();
}

IOMMU_TEST(checker, order_of_a_free,
	   "a page is freed only after its entry "
	   "was cleared and notified (B2, B18)")
{
	struct page *page;

	joined();
	PROBE(pte_clear, MM, VA);
	page_put(page_alloc());
	EXPECT(complained("order: *not notified before a frame is freed"));
	page = page_alloc();
	REQUIRE(page);
	PROBE(pte_clear, MM, VA);
	PROBE(swap_uncached, page, 1);
	page_put(page); /* it is in no entry */
	page = page_alloc();
	REQUIRE(page);
	page_get(page);
	PROBE(swap_uncached, page, 1); /* it may be in one */
	page_put(page);
	page_put(page);
	EXPECT(complained("order: *not notified before a frame is freed"));
	PROBE(pte_clear, MM, VA);
	PROBE(range, MM, VA);
	PROBE(range_flushed, MM, VA);
	page_put(page_alloc());
	left();
}

IOMMU_TEST(checker, order_of_a_completion,
	   "a notification ends only after the completion of its commands "
	   "(B4, B3)")
{
	joined();
	PROBE(range, MM, VA);
	PROBE(iommu_submit, 7, 1);
	PROBE(iommu_complete, 7, 0);
	PROBE(range_flushed, MM, VA);
	EXPECT(complained("none"));
	PROBE(range, MM, VA);
	PROBE(iommu_submit, 8, 1);
	PROBE(iommu_complete, 7, 0);
	PROBE(table_free, 0, 0x1000);
	EXPECT(complained("order: table 1000 is freed, and completion 8 *"));
	PROBE(range_flushed, MM, VA);
	EXPECT(complained("order: *completion 8 has not been seen"));
	left();
}

IOMMU_TEST(checker, order_of_invalidations,
	   "entries change only inside an invalidation of their mm by the "
	   "same thread (B15)")
{
	joined();
	PROBE(range_started, MM, P(1)); /* nested */
	PROBE(range_ended, MM, P(1));
	PROBE(pte_move, MM, VA);
	PROBE(range_ended, MM, VA);
	PROBE(notifier_join, OTHER, MN);
	PROBE(range_started, OTHER, VA); /* of another mm */
	PROBE(pte_protect, MM, VA);
	EXPECT(complained(
		"order: *pte_protect of * outside of any invalidation"));
	PROBE(range_ended, OTHER, VA);
	PROBE(notifier_leave, OTHER, MN);
	PROBE(fork_shared, MM, VA);
	EXPECT(complained(
		"order: *fork_shared of * outside of any invalidation"));
	atomic_store(&fake[0].users, 0);
	PROBE(pte_move, MM, VA); /* during exit */
	atomic_store(&fake[0].users, 1);
	PROBE(notifier_leave, MM, MN);
	PROBE(pte_move, MM, VA); /* no notifier */
	EXPECT(complained("none"));
}

IOMMU_TEST(checker, steps_of_a_real_copy_are_followed,
	   "the steps of a real copy with a real notifier are followed")
{
	struct mm *mm = fixture_mm(s, 2), *child;
	uint64_t before;

	CHECKED_ONLY("has checkers of devices");
	fixture_bind_sva(s, 0, mm);
	REQUIRE(!fixture_store(s, 0, P(0), 'A'));
	child = fixture_fork(mm);
	before = order_checker_steps();
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	/* start, clear, range, notify, offer, set, end */
	EXPECT(order_checker_steps() >= before + 6);
	EXPECT_EQ(rd(child, P(0)), 'A');
}
