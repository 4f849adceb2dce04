/* SPDX-License-Identifier: MIT */
/*
 * users_life.c - a device comes to an address space, and either goes
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/snapshot.h"
#include "tests/fixture/mm/sync_point.h"

USER_TEST(users, exit_denies_before_it_frees,
	  "when the last user of the mm has exited the device reaches nothing "
	  "(C49, B25)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));

	fixture_exit(mm);

	fixture_expect_lost(s, P(0), page);
	page_put(page);
}

static void leave(void *s)
{
	fixture_unbind(s, 0);
}

USER_TEST(users, exit_denies_during_an_unbind,
	  "an exit does not wait for an unbind that is about to deny the "
	  "device: it denies the device itself before it frees (B25)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));
	struct task t;
	struct sync_point g;

	sync_point_set(&g, "binding_deny", fixture_binding(0));
	spawn(&t, leave, s);
	sync_point_await(&g);
	fixture_exit(mm);
	fixture_expect_lost(s, P(0), page);
	sync_point_release(&g);
	join(&t);
	page_put(page);
}

USER_TEST(users, second_process_is_separate,
	  "a device that is bound to a second mm reaches nothing of the first "
	  "(C116)")
{
	struct mm *mm = fixture_warm(s), *other = fixture_mm(s, 1);

	REQUIRE(!wr(other, P(0), 'B'));
	fixture_unbind(s, 0);
	fixture_bind(s, 0, other);

	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	REQUIRE(!mm_unmap(other, P(0), P(1)));
	EXPECT_EQ(fixture_load(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

USER_TEST(users, two_devices_one_mm,
	  "a change of an mm takes effect for every device that is bound to it "
	  "(C125)")
{
	struct mm *mm = fixture_warm(s);

	fixture_bind(s, 1, mm);
	EXPECT_EQ(fixture_load(s, 1, P(0)), 'A');
	REQUIRE(!mm_discard(mm, P(0), P(1)));

	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 1, P(0)), BLOCKED);
	REQUIRE(!fixture_store(s, 1, P(0), 'B'));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
}

USER_TEST(users, two_devices_two_mms,
	  "a change of one mm takes nothing from the device of another (C125)")
{
	struct mm *mm = fixture_warm(s), *other = fixture_mm(s, 1);

	fixture_bind(s, 1, other);
	REQUIRE(!fixture_store(s, 1, P(0), 'B'));
	fixture_exit(mm);

	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 1, P(0)), 'B');
}

USER_TEST(users, second_bind_is_refused,
	  "a device that is bound cannot be bound again, and stays bound")
{
	static struct sva sva;
	static struct mirror mirror;
	struct mm *mm = fixture_warm(s), *other = fixture_mm(s, 1);

	EXPECT_EQ(sva_bind(&sva, s->iommu, NULL, s->devid[0], 0, other),
		  (uint64_t)-EBUSY);
	EXPECT_EQ(mirror_bind(&mirror, s->iommu, NULL, s->devid[0], 0, other),
		  (uint64_t)-EBUSY);

	EXPECT_EQ(fixture_read(s, 0, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

/* ---- out of memory ------------------------------------------------------ */

USER_TEST(users, bind_without_memory,
	  "a bind of which any one allocation fails leaves the device unbound, "
	  "and nothing allocated")
{
	struct mm *mm = fixture_mm(s, 1);
	int error = -ENOMEM;

	for (unsigned n = 1; error; n++) {
		snapshot_take(SNAP_CONTENTS);
		inject_arm(n);
		error = fixture_try_bind(s, 0, mm);
		EXPECT_EQ(inject_disarm(), error == -ENOMEM);
		if (error)
			EXPECT_STR_NULL(snapshot_changed());
		EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
		EXPECT_STR_NULL(iommu_check(s->iommu));
	}
}

USER_TEST(users, fault_without_memory,
	  "a fault of which any one allocation fails maps nothing for the "
	  "device, and a later fault succeeds")
{
	struct mm *mm = fixture_mm(s, 1);
	int error = -ENOMEM;

	fixture_bind(s, 0, mm);
	for (unsigned n = 1; error; n++) {
		snapshot_take(SNAP_CONTENTS);
		inject_arm(n);
		error = fixture_fault(0, P(0), PROT_W);
		EXPECT_EQ(inject_disarm(), error == -ENOMEM);
		if (!error)
			break;
		EXPECT_STR_NULL(snapshot_changed());
		EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	}
	EXPECT_EQ(fixture_store(s, 0, P(0), 'A'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
}
