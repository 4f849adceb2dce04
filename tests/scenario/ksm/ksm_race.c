/* SPDX-License-Identifier: MIT */
/*
 * ksm_race.c - scanner and opt-out beside eviction, fork, each other, and code that
 * finds a frame by its number: B47, B49, B50, C97
 */
#include "arch/clock.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/ksm_fixture.h"

/* ---- an opt-out while an eviction is between clear and set ------------------ */

static struct {
	struct mm *mm;
	_Atomic unsigned came;
	_Atomic bool go;
	int (*leave)(struct mm *mm);
} evicted;

/* Waits, with pt_lock held by the eviction: an opt-out that takes it too cannot
 * continue, so this wait must end by itself. */
static void hold_the_hole(uint64_t mm, uint64_t va, void *arg)
{
	if (mm != (uint64_t)evicted.mm || atomic_fetch_add(&evicted.came, 1))
		return;
	for (unsigned i = 0; i < 100000 && !atomic_load(&evicted.go); i++)
		cpu_pause();
}

/* The opt-out maps an evicted page again before it copies it, so an entry appears
 * during the walk. */
static void evict(void *page)
{
	int error = try_to_unmap(page);

	EXPECT(!error || error == -EBUSY);
}

static void leave(void *arg)
{
	while (!atomic_load(&evicted.came))
		cpu_pause();
	EXPECT_EQ(evicted.leave(evicted.mm), 0);
	atomic_store(&evicted.go, true);
}

static int opt_out(struct mm *mm)
{
	return ksm_unmergeable(mm, VA, P(1));
}

static int unmerge_all(struct mm *mm)
{
	return ksm_unmerge_all();
}

static void leave_beside_an_eviction(int (*how)(struct mm *mm))
{
	struct mm *a = ksm_equal(1, 1), *b = ksm_equal(1, 1);
	struct page *page;
	struct task t[2];

	ksm_scans(2);
	page = page_at(a, VA);
	evicted.mm = a;
	evicted.leave = how;
	atomic_store(&evicted.came, 0);
	atomic_store(&evicted.go, false);
	hook("pte_clear", hold_the_hole, NULL);
	spawn_on(&t[0], BIT(1), evict, page);
	spawn_on(&t[1], BIT(0), leave, NULL);
	join(&t[0]);
	join(&t[1]);
	unhook("pte_clear");
	page_put(page);
	EXPECT_KSM_SOUND();
	EXPECT_EQ(rd(a, VA), 1);
	EXPECT(!is_merged(a, VA));
	mm_put(a);
	mm_put(b);
}

TEST_SMP(ksm_race, opt_out_sees_through_an_eviction,
	 "an opt-out that meets the hole of an eviction leaves no merged page "
	 "(B49)",
	 2)
{
	leave_beside_an_eviction(opt_out);
}

TEST_SMP(ksm_race, unmerge_all_sees_through_an_eviction,
	 "run = 2 that meets the hole of an eviction leaves no merged page "
	 "(C97)",
	 2)
{
	leave_beside_an_eviction(unmerge_all);
}

/* ---- ksm_unmerge_all() beside a fork ----------------------------------------------------- */

static struct mm *kid;

static void fork_it(void *parent)
{
	kid = NULL;
	EXPECT_EQ(mm_fork(parent, &kid), 0);
}

static void unmerge(void *arg)
{
	EXPECT_EQ(ksm_unmerge_all(), 0);
}

/* The scanner has scanned `scanned` pages of its pass; mm[parent] forks. */
static void unmerge_beside_a_fork(unsigned scanned, unsigned parent)
{
	struct mm *mm[3];
	struct task forker, all;
	struct sync_point g;

	for (unsigned i = 0; i < 3; i++)
		mm[i] = ksm_equal(2, 1);
	ksm_scans(2);
	if (scanned)
		EXPECT_EQ(ksm_scan(scanned), scanned);
	sync_point_set(&g, "fork_shared", mm[parent]);
	spawn(&forker, fork_it, mm[parent]);
	sync_point_await(&g);
	spawn(&all, unmerge, NULL);
	EXPECT(still_waits(&all)); /* for the parent's lock */
	sync_point_release(&g);
	join(&forker);
	join(&all);
	REQUIRE(kid);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(!is_merged(kid, P(i)));
		EXPECT_EQ(rd(kid, P(i)), 1);
	}
	EXPECT_KSM(0, 0, 0, 0);
	EXPECT_KSM_SOUND();
	ksm_scans(3);
	EXPECT_KSM(1, 7, 0, 0);
	mm_put(kid);
	for (unsigned i = 0; i < 3; i++)
		mm_put(mm[i]);
}

TEST(ksm_race, unmerge_all_reaches_a_fork,
     "ksm_unmerge_all() during a fork leaves no merged page in parent or "
     "child, wherever the cursor is")
{
	for (unsigned scanned = 0; scanned <= 6; scanned += 3)
		for (unsigned parent = 0; parent < 3; parent++)
			unmerge_beside_a_fork(scanned, parent);
}

static void put_mm(void *mm)
{
	mm_put(mm);
}

