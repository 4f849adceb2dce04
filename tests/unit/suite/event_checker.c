/* SPDX-License-Identifier: MIT */
/*
 * event_checker.c - tests tests/checker/event_checker.h
 */
#include "drivers/lsi.h"
#include "iommu/core/iommu.h"
#include "kernel/string.h"
#include "tests/base/test.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/engines.h"

TEST(event_checker, lost_entry_is_seen,
     "a log entry that was counted and never appeared fails the test")
{
	struct iommu *iommu = iommu_machine();

	if (!iommu)
		SKIP("this machine has no IOMMU");
	iommu->events.lost++;
	EXPECT(glob_match("*never appeared*", events_check()));
	iommu->events.lost--;
	iommu->requests.lost++;
	EXPECT(glob_match("*never appeared*", events_check()));
	iommu->requests.lost--;
	EXPECT_STR_NULL(events_check());
}

TEST(event_checker, stray_event_is_seen,
     "an unexpected event of a device fails the test and names the device")
{
	uint16_t devid = lsi_at(0) ? lsi_at(0)->engine.devid : 0;
	uint64_t word;

	CHECKED_ONLY("watches the log");
	NEED_QUIRK(event_logged);
	EXPECT_EQ(dma_read(&lsi_at(0)->engine, 0, &word, sizeof(word)) != 0,
		  true); /* denied: it cannot fetch its program */
	EXPECT(glob_match("*unexpected events of device 80*", events_check()));
	events_allow(devid);
	EXPECT_STR_NULL(events_check());
}

TEST(event_checker, missing_event_is_seen,
     "a refusal without an event fails the test")
{
	CHECKED_ONLY("watches the log");
	NEED_QUIRK(event_logged);
	events_refused(lsi_at(0)->engine.devid);
	EXPECT(glob_match("*80 was refused, and there is no event of it*",
			  events_check()));
	events_allow(lsi_at(0)->engine.devid);
	EXPECT_STR_NULL(events_check());
}
