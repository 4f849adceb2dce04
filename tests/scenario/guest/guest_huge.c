/* SPDX-License-Identifier: MIT */
/*
 * guest_huge.c - a guest in an address space with pages of 2 MiB
 *
 * guest_own copies the CPU's entry whole where it can; guest_shared walks it.  The guest
 * peeks to see what its table translates: a fault would not be served.
 */
#include "drivers/guest/log.h"
#include "kernel/err.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"
#include "tests/stress/stress.h"

#define ROUNDS 200u /* until one is not hit by a tick                       */

static struct resident r;
static struct mm *mm;

/* Page i of the process holds i + 1, and one entry maps all N. */
static void begin(void)
{
	mm = huge_filled();
	resident_start(&r, guest_form(), mm);
}

static void end(void)
{
	resident_stop(&r);
	mm_put(mm);
}

/* What it peeks at after its leaf has gone, and a shared table still has v. */
#define GONE(v) (guest_form() == &guest_own ? BAD : (v))

/* ---- one leaf ------------------------------------------------------------- */

static void one_leaf(void)
{
	begin();
	EXPECT_EQ(guest_reads(&r, P(7)), 8);
	for (unsigned i = 0; i < N; i += 73)
		EXPECT_EQ(guest_peeks(&r, P(i)), i + 1);
	EXPECT_EQ(guest_writes(&r, P(300), 5), 0);
	EXPECT_EQ(rd(mm, P(300)), 5);
	EXPECT_EQ(wr(mm, P(511), 6), 0);
	EXPECT_EQ(guest_peeks(&r, P(511)), 6);
	EXPECT(entry_huge(entry_at(mm, VA)));
	end();
}

TEST(guest_huge, one_fault_maps_all,
     "a nested fault in a page of 2 MiB makes all of it reachable: guest and "
     "process read each other's writes in every part, and it stays one entry")
{
	with_each_form(one_leaf);
}

static void made_by_guest(void)
{
	mm = huge_fixture();
	resident_start(&r, guest_form(), mm);
	EXPECT_EQ(guest_writes(&r, P(9), 1), 0);
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT_EQ(guest_peeks(&r, P(10)), 0);
	EXPECT_EQ(rd(mm, P(9)), 1);
	end();
}

TEST(guest_huge, guest_makes_one,
     "a guest's first write in a region that wants huge pages makes one, as a "
     "CPU's does, and the guest reaches all of it")
{
	with_each_form(made_by_guest);
}

/* What else does the guest reach after a read of page 7, through this slot? */
static uint64_t beside(gpa_t gpa, uint64_t bytes, va_t va)
{
	uint64_t seen;

	EXPECT_EQ(guest_add_slot(r.guest, &(struct guest_slot){ gpa, bytes, va,
								PROT_R }),
		  0);
	EXPECT_EQ(guest_reads(&r, P(7) - va + gpa), 8);
	seen = guest_peeks(&r, P(8) - va + gpa);
	EXPECT_EQ(guest_writes(&r, P(8) - va + gpa, 1), -EFAULT);
	EXPECT_EQ(guest_remove_slot(r.guest, gpa), 0);
	EXPECT_EQ(guest_peeks(&r, P(7) - va + gpa), BAD);
	return seen;
}

static void fits(void)
{
	begin();
	EXPECT_EQ(guest_remove_slot(r.guest, resident_memory.gpa), 0);
	EXPECT_EQ(beside(4 * BLOCK_SIZE, BLOCK_SIZE, VA), 9);
	EXPECT_EQ(beside(8 * BLOCK_SIZE, BLOCK_SIZE - PAGE_SIZE, VA), BAD);
	EXPECT_EQ(beside(16 * BLOCK_SIZE + PAGE_SIZE, BLOCK_SIZE - PAGE_SIZE,
			 P(1)),
		  BAD);
	EXPECT_EQ(beside(32 * BLOCK_SIZE + PAGE_SIZE, BLOCK_SIZE, VA), BAD);
	/* Tables of the last one are still there. */
	EXPECT_EQ(beside(32 * BLOCK_SIZE, BLOCK_SIZE, VA), BAD);
	end();
}

