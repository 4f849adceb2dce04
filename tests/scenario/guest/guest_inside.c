/* SPDX-License-Identifier: MIT */
/*
 * guest_inside.c - what a guest does while an invalidation is open, and until one is
 *
 * guest_own waits with a fault for the end.  guest_shared, which has no table of its
 * own, goes on with what the process still has, and loses it by the kick.
 */
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"

#define G(n) (UINT64_C(0x20000000) + PAGE_SIZE * (n)) /* guest-physical   */

static struct resident r, second;
static struct mm *mm;

/* What the guest reads where its table has been emptied, and a shared one has v. */
#define GONE(v) (guest_form() == &guest_own ? BAD : (v))

static void discard_first(void *unused)
{
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
}

/* ---- faults that meet an open invalidation ---------------------------------- */

static struct sync_point started;
static struct task discard;

/* A discard of page 0, which holds 100, is open and has cleared nothing; meanwhile a
 * slot of the page moves from G(0) to G(8). */
static void begin(void)
{
	static const struct guest_slot stays = { P(0), PAGE_SIZE, P(0), RW };
	static const struct guest_slot moves = { G(0), PAGE_SIZE, P(0), RW };

	mm = mm_fixture(1);
	resident_call(&r, &guest_own, mm);
	EXPECT_EQ(guest_remove_slot(r.guest, resident_memory.gpa), 0);
	EXPECT_EQ(guest_add_slot(r.guest, &stays), 0);
	EXPECT_EQ(guest_add_slot(r.guest, &moves), 0);
	EXPECT_EQ(guest_writes(&r, P(0), 100), 0);
	EXPECT_EQ(guest_reads(&r, G(0)), 100);
	sync_point_set(&started, "range_started", mm);
	spawn_on(&discard, BIT(0), discard_first, NULL);
	sync_point_await(&started);
	EXPECT_EQ(guest_move_slot(r.guest, G(0), G(8)), 0);
}

static void end_discard(void)
{
	sync_point_release(&started);
	join(&discard);
}

static void end(void)
{
	resident_stop(&r);
	mm_put(mm);
}

static _Atomic unsigned waiting;

static void count(uint64_t shadow, uint64_t va, void *unused)
{
	if (shadow == (uint64_t)&r.guest->shadow)
		atomic_fetch_add(&waiting, 1);
}

static uint64_t saw, second_saw;

static void read_page(void *unused)
{
	saw = guest_reads(&r, P(0));
}

static void read_slot(void *unused)
{
	second_saw = guest_reads(&second, G(8));
}

static bool has_entry(gpa_t gpa)
{
	uint64_t *slot;
	bool has;

	spin_lock(&r.guest->shadow.lock);
	slot = pt_slot(&r.guest->pt, gpa, 0, false);
	has = slot && pte_read(slot);
	spin_unlock(&r.guest->shadow.lock);
	return has;
}

static void both_wait(void)
{
	struct task first, other;

	begin();
	resident_join(&second, r.guest, mm, RESIDENT_CALLED);
	atomic_store(&waiting, 0);
	hook("shadow_waits", count, NULL);
	spawn_on(&first, BIT(0), read_page, NULL);
	spawn_on(&other, BIT(0), read_slot, NULL);
	while (atomic_load(&waiting) < 2 && !atomic_load(&first.done) &&
	       !atomic_load(&other.done))
		yield();
	EXPECT(still_waits(&first) && still_waits(&other));
	EXPECT(!has_entry(P(0)) && !has_entry(G(8)));
	end_discard();
	join(&first); /* or the test hangs */
	join(&other);
	unhook("shadow_waits");
	EXPECT_EQ(saw, 0);
	EXPECT_EQ(second_saw, 0);
	EXPECT_EQ(atomic_load(&r.guest->shadow.active), 0);
	resident_stop(&second);
	end();
}

TEST(guest, faults_wait_for_the_end,
     "two vCPUs of a guest that fault at a page which is being discarded map "
     "nothing before the end, one of them through a slot that has moved since "
     "the start; the end wakes both (B22, H20)")
{
	with_own(both_wait);
}

/* The guest faults as if no invalidation were open.  Returns what it reads later, when
 * another process has the page. */
static uint64_t fault_inside(gpa_t gpa)
{
	_Atomic unsigned *active;
	struct victim next;
	struct page *page;
	uint64_t v;

	begin();
	active = &r.guest->shadow.active;
	victim_begin(&next);
	page = page_at(mm, P(0));
	page_put(page);
	EXPECT_EQ(atomic_exchange(active, 0), 1);
	EXPECT_EQ(guest_reads(&r, gpa), 100);
	atomic_store(active, 1);
	end_discard();
	take(&next, page);
	v = guest_peeks(&r, gpa);
	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0); /* the wrong entry goes */
	victim_end(&next);
	end();
	return v;
}

static void inside(void)
{
	EXPECT_EQ(fault_inside(P(0)), 77);
	EXPECT_EQ(fault_inside(G(8)), 77);
}

TEST(guest, fault_inside_maps_a_freed_page,
     "a guest whose fault does not wait for the end of an open invalidation "
     "reads the page's next owner, at its old address and through a slot that "
     "was moved (B22, C48, H20)")
{
	with_own(inside);
}

static void peek_inside(void)
{
	uint64_t exits;

	mm = mm_fixture(1);
	resident_start(&r, guest_form(), mm);
	resident_warm(&r, mm, &exits);
	sync_point_set(&started, "range_started", mm);
	spawn_on(&discard, BIT(0), discard_first, NULL);
	sync_point_await(&started);
	EXPECT_EQ(guest_peeks(&r, P(0)), GONE(100));
	end_discard();
	EXPECT_EQ(guest_peeks(&r, P(0)), BAD);
	resident_tick(&r, true);
	end();
}

TEST_SMP(guest, use_inside_ends_with_it,
	 "what a guest reads while an invalidation is open it does not read "
	 "after it: with a table of its own not even then (B22)",
	 2)
{
	with_each_form(peek_inside);
}

/* ---- no invalidation, no fault --------------------------------------------------- */

static void kept(void)
{
	struct mm *child;

	mm = mm_fixture(2);
	EXPECT_EQ(wr(mm, P(0), 100), 0);
	resident_start(&r, guest_form(), mm);
	EXPECT_EQ(guest_reads(&r, P(0)), 100);
	for (unsigned i = 0; i < 8; i++) {
		EXPECT_EQ(wr(mm, P(0), i), 0);
		EXPECT_EQ(wr(mm, P(1), i), 0);
		EXPECT_EQ(mm_discard(mm, P(1), P(2)), 0);
		EXPECT_EQ(guest_peeks(&r, P(0)), i);
	}
	child = fork_of(mm);
	EXPECT_EQ(wr(mm, P(0), 50), 0);
	EXPECT_EQ(guest_peeks(&r, P(0)), GONE(50));
	EXPECT_EQ(guest_reads(&r, P(0)), 50);
	EXPECT_EQ(rd(child, P(0)), 7);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_EQ(guest_peeks(&r, P(0)), BAD);
	EXPECT_EQ(guest_reads(&r, P(0)), 0);
	mm_put(child);
	end();
}

TEST(guest, entry_is_kept_until_invalidated,
     "a guest uses a page without a fault as long as no invalidation covers "
     "it, "
     "and its old frame never after one (C48)")
{
	with_each_form(kept);
}
