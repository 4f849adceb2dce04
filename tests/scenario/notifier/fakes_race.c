/* SPDX-License-Identifier: MIT */
/*
 * fakes_race.c - the race that each kind of secondary MMU must win
 *
 * Shadow: C11, C33 to C35, C43, C44.  tlb: C39.  remote: C40.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

static struct fake_mmu a, b;

/* ---- what the other threads do ------------------------------------------ */

static void read_by(void *fake)
{
	fake_read(fake, VA);
}

/* ---- a fault that is overtaken ------------------------------------------ */

/* Make a whole change after a fault of a fake MMU has looked the page up, and
 * before it installs it. */
TEST(fakes, overtaken_fault_retries,
     "a fault whose page changes between the lookup and the install retries "
     "(C34)")
{
	for_each_kind (k, fake_filled()) {
		struct mm *mm = written(1);
		struct task fault;
		struct sync_point g;

		fake_attach(&a, *k, mm);
		fake_stop_looked(&g, &a);
		spawn(&fault, read_by, &a);
		sync_point_await(&g);
		change(mm, 0, 1); /* the page is free */
		wr(mm, VA, 7);
		sync_point_release(&g);
		join(&fault);
		EXPECT_STR_NULL(fake_check(&a));
		EXPECT_EQ(fake_read(&a, VA), 7);
		fake_detach(&a);
		mm_put(mm);
	}
}

/* The fault looks before the page goes, at the step; the change goes on to its
 * end; nothing of what was seen may be installed, then or later. */
static void fault_at(const struct fake_mmu_kind *kind, const char *at)
{
	struct mm *mm = written(1);
	struct task changer, fault;
	struct sync_point change_point, look;

	fake_attach(&a, kind, mm);
	fake_stop_looked(&look, &a);
	spawn(&fault, read_by, &a);
	sync_point_await(&look);
	sync_point_set(&change_point, at, mm);
	spawn(&changer, discard_first, mm);
	sync_point_await(&change_point);
	sync_point_release(&look);
	/* Let it try: it may wait, retry or fault anew, but not have it. */
	still_waits(&fault);
	EXPECT(!fake_has(&a, VA, false));
	sync_point_release(&change_point);
	join(&changer);
	join(&fault);
	EXPECT_STR_NULL(fake_check(&a));
	EXPECT_EQ(fake_read(&a, VA), 0);
	fake_detach(&a);
	mm_put(mm);
}

TEST(fakes, fault_inside_an_invalidation_installs_nothing,
     "a fault that looked a page up before an invalidation installs nothing "
     "while the invalidation is open (C35, B20)")
{
	for_each_kind (k, fake_filled()) {
		fault_at(*k, "range_started");
		fault_at(*k, "range_end");
	}
}

static void end_in_two_steps(const struct fake_mmu_kind *kind)
{
	struct mm *mm = written(1);
	struct task changer, fault;
	struct sync_point end, look;

	fake_attach(&a, kind, mm);
	fake_stop_looked(&look, &a);
	spawn(&fault, read_by, &a);
	sync_point_await(&look);
	sync_point_set(&end, "shadow_ending", fake_shadow_of(&a));
	spawn(&changer, discard_first, mm);
	sync_point_await(&end);
	sync_point_release(&look);
	still_waits(&fault);
	EXPECT_STR_NULL(fake_check(&a));
	sync_point_release(&end);
	join(&changer);
	join(&fault);
	EXPECT_STR_NULL(fake_check(&a));
	fake_detach(&a);
	mm_put(mm);
}

TEST(fakes, shadow_end_is_two_steps,
     "between the two steps of a shadow's end an earlier lookup is still "
     "refused (C33)")
{
	end_in_two_steps(&fake_shadow);
	if (svm_present())
		end_in_two_steps(&fake_guest);
}

/* ---- counts ------------------------------------------------------------- */