TEST(guest_huge, slot_has_to_fit,
     "a slot that does not have all of a page of 2 MiB, or at addresses that "
     "are "
     "not aligned alike, is mapped page by page; a slot's rights and its end "
     "hold for all of it")
{
	with_own(fits);
}

/* ---- it goes -------------------------------------------------------------- */

static void partial(void)
{
	begin();
	EXPECT_EQ(guest_writes(&r, P(7), 70), 0);
	EXPECT_EQ(mm_discard(mm, P(5), P(6)), 0);
	EXPECT_EQ(guest_peeks(&r, P(5)), BAD);
	EXPECT_EQ(guest_peeks(&r, P(6)), GONE(7));
	EXPECT_EQ(guest_reads(&r, P(5)), 0);
	EXPECT_EQ(guest_reads(&r, P(7)), 70);
	EXPECT_EQ(mm_protect(mm, P(6), P(7), PROT_R), 0);
	EXPECT_EQ(guest_writes(&r, P(6), 1), -EFAULT);
	EXPECT_EQ(guest_writes(&r, P(8), 80), 0);
	EXPECT_EQ(rd(mm, P(8)), 80);
	end();
}

TEST(guest_huge, part_is_invalidated,
     "after a discard of one page, and a protect of another, the guest has "
     "lost "
     "that page or right and reads the others as before")
{
	with_each_form(partial);
}

static uint64_t exits;
static bool stayed;

/* Like resident_warm(), of page 300 of 2 MiB; discards it, or all. */
static uint64_t discard_under_it(bool all, bool kicked)
{
	struct victim next;
	struct page *page;
	uint64_t seen;

	victim_begin(&next);
	EXPECT_EQ(mm_unmap(mm, P(0), P(N)), 0); /* the small entries' table */
	EXPECT_EQ(mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL), 0);
	EXPECT_EQ(wr(mm, P(300), 100), 0);
	EXPECT(entry_huge(entry_at(mm, VA)));
	page = huge_head(mm) + 300;
	resident_tick(&r, false);
	guest_kick(r.guest);
	EXPECT_EQ(guest_reads(&r, P(300)), 100);
	exits = resident_exits(&r);
	EXPECT_EQ(guest_reads(&r, P(300)), 100);
	if (!kicked)
		kicks_hidden(&r, UINT64_MAX);
	EXPECT_EQ(mm_discard(mm, all ? P(0) : P(300), all ? P(N) : P(301)), 0);
	kicks_shown();
	if (!all)
		take(&next, page);
	seen = guest_peeks(&r, P(300));
	stayed = resident_exits(&r) == exits;
	resident_tick(&r, true);
	victim_end(&next);
	return seen;
}

static void stale(void)
{
	struct rounds right = rounds(10 * stress_times());
	uint64_t seen;
	unsigned n = 0;

	begin();
	do
		seen = discard_under_it(false, false);
	while (!stayed && ++n < ROUNDS);
	EXPECT_EQ(seen, 77);
	for (unsigned i = 0; rounds_more(&right, i); i++)
		EXPECT_EQ(discard_under_it(i & 1, true), BAD);
	end();
}

TEST_SMP(guest_huge, kick_ends_all_of_it,
	 "a guest in guest mode that has used a page of 2 MiB faults after a "
	 "discard of the part, or of the whole; without the kick it reads the "
	 "part's next owner",
	 2)
{
	with_each_form(stale);
}

/* ---- another part is invalidated during the fault (H21, C47) ---------------- */

static uint64_t fault_saw;

static void read_first(void *unused)
{
	fault_saw = guest_reads(&r, P(1));
}

