/* SPDX-License-Identifier: MIT */
/*
 * scn_ksm_told.c - what listeners hear of merges, breaks and opt-outs: the table
 * of mm/KSM.md as claims (B10, B11, B15, B45)
 */
#include "tests/cast.h"
#include "tests/ksm_world.h"

/* n pages holding 'A', seen once, and somebody who listens. */
static struct mm *told_world(unsigned n, struct recorder *r)
{
	struct mm *mm = ksm_equal(n, 'A');

	record(r, mm);
	ksm_scans(1);
	return mm;
}

TEST(ksm_told, looking_tells_nobody,
     "a pass that computes checksums changes no entry that others know")
{
	struct recorder r;
	struct mm *mm = told_world(3, &r);

	EXPECT_HEARD(&r, "");
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, merge_takes_w_then_the_page,
     "the first page loses W; the next ones too, and then, equal, their frame "
     "(B45)")
{
	struct recorder r;
	struct mm *mm = told_world(3, &r);

	ksm_scans(1);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; end 0-1; "
			 "start clear 1-2; range 1-2; range 1-2; change 1-2; "
			 "end 1-2; "
			 "start clear 2-3; range 2-3; range 2-3; change 2-3; "
			 "end 2-3");
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, refusal_gives_back_and_says_so,
     "who was told that W is gone is told that it is back, when the page "
     "cannot be merged (B8)")
{
	struct recorder r;
	struct mm *mm = told_world(2, &r);
	struct page *held = ksm_scan_held(mm, "ksm_protect");

	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; end 0-1; "
			 "start clear 1-2; range 1-2; range 1-2; end 1-2");
	EXPECT(!is_merged(mm, P(1)));
	if (held)
		page_put(held);
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, break_is_a_copy,
     "a write to a merged page is told as any copy on write")
{
	struct recorder r;
	struct mm *mm = told_world(2, &r);
	uint64_t since;

	ksm_scans(1);
	heard(&r);
	mm_bind(mm);
	rd(mm, P(1));
	since = probes_begin();
	wr(mm, P(1), 'B');
	mm_bind(NULL);
	EXPECT_HEARD(&r, "start clear 1-2; range 1-2; change 1-2; end 1-2");
	EXPECT(probes_in_order(since, mm,
			       "cow_copied range_start range_started pte_clear "
			       "tlb_flush range range_flushed change_pte "
			       "pte_set range_end range_ended"));
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, opt_out_tells_each_page,
     "each page that becomes private again is told in a window of its own, "
     "pages that were none are not")
{
	struct recorder r;
	struct mm *mm = told_world(3, &r);

	ksm_scans(1);
	wr(mm, P(1), 'B');
	heard(&r);
	EXPECT_EQ(ksm_unmergeable(mm, VA, P(3)), 0);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; change 0-1; end 0-1; "
			 "start clear 2-3; range 2-3; change 2-3; end 2-3");
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, late_flush_comes_behind_the_end,
     "the variant that delays the flush of equal contents tells it once, "
     "behind the end")
{
	struct recorder r;
	struct mm *mm = told_world(2, &r);

	ksm_knobs.late_flush = true;
	ksm_scans(1);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; end 0-1; "
			 "start clear 1-2; range 1-2; change 1-2; end 1-2; "
			 "range 1-2");
	EXPECT_KSM(1, 1, 0, 0);
	ksm_knobs_reset();
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, zero_page_too,
     "a page of zeroes loses W, then its frame, as any other")
{
	struct recorder r;
	struct mm *mm = ksm_equal(1, 1);

	wr(mm, VA, 0);
	ksm_knobs.use_zero_pages = true;
	record(&r, mm);
	ksm_scans(1);
	EXPECT_HEARD(&r, "start clear 0-1; range 0-1; range 0-1; change 0-1; "
			 "end 0-1");
	ksm_knobs_reset();
	record_end(&r);
	mm_put(mm);
}

TEST(ksm_told, listeners_of_all_spaces_are_asked,
     "a merged page is young if any listener of any of its spaces says so")
{
	struct mm *mm[2];
	struct recorder r;
	struct page *page;

	for (unsigned k = 0; k < 2; k++) {
		mm[k] = ksm_world(1);
		wr(mm[k], VA, 'Y');
	}
	ksm_scans(2);
	record(&r, mm[1]);
	page = page_at(mm[0], VA);
	page_referenced(page);
	heard(&r);
	r.young = true;
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_HEARD(&r, "flush_young 0-1");
	page_put(page);
	record_end(&r);
	mm_put(mm[0]);
	mm_put(mm[1]);
}
