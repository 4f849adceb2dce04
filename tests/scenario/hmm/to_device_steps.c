/* SPDX-License-Identifier: MIT */
/*
 * to_device_steps.c - what happens between the steps of a migration to a device
 */
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "mm/rmap/block.h"
#include "tests/fake/fake_device.h"
#include "tests/fixture/mm/sync_point.h"

/* A space of n pages, of which page i holds i + 1. */
static struct mm *filled(unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	return mm;
}

static struct device_take take;

/* A change of an address space by a thread that does not hold its lock. */
struct change {
	struct mm *mm;
	unsigned page;
	uint64_t v; /* to write; 0: discard                                */
};

static void change_it(void *arg)
{
	struct change *c = arg;

	if (c->v)
		EXPECT_EQ(wr(c->mm, P(c->page), c->v), 0);
	else
		EXPECT_EQ(mm_discard(c->mm, P(c->page), P(c->page + 1)), 0);
}

static void change_by_another(struct mm *mm, unsigned page, uint64_t v)
{
	struct change c = { mm, page, v };
	struct task t;

	spawn(&t, change_it, &c);
	join(&t);
}

TEST(to_device, discard_between_the_steps_wins,
     "a page that is discarded between setup and commit is gone: neither the "
     "device's page nor the old frame comes back")
{
	struct mm *mm = filled(3);
	struct fake_device *d = fake_device(0, 4);

	EXPECT_EQ(device_take_begin(&take, d, mm, 0, 3), 0);
	device_take_copy(&take);
	change_by_another(mm, 0, 0);
	migrate_vma_pages(&take.args);
	change_by_another(mm, 1, 0);
	EXPECT_EQ(device_take_end(&take), 2);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(1)), 0);
	EXPECT_EQ(rd(mm, P(2)), 3);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, filled_hole_loses,
     "a hole that a CPU fills between setup and commit keeps the CPU's page "
     "(C62)")
{
	struct mm *mm = mm_fixture(2);
	struct fake_device *d = fake_device(0, 4);

	EXPECT_EQ(device_take_begin(&take, d, mm, 0, 2), 0);
	device_take_copy(&take);
	change_by_another(mm, 0, 9);
	migrate_vma_pages(&take.args);
	EXPECT(!(take.src[0] & MIGRATE_PFN_MIGRATE));
	EXPECT_EQ(device_take_end(&take), 1);
	EXPECT_EQ(rd(mm, P(0)), 9);
	EXPECT(device_has(d, mm, P(1)));
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	mm_put(mm);
	fake_device_end(d);
}

static _Atomic unsigned tries;

static void count_try(uint64_t of, uint64_t va, void *unused)
{
	tries++;
}

TEST(to_device, late_reference_refuses,
     "a reference that was taken by the frame's number after setup makes the "
     "commit fail, and the page is mapped again, once, as the timeline says")
{
	struct mm *mm = filled(1);
	struct fake_device *d = fake_device(0, 4);
	struct page *page = page_at(mm, P(0));

	page_put(page);
	EXPECT_EQ(device_take_begin(&take, d, mm, 0, 1), 0);
	device_take_copy(&take);
	REQUIRE(page_try_get_user(page));
	migrate_vma_pages(&take.args);
	tries = 0;
	hook("pte_set", count_try, NULL);
	EXPECT_EQ(device_take_end(&take), 0);
	unhook("pte_set");
	EXPECT_EQ(tries, 1);
	EXPECT_EQ(page_count(page), PAGE_MAP + PAGE_REF);
	page_put(page);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, fault_waits_for_finalize,
     "a write of a CPU to a page between setup and finalize waits, and is not "
     "lost, whether the page or a hole has moved or not; it tries only once to "
     "bring it back")
{
	struct mm *mm = filled(1);
	struct fake_device *d = fake_device(0, 4);
	struct change w = { mm, 0, 0 };
	struct task t;

	tries = 0;
	hook("device_fault", count_try, NULL);
	for (unsigned round = 0; round < 3; round++) {
		bool hole = round == 2; /* a fault before the commit fills it */

		w.v = 70 + round;
		if (hole)
			EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
		EXPECT_EQ(device_take_begin(&take, d, mm, 0, 1), 0);
		if (!hole)
			spawn(&t, change_it, &w);
		EXPECT(hole || still_waits(&t));
		d->fail = !round;
		device_take_copy(&take);
		migrate_vma_pages(&take.args);
		if (hole)
			spawn(&t, change_it, &w);
		EXPECT(still_waits(&t));
		EXPECT_EQ(device_take_end(&take), !!round);
		join(&t);
		EXPECT_EQ(rd(mm, P(0)), 70 + round);
	}
	unhook("device_fault");
	EXPECT_EQ(tries, 2);
	mm_put(mm);
	fake_device_end(d);
}