TEST(fakes, overlapping_invalidations_are_counted,
     "of two open invalidations of a page the first to end does not let a "
     "fault install it (C11)")
{
	static const struct fake_mmu_kind *const kinds[] = {
		&fake_shadow, &fake_tlb, &fake_legacy, &fake_guest
	};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds) && fake_present(kinds[i]);
	     i++) {
		struct mmu_notifier_range r, s;
		struct mm *mm = written(4);
		struct task fault;

		fake_attach(&a, kinds[i], mm);
		rw_read_lock(&mm->lock);
		invalidation_begin(&r, mm, 0, 2);
		invalidation_begin(&s, mm, 0, 4);
		EXPECT_EQ(fake_active(&a), 2);
		mmu_notifier_invalidate_range_end(&r);
		EXPECT_EQ(fake_active(&a), 1);
		spawn(&fault, read_by, &a);
		still_waits(&fault);
		EXPECT(!fake_has(&a, VA, false));
		mmu_notifier_invalidate_range_end(&s);
		rw_read_unlock(&mm->lock);
		join(&fault);
		EXPECT_EQ(fake_read(&a, VA), 100);
		fake_detach(&a);
		mm_put(mm);
	}
}

TEST(fakes, change_pte_finds_no_entry,
     "change_pte never finds an entry, because start has removed it (H19)")
{
	struct mm *mm = written(4), *child = fork_of(mm);

	fake_attach(&a, &fake_shadow, mm);
	for (unsigned i = 0; i < 4; i++) {
		fake_read(&a, P(i));
		wr(mm, P(i), i);
	}
	EXPECT_EQ(a.offers, 4);
	EXPECT_EQ(a.taken, 0);
	fake_detach(&a);
	mm_put(child);
	mm_put(mm);
}

/* ---- aging -------------------------------------------------------------- */

TEST(fakes, device_use_keeps_a_page_young,
     "a page that only the device uses counts as used, and aging clears the "
     "mark (B36, C74)")
{
	static const struct fake_mmu_kind *const kinds[] = {
		&fake_shadow, &fake_zapper, &fake_guest, &fake_guest_shared
	};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds) && fake_present(kinds[i]);
	     i++) {
		struct mm *mm = written(2);
		struct page *hot = page_at(mm, P(0)), *cold = page_at(mm, P(1));

		fake_attach(&a, kinds[i], mm);
		fake_read(&a, P(0));
		fake_read(&a, P(1));
		page_referenced(hot);
		page_referenced(cold);
		fake_read(&a, P(0));
		/* A zapper's read was a fault, the CPU's bit is set by it. */
		EXPECT_EQ(page_referenced(hot), 1);
		EXPECT_EQ(page_referenced(cold), 0);
		EXPECT_EQ(page_referenced(hot), 0);
		/* Only aging without accessed bits takes entries. */
		EXPECT_EQ(fake_has(&a, P(0), false), i != 1);
		EXPECT_EQ(fake_read(&a, P(1)), 101);
		page_put(hot);
		page_put(cold);
		fake_detach(&a);
		mm_put(mm);
	}
}

static void use_one_of_many(const struct fake_mmu_kind *kind)
{
	struct mm *mm = written(FAKE_PAGES);
	bool young;

	fake_attach(&a, kind, mm);
	fake_read(&a, P(150));
	spin_lock(&mm->pt_lock);
	young = mmu_notifier_clear_flush_young(mm, P(0), P(512));
	EXPECT(young);
	young = mmu_notifier_clear_flush_young(mm, P(0), P(512));
	EXPECT(!young);
	spin_unlock(&mm->pt_lock);
	fake_detach(&a);
	mm_put(mm);
}

TEST(fakes, one_used_page_makes_a_range_young,
     "a shadow of small pages checks every page of a 2 MiB range for use (C43, "
     "H3)")
{
	use_one_of_many(&fake_shadow);
	if (svm_present())
		use_one_of_many(&fake_guest);
}

TEST(fakes, aging_makes_a_fault_retry,
     "aging that removes entries makes a fault in progress retry (C44)")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);
	struct task fault;
	struct sync_point g;

	fake_attach(&a, &fake_zapper, mm);
	fake_stop_looked(&g, &a);
	spawn(&fault, read_by, &a);
	sync_point_await(&g);
	page_referenced(page);
	sync_point_release(&g);
	join(&fault);
	EXPECT_EQ(a.shadow.retries, 1);
	page_put(page);
	fake_detach(&a);
	mm_put(mm);
}

