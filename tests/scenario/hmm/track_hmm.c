/* SPDX-License-Identifier: MIT */
/*
 * track_hmm.c - tracked pages that a device has alone, in its memory, or by hmm_range_fault()
 */
#include "mm/check/check.h"
#include "tests/fake/fake_device.h"
#include "tests/scenario/hmm/alone.h"
#include "tests/scenario/hmm/ask.h"

/* Return which of four pages were written since the last call. */
static uint64_t report(struct mm *mm)
{
	uint64_t pages = 0;

	EXPECT_EQ(mm_take_written(mm, P(0), P(4), &pages), 0);
	EXPECT_STR_NULL(mm_check());
	return pages;
}

IOMMU_TEST(track_hmm, page_of_one_device_counts,
	   "a page that a device has alone may be written: each report has "
	   "it, and the one after it came back")
{
	struct mm *mm = alone_begin(s);

	EXPECT_EQ(mm_track_writes(mm, P(0), P(4)), 0);
	EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
	alone_add_held(s, 1);
	hmm_driver_unlock(&alone);
	EXPECT_EQ(report(mm), 15);
	alone_add(s, 2);
	EXPECT_EQ(report(mm), 15);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(rd(mm, P(i)) > i);
	EXPECT_EQ(report(mm), 15);
	EXPECT_EQ(report(mm), 0);
	/* Taken and given back between two reports. */
	alone_add(s, 0);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(rd(mm, P(i)) > i);
	EXPECT_EQ(report(mm), 15);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(wr(mm, P(i), i), 0);
	alone_end(s, mm);
}

TEST(track_hmm, page_in_a_device_counts,
     "a page that goes to the memory of a device counts, a hole too, as long "
     "as it is there and once more")
{
	struct fake_device *d = fake_device(0, 4);
	struct mm *mm = mm_fixture(4);

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(4)), 0);
	EXPECT_EQ(device_take(d, mm, 0, 2), 2);
	EXPECT_EQ(report(mm), 3);
	EXPECT_EQ(device_store(d, mm, P(1), 'd'), 0);
	EXPECT_EQ(report(mm), 3);
	EXPECT_EQ(rd(mm, P(1)), 'd');
	EXPECT_EQ(report(mm), 3);
	EXPECT_EQ(report(mm), 1);
	EXPECT_EQ(device_take(d, mm, 2, 1), 1);
	EXPECT_EQ(device_store(d, mm, P(2), 'e'), 0);
	EXPECT_EQ(rd(mm, P(2)), 'e');
	EXPECT_EQ(report(mm), 5);
	mm_put(mm);
	fake_device_end(d);
}

TEST(track_hmm, report_for_a_driver_has_w_when_it_is_noted,
     "a driver that asks for pages to write gets them in a tracked region, and "
     "they count; one that asks to read gets no right to write")
{
	struct mm *mm = mm_fixture(4);

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	EXPECT_EQ(mm_track_writes(mm, P(0), P(4)), 0);
	ask_begin(mm, 0, 4, HMM_PFN_REQ_FAULT);
	EXPECT_EQ(ask_until_done(8), 0);
	EXPECT_EQ(ask_flags(1), V);
	EXPECT_EQ(report(mm), 0);
	ask_end();
	ask_begin(mm, 1, 2, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	EXPECT_EQ(ask_until_done(8), 0);
	EXPECT_EQ(ask_flags(0), VW);
	EXPECT_EQ(report(mm), 6);
	ask_end();
	mm_put(mm);
}