TEST(to_device, needs_a_table_for_holes,
     "without memory for a table the holes of a range stay holes, and the "
     "device's pages are free again")
{
	struct mm *mm = mm_fixture(2);
	struct fake_device *d = fake_device(0, 4);

	EXPECT_EQ(device_take_begin(&take, d, mm, 0, 2), 0);
	device_take_copy(&take);
	inject_arm(1);
	migrate_vma_pages(&take.args);
	EXPECT(inject_disarm());
	EXPECT(device_take_end(&take) < 2);
	EXPECT_EQ(rd(mm, P(0)), 0);
	mm_put(mm);
	fake_device_end(d);
}

/* ---- whatever fails --------------------------------------------------------- */

#define FIRST 508u /* pages from here on lie in three tables, the last absent */
#define LAST  1028u

/* Pages with content at both ends of the first table and in the second; the rest are
 * holes, and the third table does not exist. */
static struct mm *scattered(void)
{
	struct mm *mm = mm_fixture(3 * BLOCK_PAGES);

	for (unsigned i = FIRST; i < FIRST + 6; i++)
		REQUIRE(!wr(mm, P(i), i));
	return mm;
}

static bool scattered_holds(struct mm *mm)
{
	for (unsigned i = FIRST; i < LAST; i++)
		if (rd(mm, P(i)) != (i < FIRST + 6 ? i : 0))
			return false;
	return true;
}

TEST(to_device, every_allocation_fails_once,
     "whichever allocation of a migration fails, the pages that do not go stay "
     "as they were, nothing is left with the device, and the next call takes "
     "the rest")
{
	struct fake_device *d = fake_device(0, 600);
	unsigned failures = 0;
	bool failed = true;

	for (unsigned n = 1; failed; n++) {
		struct mm *mm = scattered();
		int taken;

		inject_arm(n);
		taken = device_take(d, mm, FIRST, LAST - FIRST);
		failed = inject_disarm();
		failures += failed;
		EXPECT_EQ(device_memory_used(&d->memory), taken);
		EXPECT(failed ? taken < (int)(LAST - FIRST)
			      : taken == (int)(LAST - FIRST));
		EXPECT_EQ(device_take(d, mm, FIRST, LAST - FIRST),
			  (int)(LAST - FIRST) - taken);
		EXPECT(scattered_holds(mm));
		EXPECT_EQ(device_memory_used(&d->memory), 0);
		EXPECT_STR_NULL(mm_check());
		mm_put(mm);
	}
	EXPECT(failures >= 1);
	fake_device_end(d);
}

TEST(to_device, every_copy_fails_once,
     "whichever copy of a migration fails, or clear of a hole, that page stays "
     "as it was and the others go; so on the way back")
{
	struct fake_device *d = fake_device(0, 8);

	for (unsigned k = 0; k < 6; k++) {
		struct mm *mm = filled(6);

		EXPECT_EQ(mm_discard(mm, P(2), P(4)), 0);
		d->succeed = k;
		d->fail = 1;
		EXPECT_EQ(device_take(d, mm, 0, 6), 5);
		EXPECT(!device_has(d, mm, P(k)));
		EXPECT_EQ(device_take(d, mm, 0, 6), 1);
		d->succeed = k;
		d->fail = 1;
		for (unsigned i = 0; i < 6; i++) {
			uint64_t v = i == 2 || i == 3 ? 0 : i + 1;

			EXPECT_EQ(rd(mm, P(i)), i == k ? BAD : v);
			EXPECT_EQ(rd(mm, P(i)), v);
		}
		EXPECT_EQ(device_memory_used(&d->memory), 0);
		mm_put(mm);
	}
	fake_device_end(d);
}