static void discard_fifth(void *unused)
{
	EXPECT_EQ(mm_discard(mm, P(5), P(6)), 0);
}

/*
 * A fault at page 1 has looked the entry of 2 MiB up; a discard of page 5 has begun, and
 * finds nothing in the guest's table; the fault maps; the discard goes on.
 * blind: as if the fault asked for page 1 alone.  Returns what the guest reads in page 5,
 * which another process has.
 */
static uint64_t overlap(bool blind)
{
	struct shadow *s;
	struct sync_point looked, started;
	struct task fault, discard;
	struct victim next;
	struct page *page;
	uint64_t seen;

	begin();
	s = &r.guest->shadow;
	EXPECT_EQ(guest_peeks(&r, P(1)), BAD); /* its home is mapped now */
	victim_begin(&next);
	page = huge_head(mm) + 5;
	sync_point_set(&looked, "shadow_looked", s);
	spawn_on(&fault, BIT(0), read_first, NULL);
	sync_point_await(&looked);
	sync_point_set(&started, "shadow_started", s);
	spawn_on(&discard, BIT(0), discard_fifth, NULL);
	sync_point_await(&started);
	atomic_store(&s->active, blind ? 0 : 1);
	sync_point_release(&looked);
	join(&fault);
	atomic_store(&s->active, 1);
	sync_point_release(&started);
	join(&discard);
	take(&next, page);
	EXPECT_EQ(fault_saw, 2);
	seen = guest_peeks(&r, P(5));
	victim_end(&next);
	end();
	return seen;
}

static void overlapping(void)
{
	struct rounds right = rounds(4 * stress_times());

	EXPECT_EQ(overlap(true), 77);
	for (unsigned i = 0; rounds_more(&right, i); i++)
		EXPECT_EQ(overlap(false), BAD);
}

TEST(guest_huge, fault_asks_for_all_of_it,
     "a fault that maps 2 MiB while another page of them is being discarded "
     "lets "
     "the guest read that page's next owner if it asks for its own page only; "
     "asking for all, it maps its page (H21, C47)")
{
	with_own(overlapping);
}

/* ---- the process's entry is split ------------------------------------------- */

static struct resident second;

/* The guest may read the whole; the process may write. */
static void read_only_leaf(void)
{
	struct mm *child;

	begin();
	child = fork_of(mm);
	EXPECT_EQ(guest_reads(&r, P(1)), 2);
	mm_put(child);
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT_EQ(guest_peeks(&r, P(20)), 21);
}

static void split(void)
{
	read_only_leaf();
	huge_split_at(mm, P(1));
	EXPECT_EQ(guest_peeks(&r, P(20)), 21); /* stays true */
	EXPECT_EQ(guest_writes(&r, P(9), 1), 0);
	EXPECT_EQ(rd(mm, P(9)), 1);
	EXPECT_EQ(guest_peeks(&r, P(20)), GONE(21));
	EXPECT_EQ(guest_reads(&r, P(20)), 21);
	end();
}

TEST(guest_huge, split_is_no_loss,
     "after a split of the process's entry the guest reads on without a fault, "
     "and a write to one page reaches that page")
{
	with_each_form(split);
}

/* The second vCPU has cached a page of the leaf; the first one's write replaces the
 * leaf by a small entry; the page is discarded. */
static uint64_t replace(bool kicked)
{
	struct victim next;
	struct page *page;
	uint64_t seen;

	read_only_leaf();
	resident_join(&second, r.guest, mm, cpu_count() - 2);
	victim_begin(&next);
	huge_split_at(mm, P(1));
	page = page_at(mm, P(20));
	page_put(page);
	resident_tick(&second, false);
	EXPECT_EQ(guest_reads(&second, P(20)), 21);
	exits = resident_exits(&second);
	EXPECT_EQ(guest_reads(&second, P(20)), 21);
	if (!kicked)
		kicks_hidden(&second, UINT64_MAX);
	EXPECT_EQ(guest_writes(&r, P(9), 1), 0);
	kicks_shown();
	EXPECT_EQ(mm_discard(mm, P(20), P(21)), 0);
	take(&next, page);
	seen = guest_peeks(&second, P(20));
	stayed = resident_exits(&second) == exits;
	resident_tick(&second, true);
	victim_end(&next);
	resident_stop(&second);
	end();
	return seen;
}

