/* SPDX-License-Identifier: MIT */
/*
 * requests.c - a device's fault against what the CPU does to its region
 */
#include "kernel/err.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

static struct endpoint e;

static void unmap(void *arg)
{
	if (mm_unmap(arg, P(0), P(1)))
		test_fail(__FILE__, __LINE__, "unmap");
}

USER_TEST(requests, unmap_waits_for_the_fault,
	  "an unmap waits for a device's fault that has found its region, and "
	  "afterwards nothing is mapped, whichever was first (C115, H48)")
{
	struct endpoint_job job = { .va = P(0), .word = 'A', .write = true };
	struct mm *mm = fixture_mm(s, 2);
	struct sync_point g;
	struct task t;
	int error;

	fixture_serve(s);
	fixture_bind(s, 0, mm);
	endpoint_open(&e, s, 0, NULL);
	sync_point_set(&g, "fault_fresh", mm);
	endpoint_begin(&e, &job);
	sync_point_await(&g);
	spawn(&t, unmap, mm);
	EXPECT(still_waits(&t));
	EXPECT_EQ(entry_at(mm, P(0)), 0);
	sync_point_release(&g);
	error = endpoint_end(&e, &job);
	join(&t);

	/* It wrote before the unmap, or was refused after it. */
	EXPECT(!error || error == -EFAULT);
	EXPECT_EQ(entry_at(mm, P(0)), 0);
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(endpoint_write(&e, P(0), 'B'), -EFAULT);
	EXPECT_EQ(endpoint_write(&e, P(1), 'C'), 0);
	EXPECT_EQ(rd(mm, P(1)), 'C');
}
