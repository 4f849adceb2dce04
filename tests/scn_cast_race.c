/* SPDX-License-Identifier: MIT */
/*
 * scn_cast_race.c - the race that each kind of secondary MMU must win
 *
 * Shadow: C11, C33 to C35, C43, C44.  tlb: C39.  remote: C40.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "tests/agent.h"
#include "tests/cast.h"
#include "tests/gate.h"

static struct agent a, b;

/* ---- what the other threads do ------------------------------------------ */

static void read_by(void *agent)
{
	agent_read(agent, VA);
}

/* ---- a fault that is overtaken ------------------------------------------ */

/* A change from beginning to end while an agent's fault has looked, and not yet
 * installed what it saw. */
TEST(cast, overtaken_fault_tries_again,
     "a whole change between the look and the install is noticed (C34)")
{
	for (const struct agent_kind *const *k = &agents[1]; *k; k++) {
		struct mm *mm = written(1);
		struct task fault;
		struct gate g;

		agent_attach(&a, *k, mm);
		gate_close(&g, "agent_looked", &a);
		spawn(&fault, read_by, &a);
		gate_await(&g);
		change(mm, 0, 1); /* the page is free */
		wr(mm, VA, 7);
		gate_open(&g);
		join(&fault);
		EXPECT_STR_NULL(agent_check(&a));
		EXPECT_EQ(agent_read(&a, VA), 7);
		agent_detach(&a);
		mm_put(mm);
	}
}

/* The fault looks before the page goes, at the step; the change goes on to its
 * end; nothing of what was seen may be installed, then or later. */
static void fault_at(const struct agent_kind *kind, const char *at)
{
	struct mm *mm = written(1);
	struct task changer, fault;
	struct gate change_gate, look;

	agent_attach(&a, kind, mm);
	gate_close(&look, "agent_looked", &a);
	spawn(&fault, read_by, &a);
	gate_await(&look);
	gate_close(&change_gate, at, mm);
	spawn(&changer, discard_first, mm);
	gate_await(&change_gate);
	gate_open(&look);
	/* Let it try: it may wait, retry or fault anew, but not have it. */
	still_waits(&fault);
	EXPECT(!agent_has(&a, VA, false));
	gate_open(&change_gate);
	join(&changer);
	join(&fault);
	EXPECT_STR_NULL(agent_check(&a));
	EXPECT_EQ(agent_read(&a, VA), 0);
	agent_detach(&a);
	mm_put(mm);
}

TEST(cast, fault_inside_a_window_installs_nothing,
     "a fault that looked before the change installs nothing while the window "
     "is open (C35, B20)")
{
	for (const struct agent_kind *const *k = &agents[1]; *k; k++) {
		fault_at(*k, "range_started");
		fault_at(*k, "range_end");
	}
}

TEST(cast, shadow_end_is_two_steps,
     "between the two steps of a shadow's end an old look is still refused "
     "(C33)")
{
	struct mm *mm = written(1);
	struct task changer, fault;
	struct gate start, end, look;

	agent_attach(&a, &shadow, mm);
	gate_close(&start, "range_started", mm);
	spawn(&changer, discard_first, mm);
	gate_await(&start);
	/* The window is open, the page still mapped: look now. */
	gate_close(&look, "agent_looked", &a);
	spawn(&fault, read_by, &a);
	gate_await(&look);
	gate_close(&end, "shadow_ending", &a);
	gate_open(&start);
	gate_await(&end);
	gate_open(&look);
	still_waits(&fault);
	EXPECT_STR_NULL(agent_check(&a));
	gate_open(&end);
	join(&changer);
	join(&fault);
	EXPECT_STR_NULL(agent_check(&a));
	agent_detach(&a);
	mm_put(mm);
}

/* ---- counts ------------------------------------------------------------- */

TEST(cast, overlapping_windows_are_counted,
     "with two windows over a page the first end does not let it in (C11)")
{
	static const struct agent_kind *const kinds[] = { &shadow, &tlb,
							  &legacy };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct mmu_notifier_range r, s;
		struct mm *mm = written(4);
		struct task fault;

		agent_attach(&a, kinds[i], mm);
		rw_read_lock(&mm->lock);
		window(&r, mm, 0, 2);
		window(&s, mm, 0, 4);
		EXPECT_EQ(a.active, 2);
		mmu_notifier_invalidate_range_end(&r);
		EXPECT_EQ(a.active, 1);
		spawn(&fault, read_by, &a);
		still_waits(&fault);
		EXPECT(!agent_has(&a, VA, false));
		mmu_notifier_invalidate_range_end(&s);
		rw_read_unlock(&mm->lock);
		join(&fault);
		EXPECT_EQ(agent_read(&a, VA), 100);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, offers_come_too_late,
     "change_pte never finds an entry: start has taken it (H19)")
{
	struct mm *mm = written(4), *child = fork_of(mm);

	agent_attach(&a, &shadow, mm);
	for (unsigned i = 0; i < 4; i++) {
		agent_read(&a, P(i));
		wr(mm, P(i), i);
	}
	EXPECT_EQ(a.offers, 4);
	EXPECT_EQ(a.taken, 0);
	agent_detach(&a);
	mm_put(child);
	mm_put(mm);
}

/* ---- aging -------------------------------------------------------------- */