static void replaced(void)
{
	uint64_t seen;
	unsigned n = 0;

	do
		seen = replace(false);
	while (!stayed && ++n < ROUNDS);
	EXPECT_EQ(seen, 77);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(replace(true), BAD);
}

TEST_SMP(guest_huge, replaced_leaf_is_flushed,
	 "where a small entry takes the place of a leaf of 2 MiB, no vCPU goes "
	 "on "
	 "using the leaf: without a kick one reads a page's next owner",
	 3)
{
	with_own(replaced);
}

/* ---- log, aging --------------------------------------------------------------- */

static void logged(enum guest_log_by by)
{
	static uint64_t bits;
	struct guest_log log = { by, P(0), 16 * PAGE_SIZE, &bits };
	uint64_t now;

	begin();
	bits = 0;
	EXPECT_EQ(guest_writes(&r, P(7), 1), 0);
	EXPECT_EQ(guest_log_start(r.guest, &log), 0);
	EXPECT_EQ(guest_peeks(&r, P(100)), BAD);
	EXPECT_EQ(guest_writes(&r, P(3), 1), 0);
	EXPECT_EQ(guest_reads(&r, P(4)), 5);
	EXPECT_EQ(guest_writes(&r, P(100), 1), 0);
	guest_log_read(r.guest, &now);
	EXPECT_EQ(now, BIT(3));
	guest_log_stop(r.guest);
	EXPECT(entry_huge(entry_at(mm, VA)));
	end();
}

static void logged_by_both(void)
{
	logged(GUEST_LOG_W);
	logged(GUEST_LOG_D);
}

TEST(guest_huge, log_has_single_pages,
     "a log of a part of 2 MiB names each page that the guest writes, and no "
     "other, though the process has one entry")
{
	with_own(logged_by_both);
}

static void dirt(void)
{
	struct page *head;

	begin();
	head = huge_head(mm);
	EXPECT_EQ(guest_writes(&r, P(300), 1), 0);
	huge_split_at(mm, P(1));
	page_clear(head + 300, PG_DIRTY);
	EXPECT_EQ(guest_remove_slot(r.guest, resident_memory.gpa), 0);
	EXPECT(page_test(head + 300, PG_DIRTY));
	end();
}

TEST(guest_huge, written_page_is_dirty,
     "a page that the guest has written through a leaf of 2 MiB is dirty when "
     "the "
     "leaf goes, also after the process's entry was split")
{
	with_own(dirt);
}

static void age(void)
{
	struct page *head;

	begin();
	head = huge_head(mm);
	EXPECT_EQ(guest_reads(&r, P(0)), 1);
	EXPECT_EQ(page_referenced(head), 1);
	EXPECT_EQ(page_referenced(head), 0);
	EXPECT_EQ(guest_reads(&r, P(300)), 301);
	EXPECT_EQ(page_referenced(head), 1);
	EXPECT_EQ(guest_reads(&r, P(300)), 301);
	huge_split_at(mm, P(1));
	EXPECT_EQ(page_referenced(head + 300), 1);
	EXPECT_EQ(guest_reads(&r, P(299)), 300);
	EXPECT_EQ(page_referenced(head + 300), 0);
	EXPECT_EQ(page_referenced(head + 299), 1);
	end();
}

TEST(guest_huge, use_of_a_part_is_seen,
     "a page of 2 MiB is young after the guest has used a part of it; after a "
     "split each page is young by its own use")
{
	with_each_form(age);
}