TEST(ksm_race, exit_waits_for_unmerge_all,
     "a space that exits during ksm_unmerge_all() waits for it, and no page "
     "stays merged")
{
	struct mm *a = ksm_equal(2, 1), *b = ksm_equal(2, 1);
	struct task all, exit;
	struct sync_point g;

	ksm_scans(2);
	sync_point_set(&g, "cow_copied", b);
	spawn(&all, unmerge, NULL);
	sync_point_await(&g);
	spawn(&exit, put_mm, b);
	EXPECT(still_waits(&exit));
	sync_point_release(&g);
	join(&all);
	join(&exit);
	EXPECT_KSM(0, 0, 0, 0);
	EXPECT_EQ(rd(a, P(1)), 1);
	EXPECT_KSM_SOUND();
	mm_put(a);
}

/* ---- a reference by the frame's number ------------------------------------------- */

static struct {
	struct mm *mm;
	struct page *page, *held;
} finder;

/* Takes a reference, as another CPU may, after the references were counted and before
 * the frame's kind changes. */
static uint32_t sum_found(const void *p)
{
	struct page *page = page_of_va(p);

	if (page == finder.page && spin_held(&finder.mm->pt_lock) &&
	    !finder.held && page_kind(page) == PAGE_ANON && page_try_get(page))
		finder.held = page;
	return ksm_sum(p);
}

/* Stores what the page holds already: that sets D, so it needs a new checksum. */
static void write_again(uint64_t mm, uint64_t va, void *other)
{
	if (mm == (uint64_t)other)
		EXPECT_EQ(wr(finder.mm, VA, 1), 0);
}

TEST(ksm_race, reference_by_number_stops_a_conversion,
     "a private page that got a reference by its frame's number stays "
     "private, and merges when the reference is gone (B47)")
{
	struct mm *a = ksm_equal(1, 1), *b = ksm_equal(1, 1);

	finder.mm = a;
	finder.held = NULL;
	finder.page = page_at(a, VA);
	page_put(finder.page);
	ksm_scans(1);
	ksm_knobs.sum = sum_found;
	hook("ksm_batch_end", write_again, b);
	ksm_scans(1);
	unhook("ksm_batch_end");
	ksm_knobs_reset();
	REQUIRE(finder.held);
	EXPECT(page_kind(finder.held) == PAGE_ANON);
	EXPECT_EQ(mappings(finder.held), 1);
	EXPECT_EQ(wr(a, VA, 1), 0); /* W has been restored */
	EXPECT(same_frame(a, VA, a, VA) && page_at(a, VA) == finder.held);
	page_put(finder.held);
	page_put(finder.held);
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	mm_put(a);
	mm_put(b);
}

static struct {
	struct mm *mm;
	unsigned tries, got;
} frozen;

static void get_by_number(uint64_t page, uint64_t node, void *arg)
{
	frozen.tries++;
	frozen.got += page_try_get_user((struct page *)page);
}

/* Changes the second page of the pair, so that the first becomes private again. */
static void write_second(uint64_t mm, uint64_t va, void *arg)
{
	if (mm == (uint64_t)frozen.mm)
		EXPECT_EQ(wr(frozen.mm, P(1), 5), 0);
}

static void frozen_at(const char *step, bool fails)
{
	struct mm *mm = ksm_equal(2, 1);

	frozen.mm = mm;
	frozen.tries = frozen.got = 0;
	ksm_scans(1);
	hook(step, get_by_number, NULL);
	if (fails)
		hook("ksm_converted", write_second, NULL);
	ksm_scans(1);
	unhook(step);
	unhook("ksm_converted");
	EXPECT_EQ(frozen.tries, 1);
	EXPECT_EQ(frozen.got, 0);
	EXPECT_EQ(is_merged(mm, P(0)), !fails);
	mm_put(mm);
}

TEST(ksm_race, changing_frame_gives_no_reference,
     "while a frame becomes merged, or private again, no reference on it can "
     "be taken by its number (B47)")
{
	frozen_at("ksm_attach", false);
	frozen_at("ksm_detach", true);
}

/* ---- start beside stop ------------------------------------------------------------ */

static void stop(void *arg)
{
	ksm_stop();
}

/* Waits as long as a call takes that is not blocked. */
static bool ends(struct task *t)
{
	uint64_t end = clock_ns() + UINT64_C(2000000000);

	while (!atomic_load(&t->done) && clock_ns() < end)
		yield();
	return atomic_load(&t->done);
}

TEST(ksm_race, start_during_a_stop_is_refused,
     "until the thread has ended, a start during a stop returns -EBUSY, and a "
     "second stop waits")
{
	struct mm *mm = ksm_equal(1, 1);
	struct task t[2];
	struct sync_point g;

	ksm_knobs.sleep_ns = 1000;
	sync_point_set(&g, "ksm_batch_start", mm);
	EXPECT_EQ(ksm_start(), 0);
	sync_point_await(&g); /* the thread is in the middle of a scan */
	for (unsigned i = 0; i < 2; i++) {
		spawn(&t[i], stop, NULL);
		EXPECT(still_waits(&t[i]));
	}
	EXPECT_EQ(ksm_start(), -EBUSY);
	sync_point_release(&g);
	for (unsigned i = 0; i < 2; i++)
		EXPECT(ends(&t[i]));
	EXPECT_EQ(ksm_start(), 0);
	ksm_stop();
	for (unsigned i = 0; i < 2; i++)
		join(&t[i]);
	ksm_knobs_reset();
	mm_put(mm);
}
