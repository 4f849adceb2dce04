/* SPDX-License-Identifier: MIT */
/*
 * contract.c - contracts that the checking build asserts
 *
 * tools/check sees that a function asserts what its comment says; here the
 * assertions are seen to fire.
 */
#include "kernel/string.h"
#include "mm/space/gather.h"
#include "mm/space/mm_priv.h"
#include "tests/fixture/mm/mm_fixture.h"

/* Run fn(mm) and expect it to panic with a message that matches. */
#define EXPECT_REFUSED(fn, condition)                              \
	do {                                                       \
		char cause[200];                                   \
		struct mm *mm;                                     \
                                                                   \
		CHECKED_ONLY("asserts contracts");                 \
		mm = mm_fixture(1);                                \
		EXPECT(panic_catch(fn, mm, cause, sizeof(cause))); \
		EXPECT(glob_match(condition, cause));              \
		mm_put(mm);                                        \
	} while (0)

static void cut_without_lock(void *arg)
{
	(void)!region_cut(arg, P(0), P(1));
}

TEST(contract, region_cut_needs_mm_lock,
     "a region is not split without mm->lock held to write")
{
	EXPECT_REFUSED(cut_without_lock, "*region_cut: *mm_lock_held_write*");
}

static void fault_under_pt_lock(void *arg)
{
	struct mm *mm = arg;

	spin_lock(&mm->pt_lock);
	(void)!mm_fault(mm, P(0), PROT_R);
}

TEST(contract, fault_may_sleep,
     "mm_fault() is refused where its caller may not sleep")
{
	EXPECT_REFUSED(fault_under_pt_lock, "*mm_fault: *may_sleep*");
}

static struct page *page; /* survives the thread that panics */

static void put_under_late_lock(void *arg)
{
	struct spinlock late = SPINLOCK_INIT(RANK_DEVICE, "late");

	page = page_alloc();
	spin_lock(&late);
	page_put(page);
}

TEST(contract, page_put_takes_the_lists,
     "a frame is not put under a lock that comes after the free lists' lock")
{
	EXPECT_REFUSED(put_under_late_lock, "*page_put: *RANK_PMM*");
	page_put(page);
}

static void gather_unflushed(void *arg)
{
	struct mm *mm = arg;
	GATHER(gather, mm);

	spin_lock(&mm->pt_lock);
	gather_span(&gather, P(0), P(1));
	spin_unlock(&mm->pt_lock);
}

TEST(contract, gather_is_flushed,
     "a gather that leaves its scope without a flush is caught")
{
	EXPECT_REFUSED(gather_unflushed, "*gather_done: *gather_pending*");
}