TEST(cast, device_use_keeps_a_page_young,
     "a page that only the device uses counts as used; aging forgets it (B36, "
     "C74)")
{
	static const struct agent_kind *const kinds[] = { &shadow, &zapper };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct mm *mm = written(2);
		struct page *hot = page_at(mm, P(0)), *cold = page_at(mm, P(1));

		agent_attach(&a, kinds[i], mm);
		agent_read(&a, P(0));
		agent_read(&a, P(1));
		page_referenced(hot);
		page_referenced(cold);
		agent_read(&a, P(0));
		/* A zapper's read was a fault, the CPU's bit is set by it. */
		EXPECT_EQ(page_referenced(hot), 1);
		EXPECT_EQ(page_referenced(cold), 0);
		EXPECT_EQ(page_referenced(hot), 0);
		EXPECT_EQ(agent_read(&a, P(1)), 101);
		page_put(hot);
		page_put(cold);
		agent_detach(&a);
		mm_put(mm);
	}
}

TEST(cast, one_of_many_pages_is_enough,
     "asked about 2 MiB, a shadow of small pages looks at every one (C43, H3)")
{
	struct mm *mm = written(AGENT_PAGES);
	bool young;

	agent_attach(&a, &shadow, mm);
	agent_read(&a, P(150));
	spin_lock(&mm->pt_lock);
	young = mmu_notifier_clear_flush_young(mm, P(0), P(512));
	EXPECT(young);
	young = mmu_notifier_clear_flush_young(mm, P(0), P(512));
	EXPECT(!young);
	spin_unlock(&mm->pt_lock);
	agent_detach(&a);
	mm_put(mm);
}

TEST(cast, aging_overtakes_a_fault,
     "aging that takes entries away refuses a fault that is under way (C44)")
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, VA);
	struct task fault;
	struct gate g;

	agent_attach(&a, &zapper, mm);
	gate_close(&g, "agent_looked", &a);
	spawn(&fault, read_by, &a);
	gate_await(&g);
	page_referenced(page);
	gate_open(&g);
	join(&fault);
	EXPECT_EQ(a.retries, 1);
	page_put(page);
	agent_detach(&a);
	mm_put(mm);
}

/* ---- tlb and remote ----------------------------------------------------- */

TEST(cast, waiter_is_not_forgotten,
     "a miss that met an open window, and falls asleep when it is over, wakes "
     "(C39)")
{
	struct mm *mm = written(1);
	struct task changer, fault;
	struct gate end, sleeper;

	agent_attach(&a, &tlb, mm);
	gate_close(&end, "range_started", mm);
	spawn(&changer, discard_first, mm);
	gate_await(&end);
	gate_close(&sleeper, "tlb_waits", &a);
	spawn(&fault, read_by, &a);
	gate_await(&sleeper); /* has seen the window, does not sleep yet */
	gate_open(&end);
	join(&changer);
	gate_open(&sleeper);
	join(&fault); /* or the test hangs */
	EXPECT_EQ(agent_read(&a, VA), 0);
	agent_detach(&a);
	mm_put(mm);
}

TEST(cast, start_waits_for_the_remote_side,
     "start returns when the other side has answered, and before that nothing "
     "is cleared (C40, B23)")
{
	struct mm *mm = written(1);
	struct task changer;
	struct gate g;
	uint64_t since = probes_begin();

	agent_attach(&a, &remote, mm);
	EXPECT_EQ(agent_read(&a, VA), 100);
	gate_close(&g, NULL, NULL);
	a.gate = &g;
	spawn(&changer, discard_first, mm);
	gate_await(&g);
	EXPECT(still_waits(&changer));
	EXPECT(entry_at(mm, VA) & PTE_P);
	EXPECT(agent_has(&a, VA, false));
	gate_open(&g);
	join(&changer);
	EXPECT(probes_in_order(since, mm,
			       "range_start remote_answer range_started "
			       "pte_clear range_end"));
	EXPECT_EQ(agent_read(&a, VA), 0);
	a.gate = NULL;
	agent_detach(&a);
	mm_put(mm);
}

TEST(cast, remote_refuses_who_cannot_wait,
     "who may not block is refused by the remote side, and nobody is left in a "
     "window (B23, C46)")
{
	struct mm *mm = written(1);

	agent_attach(&a, &remote, mm);
	agent_attach(&b, &shadow, mm);
	agent_read(&a, VA);
	agent_read(&b, VA);
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT_EQ(a.active + b.active, 0);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_EQ(agent_read(&a, VA), 100);
	EXPECT_EQ(agent_read(&b, VA), 100);
	agent_detach(&b);
	agent_detach(&a);
	mm_put(mm);
}

/* ---- before the page goes ----------------------------------------------- */

static struct {
	struct page *page;
	unsigned calls, bad;
} told;

static void is_empty_and_mapped(uint64_t mm, uint64_t va, void *arg)
{
	if (mm != (uint64_t)a.mm)
		return;
	told.calls++;
	told.bad += agent_has(&a, P(0), false) || !page_maps(told.page) ||
		    *(uint64_t *)page_va(told.page) != 100;
}

TEST(cast, tables_are_empty_before_the_page_goes,
     "who has a table of his own has nothing in it when start is over, and "
     "the page is whole then and later, until it is flushed (H6, B20)")
{
	/* All but the walker, who fills his cache until the flush. */
	for (const struct agent_kind *const *k = &agents[1]; *k; k++) {
		struct mm *mm = written(1);

		agent_attach(&a, *k, mm);
		EXPECT_EQ(agent_read(&a, P(0)), 100);
		told.page = page_at(mm, P(0));
		page_put(told.page);
		told.calls = told.bad = 0;
		hook("range_started", is_empty_and_mapped, NULL);
		hook("pte_clear", is_empty_and_mapped, NULL);
		hook("range", is_empty_and_mapped, NULL);
		change(mm, 0, 1);
		unhook("range_started");
		unhook("pte_clear");
		unhook("range");
		EXPECT_EQ(told.calls, 3);
		EXPECT_EQ(told.bad, 0);
		agent_detach(&a);
		mm_put(mm);
	}
}
