/* SPDX-License-Identifier: MIT */
/*
 * scn_users_life.c - a device comes to an address space, and either goes
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/gate.h"
#include "tests/stand_mm.h"

USER_TEST(users, exit_denies_first,
	  "when the last user is gone the device reaches nothing (C49, B25)")
{
	struct mm *mm = stand_warm(s);
	struct page *page = page_at(mm, P(0));

	stand_exit(mm);

	stand_expect_lost(s, P(0), page);
	page_put(page);
}

static void leave(void *s)
{
	stand_unbind(s, 0);
}

USER_TEST(users, exit_overtakes_an_unbind,
	  "an exit waits for nobody who is about to deny the device: it does "
	  "so itself, before it frees (B25)")
{
	struct mm *mm = stand_warm(s);
	struct page *page = page_at(mm, P(0));
	struct task t;
	struct gate g;

	gate_close(&g, "admission_deny", stand_door(0));
	spawn(&t, leave, s);
	gate_await(&g);
	stand_exit(mm);
	stand_expect_lost(s, P(0), page);
	gate_open(&g);
	join(&t);
	page_put(page);
}

USER_TEST(users, another_process_is_another,
	  "bound to a second mm the device sees nothing of the first (C116)")
{
	struct mm *mm = stand_warm(s), *other = stand_mm(s, 1);

	REQUIRE(!wr(other, P(0), 'B'));
	stand_unbind(s, 0);
	stand_bind(s, 0, other);

	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
	REQUIRE(!mm_unmap(other, P(0), P(1)));
	EXPECT_EQ(stand_load(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

USER_TEST(users, two_devices_one_mm,
	  "a change reaches every device that is bound (C125)")
{
	struct mm *mm = stand_warm(s);

	stand_bind(s, 1, mm);
	EXPECT_EQ(stand_load(s, 1, P(0)), 'A');
	REQUIRE(!mm_discard(mm, P(0), P(1)));

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(stand_read(s, 1, P(0)), BLOCKED);
	REQUIRE(!stand_store(s, 1, P(0), 'B'));
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
}

USER_TEST(users, two_devices_two_mms,
	  "a change of one mm leaves the other's device alone (C125)")
{
	struct mm *mm = stand_warm(s), *other = stand_mm(s, 1);

	stand_bind(s, 1, other);
	REQUIRE(!stand_store(s, 1, P(0), 'B'));
	stand_exit(mm);

	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(stand_read(s, 1, P(0)), 'B');
}

USER_TEST(users, bound_once,
	  "a device that is bound is bound nowhere else, and stays bound")
{
	static struct sva sva;
	static struct mirror mirror;
	struct mm *mm = stand_warm(s), *other = stand_mm(s, 1);

	EXPECT_EQ(sva_bind(&sva, s->iommu, NULL, s->devid[0], 0, other),
		  (uint64_t)-EBUSY);
	EXPECT_EQ(mirror_bind(&mirror, s->iommu, NULL, s->devid[0], 0, other),
		  (uint64_t)-EBUSY);

	EXPECT_EQ(stand_read(s, 0, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

/* ---- out of memory ------------------------------------------------------ */

USER_TEST(users, bind_without_memory,
	  "each allocation of a bind fails once: then the device is not bound, "
	  "and nothing is left over")
{
	struct mm *mm = stand_mm(s, 1);
	int error = -ENOMEM;

	for (unsigned n = 1; error; n++) {
		inject_arm(n);
		error = stand_try_bind(s, 0, mm);
		EXPECT_EQ(inject_disarm(), error == -ENOMEM);
		EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
		EXPECT_STR_NULL(iommu_check(s->iommu));
	}
}

USER_TEST(users, fault_without_memory,
	  "each allocation of a fault fails once: the device gets nothing, and "
	  "everything when there is memory again")
{
	struct mm *mm = stand_mm(s, 1);
	int error = -ENOMEM;

	stand_bind(s, 0, mm);
	for (unsigned n = 1; error; n++) {
		inject_arm(n);
		error = stand_fault(0, P(0), PROT_W);
		EXPECT_EQ(inject_disarm(), error == -ENOMEM);
		if (error)
			EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	}
	EXPECT_EQ(stand_store(s, 0, P(0), 'A'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
}