/* ---- tlb and remote ----------------------------------------------------- */

TEST(fakes, waiting_miss_is_woken,
     "a miss that found an open invalidation, and goes to sleep after its end, "
     "is woken (C39)")
{
	struct mm *mm = written(1);
	struct task changer, fault;
	struct sync_point end, sleeper;

	fake_attach(&a, &fake_tlb, mm);
	sync_point_set(&end, "range_started", mm);
	spawn(&changer, discard_first, mm);
	sync_point_await(&end);
	sync_point_set(&sleeper, "tlb_waits", &a);
	spawn(&fault, read_by, &a);
	sync_point_await(
		&sleeper); /* has seen the invalidation, does not sleep yet */
	sync_point_release(&end);
	join(&changer);
	sync_point_release(&sleeper);
	join(&fault); /* or the test hangs */
	EXPECT_EQ(fake_read(&a, VA), 0);
	fake_detach(&a);
	mm_put(mm);
}

TEST(fakes, start_waits_for_the_remote_side,
     "start returns when the remote side has answered, and no entry is cleared "
     "before that (C40, B23)")
{
	struct mm *mm = written(1);
	struct task changer;
	struct sync_point g;
	uint64_t since = probes_begin();

	fake_attach(&a, &fake_remote, mm);
	EXPECT_EQ(fake_read(&a, VA), 100);
	sync_point_set(&g, NULL, NULL);
	a.sync_point = &g;
	spawn(&changer, discard_first, mm);
	sync_point_await(&g);
	EXPECT(still_waits(&changer));
	EXPECT(entry_at(mm, VA) & PTE_P);
	EXPECT(fake_has(&a, VA, false));
	sync_point_release(&g);
	join(&changer);
	EXPECT(probes_in_order(since, mm,
			       "range_start remote_answer range_started "
			       "pte_clear range_end"));
	EXPECT_EQ(fake_read(&a, VA), 0);
	a.sync_point = NULL;
	fake_detach(&a);
	mm_put(mm);
}

TEST(fakes, remote_refuses_a_nonblocking_start,
     "the remote side refuses a nonblocking start, and no notifier is left "
     "with an open invalidation (B23, C46)")
{
	struct mm *mm = written(1);

	fake_attach(&a, &fake_remote, mm);
	fake_attach(&b, &fake_shadow, mm);
	fake_read(&a, VA);
	fake_read(&b, VA);
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT_EQ(fake_active(&a) + fake_active(&b), 0);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(fake_read(&a, VA), 100);
	EXPECT_EQ(fake_read(&b, VA), 100);
	fake_detach(&b);
	fake_detach(&a);
	mm_put(mm);
}

/* ---- before the page goes ----------------------------------------------- */

static struct {
	struct page *page;
	unsigned calls, bad;
} seen;

static void is_empty_and_mapped(uint64_t mm, uint64_t va, void *arg)
{
	if (mm != (uint64_t)a.mm)
		return;
	seen.calls++;
	seen.bad += fake_has(&a, P(0), false) || !page_maps(seen.page) ||
		    *(uint64_t *)page_va(seen.page) != 100;
}

TEST(fakes, tables_are_empty_before_the_page_is_freed,
     "a secondary MMU with its own table has no entry when start has returned, "
     "and the page keeps its content until it is flushed (H6, B20)")
{
	/* All but the walker, which fills its cache until the flush. */
	for_each_kind (k, fake_filled()) {
		struct mm *mm = written(1);

		fake_attach(&a, *k, mm);
		EXPECT_EQ(fake_read(&a, P(0)), 100);
		seen.page = page_at(mm, P(0));
		page_put(seen.page);
		seen.calls = seen.bad = 0;
		hook("range_started", is_empty_and_mapped, NULL);
		hook("pte_clear", is_empty_and_mapped, NULL);
		hook("range", is_empty_and_mapped, NULL);
		change(mm, 0, 1);
		unhook("range_started");
		unhook("pte_clear");
		unhook("range");
		EXPECT_EQ(seen.calls, 3);
		EXPECT_EQ(seen.bad, 0);
		fake_detach(&a);
		mm_put(mm);
	}
}
