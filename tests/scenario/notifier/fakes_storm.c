/* SPDX-License-Identifier: MIT */
/*
 * fakes_storm.c - every kind of fake MMU on one mm, while all of it changes
 *
 * At every moment, seen under pt_lock and the fake's lock, a translation names
 * the frame that the entry names; and it grants no more, but for a walker inside
 * a fork, which takes rights in one hold of pt_lock and flushes in a later one.
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

#define PAGES    16u
#define AWAY     100u /* where pages are moved to                           */
#define KINDS    8u   /* at most                                        */
#define CHANGERS 2u
#define CHANGES  500u /* or more, until there were so many hits and checks */
#define LOOKS    100u

static struct {
	struct mm *mm;
	struct fake_mmu fake[KINDS];
	unsigned kinds;
	_Atomic bool stop;
	_Atomic unsigned wrong, hits, checks;
	uint64_t seed;
} storm;

static void move_there_and_back(unsigned i)
{
	va_t at;

	if (mm_remap(storm.mm, P(i), PAGE_SIZE, P(AWAY + i), PAGE_SIZE, &at))
		return; /* the other one has moved it */
	yield();
	EXPECT_EQ(mm_remap(storm.mm, P(AWAY + i), PAGE_SIZE, P(i), PAGE_SIZE,
			   &at),
		  0);
}

static void protect(unsigned from, unsigned to, enum prot prot)
{
	int ret = mm_protect(storm.mm, P(from), P(to), prot);

	EXPECT(ret == 0 || ret == -ENOENT); /* a page is away: a hole */
}

static void with_page(unsigned i, bool away)
{
	struct page *page = page_at(storm.mm, P(i));

	if (!page)
		return;
	if (!away)
		page_referenced(page);
	else if (try_to_unmap(page))
		yield(); /* a fork made a mapping meanwhile */
	page_put(page);
}

static void fork_and_write(unsigned i)
{
	struct mm *child = fork_of(storm.mm);

	wr(child, P(i), 1);
	yield();
	mm_put(child);
}

/* One change; what fails because the page is away at the moment is no matter. */
static void change_something(struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, PAGES), n;

	n = 1 + (unsigned)rng_below(rng, PAGES - i);
	switch (rng_below(rng, 8)) {
	case 0:
		change(storm.mm, i, i + n);
		break;
	case 1:
		protect(i, i + n, PROT_R);
		break;
	case 2:
		protect(i, i + n, RW);
		break;
	case 3:
		move_there_and_back(i);
		break;
	case 4:
		with_page(i, true);
		break;
	case 5:
		with_page(i, false);
		break;
	case 6:
		fork_and_write(i);
		break;
	default:
		wr(storm.mm, P(i), i);
	}
}

static bool looked(void)
{
	return atomic_load(&storm.hits) >= LOOKS &&
	       atomic_load(&storm.checks) >= LOOKS;
}

static void changer(void *arg)
{
	struct rng rng = rng_seed(storm.seed + (uintptr_t)arg);

	for (unsigned n = 0; n < CHANGES || !looked(); n++) {
		change_something(&rng);
		yield();
	}
}

static void device(void *arg)
{
	struct fake_mmu *a = arg;
	struct rng rng = rng_seed(storm.seed + 100 + (a - storm.fake));

	while (!atomic_load(&storm.stop)) {
		unsigned i = (unsigned)rng_below(&rng, PAGES);

		if (rng_below(&rng, 2))
			fake_write(a, P(i), i);
		else
			fake_read(a, P(i));
		atomic_fetch_add(&storm.hits, fake_has(a, P(i), false));
		yield();
	}
}

/* Return whether translation i of the fake is right.  Context: both locks. */
static bool is_true(struct fake_mmu *a, unsigned i)
{
	struct translation t = fake_translation(a, i);
	uint64_t *slot, e;

	if (!t.page)
		return true;
	slot = pt_slot(&storm.mm->pt, P(i), 0, false);
	e = slot ? pte_read(slot) : 0;
	if (!fake_takes(e, false) || entry_page(e) != t.page)
		return false;
	return a->kind == &fake_walker || !t.writable || (e & PTE_W);
}

static void look_at_all(void)
{
	for (unsigned k = 0; k < storm.kinds; k++) {
		struct fake_mmu *a = &storm.fake[k];

		spin_lock(&storm.mm->pt_lock);
		spin_lock(fake_lock(a));
		for (unsigned i = 0; i < PAGES; i++)
			if (!is_true(a, i) &&
			    !atomic_fetch_add(&storm.wrong, 1))
				test_note("%s: page %u", a->kind->name, i);
		spin_unlock(fake_lock(a));
		spin_unlock(&storm.mm->pt_lock);
	}
	atomic_fetch_add(&storm.checks, 1);
}

static void checker(void *arg)
{
	while (!atomic_load(&storm.stop)) {
		look_at_all();
		yield();
	}
}

/* Where a race can be lost: others run there, for as long as it may take. */
static const char *const weak_spots[] = { "fake_looked", "shadow_looked",
					  "range_started", "range_end",
					  "shadow_ending" };

static void let_others(uint64_t x, uint64_t y, void *arg)
{
	static _Atomic unsigned turn;

	for (unsigned n = atomic_fetch_add(&turn, 1) % 8; n; n--)
		yield();
}

TEST_SMP(fakes, storm,
	 "while an mm changes on all CPUs no secondary MMU of any kind ever "
	 "holds a wrong translation",
	 2)
{
	struct task changers[CHANGERS], devices[KINDS], check;

	storm.mm = written(PAGES);
	storm.seed = test_seed();
	atomic_store(&storm.stop, false);
	atomic_store(&storm.wrong, 0);
	atomic_store(&storm.hits, 0);
	atomic_store(&storm.checks, 0);
	storm.kinds = 0;
	for_each_kind (k, fake_mmus())
		fake_attach(&storm.fake[storm.kinds++], *k, storm.mm);
	for (unsigned i = 0; i < ARRAY_SIZE(weak_spots); i++)
		hook(weak_spots[i], let_others, NULL);
	for (unsigned k = 0; k < storm.kinds; k++)
		spawn(&devices[k], device, &storm.fake[k]);
	spawn(&check, checker, NULL);
	for (uintptr_t i = 0; i < CHANGERS; i++)
		spawn(&changers[i], changer, (void *)i);
	for (unsigned i = 0; i < CHANGERS; i++)
		join(&changers[i]);
	atomic_store(&storm.stop, true);
	join(&check);
	for (unsigned k = 0; k < storm.kinds; k++)
		join(&devices[k]);
	for (unsigned i = 0; i < ARRAY_SIZE(weak_spots); i++)
		unhook(weak_spots[i]);
	EXPECT_EQ(storm.wrong, 0);
	test_note("%u hits, %u checks", storm.hits, storm.checks);
	for (unsigned k = 0; k < storm.kinds; k++)
		fake_detach(&storm.fake[k]);
	mm_put(storm.mm);
}
