/* SPDX-License-Identifier: MIT */
/*
 * ksm_notified.c - which notifications merges, breaks and opt-outs cause: the table
 * of mm/ksm/KSM.md as tests (B10, B11, B15, B45)
 */
#include "tests/fake/fake_mmu.h"
#include "tests/fake/late_flush.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* Makes n pages of 'A', scanned once, and a notifier that records its calls. */
static struct mm *notified_fixture(unsigned n, struct recorder *r)
{
	struct mm *mm = ksm_equal(n, 'A');

	record(r, mm);
	ksm_scans(1);
	return mm;
}

TEST(ksm_notified, scan_without_merge_does_not_notify,
     "a pass that only computes checksums calls no notifier")
{
	struct recorder r;
	struct mm *mm = notified_fixture(3, &r);

	EXPECT_RECORDED(&r, "");
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_notified, merge_takes_w_then_the_page,
     "the first page loses W, and each further page loses W and then its "
     "frame, with a notification each (B45)")
{
	struct recorder r;
	struct mm *mm = notified_fixture(3, &r);

	ksm_scans(1);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_RECORDED(&r,
			"start clear 0-1; range 0-1; end 0-1; "
			"start clear 1-2; range 1-2; range 1-2; change 1-2; "
			"end 1-2; "
			"start clear 2-3; range 2-3; range 2-3; change 2-3; "
			"end 2-3");
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_notified, refused_merge_restores_w_and_notifies,
     "a notifier that was called for the loss of W is called again when a "
     "refused merge restores it (B8)")
{
	struct recorder r;
	struct mm *mm = notified_fixture(2, &r);
	struct page *held = ksm_scan_held(mm, "ksm_write_protect");

	EXPECT_RECORDED(&r, "start clear 0-1; range 0-1; end 0-1; "
			    "start clear 1-2; range 1-2; range 1-2; end 1-2");
	EXPECT(!is_merged(mm, P(1)));
	if (held)
		page_put(held);
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_notified, break_notifies_like_a_copy,
     "a write to a merged page is notified as any copy-on-write")
{
	struct recorder r;
	struct mm *mm = notified_fixture(2, &r);
	uint64_t since;

	ksm_scans(1);
	recorded(&r);
	mm_bind(mm);
	rd(mm, P(1));
	since = probes_begin();
	wr(mm, P(1), 'B');
	mm_bind(NULL);
	EXPECT_RECORDED(&r, "start clear 1-2; range 1-2; change 1-2; end 1-2");
	EXPECT(probes_in_order(since, mm,
			       "cow_copied range_start range_started pte_clear "
			       "tlb_flush range range_flushed change_pte "
			       "pte_set range_end range_ended"));
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_notified, opt_out_notifies_each_page,
     "each page that an opt-out makes private is notified in an invalidation "
     "of its own, and no other page is")
{
	struct recorder r;
	struct mm *mm = notified_fixture(3, &r);

	ksm_scans(1);
	wr(mm, P(1), 'B');
	recorded(&r);
	EXPECT_EQ(ksm_unmergeable(mm, VA, P(3)), 0);
	EXPECT_RECORDED(&r, "start clear 0-1; range 0-1; change 0-1; end 0-1; "
			    "start clear 2-3; range 2-3; change 2-3; end 2-3");
	record_end(&r);
	mm_put(mm);
}

/* ---- a flush that waits for the end --------------------------------------- */

static struct {
	struct fake_mmu walker;
	struct page *old; /* the frame of page 1                             */
	unsigned seen;
} late;

static void walk_again(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t v;

	if (mm == (uint64_t)late.walker.mm)
		fake_reads(&late.walker, va, &v);
}

/* The locks are dropped, and the walker has not been flushed. */
static void reads_the_same(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t v = 0;

	if (mm != (uint64_t)late.walker.mm || va != P(1))
		return;
	EXPECT(late.walker.map[1].page == late.old);
	EXPECT(page_kind(late.old) == PAGE_ANON);
	EXPECT(fake_reads(&late.walker, va, &v) && v == 'A');
	EXPECT(!fake_writes(&late.walker, va, 'X'));
	late.seen++;
}

TEST(ksm_notified, flush_of_a_merged_page_may_wait_for_the_end,
     "a walker whose flush of a merged page waits for the end of the "
     "invalidation reads the same until then, by the old frame, which is not "
     "free; after the end it has nothing (B11)")
{
	struct fake_mmu_kind kind = fake_walker;
	struct mm *mm = ksm_equal(2, 'A');

	ksm_scans(1);
	kind.ops = late_flush_of_merges(fake_walker.ops, mm);
	fake_attach(&late.walker, &kind, mm);
	late.old = page_at(mm, P(1));
	page_put(late.old); /* one reference more would refuse the merge */
	late.seen = 0;
	hook("ksm_write_protected", walk_again, NULL);
	hook("range_end", reads_the_same, NULL);
	ksm_scans(1);
	unhook("range_end");
	unhook("ksm_write_protected");
	EXPECT_EQ(late.seen, 1);
	EXPECT_EQ(late_flush_over(), 1);
	EXPECT(!fake_has(&late.walker, P(1), false));
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(fake_read(&late.walker, P(1)), 'A');
	fake_detach(&late.walker);
	mm_put(mm);
}

TEST(ksm_notified, zero_page_merge_notifies,
     "a page of zeroes loses W and then its frame, with the notifications of "
     "any other merge")
{
	struct recorder r;
	struct mm *mm = ksm_equal(1, 1);

	wr(mm, VA, 0);
	ksm_knobs.use_zero_pages = true;
	record(&r, mm);
	ksm_scans(1);
	EXPECT_RECORDED(&r,
			"start clear 0-1; range 0-1; range 0-1; change 0-1; "
			"end 0-1");
	ksm_knobs_reset();
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_notified, notifiers_of_all_spaces_are_called,
     "a merged page is young if any notifier of any of its spaces says that "
     "it is")
{
	struct mm *mm[2];
	struct recorder r;
	struct page *page;

	for (unsigned k = 0; k < 2; k++) {
		mm[k] = ksm_fixture(1);
		wr(mm[k], VA, 'Y');
	}
	ksm_scans(2);
	record(&r, mm[1]);
	page = page_at(mm[0], VA);
	page_referenced(page);
	recorded(&r);
	r.young = true;
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_RECORDED(&r, "flush_young 0-1");
	page_put(page);
	record_end(&r);
	mm_put(mm[0]);
	mm_put(mm[1]);
}
