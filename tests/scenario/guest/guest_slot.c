/* SPDX-License-Identifier: MIT */
/*
 * guest_slot.c - slots that are added, moved and removed while the guest runs
 */
#include "kernel/err.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/stress/stress.h"

#define G(n) (UINT64_C(0x20000000) + PAGE_SIZE * (n)) /* guest-physical   */

static struct resident r;
static struct mm *mm;

/* Pages 0 to 3 of the process hold 100 to 103; of the guest's memory only its home
 * is in a slot. */
static void begin(void)
{
	mm = mm_fixture(4);
	for (unsigned i = 0; i < 4; i++)
		wr(mm, P(i), 100 + i);
	resident_start(&r, &guest_own, mm);
	EXPECT_EQ(guest_remove_slot(r.guest, resident_memory.gpa), 0);
}

static void end(void)
{
	resident_stop(&r);
	mm_put(mm);
}

static int add(gpa_t gpa, unsigned pages, va_t va, enum prot prot)
{
	return guest_add_slot(
		r.guest,
		&(struct guest_slot){ gpa, pages * PAGE_SIZE, va, prot });
}

static void come_and_go(void)
{
	begin();
	EXPECT_EQ(guest_reads(&r, P(0)), BAD);
	EXPECT_EQ(guest_reads(&r, G(0)), BAD);
	EXPECT_EQ(add(G(0), 2, P(1), RW), 0);
	EXPECT_EQ(guest_reads(&r, G(0)), 101);
	EXPECT_EQ(guest_writes(&r, G(1), 7), 0);
	EXPECT_EQ(rd(mm, P(2)), 7);
	EXPECT_EQ(guest_reads(&r, G(2)), BAD);
	EXPECT_EQ(guest_move_slot(r.guest, G(0), G(1)), 0); /* over itself */
	EXPECT_EQ(guest_reads(&r, G(0)), BAD);
	EXPECT_EQ(guest_reads(&r, G(1)), 101);
	EXPECT_EQ(guest_reads(&r, G(2)), 7);
	EXPECT_EQ(guest_remove_slot(r.guest, G(1)), 0);
	EXPECT_EQ(guest_reads(&r, G(1)), BAD);
	end();
}

TEST(guest, slot_comes_and_goes,
     "a guest reaches the range of a slot, where it was moved to and nowhere "
     "else, and nothing of one that was removed")
{
	with_own(come_and_go);
}

static void two_of_one_page(void)
{
	begin();
	EXPECT_EQ(add(G(0), 1, P(0), RW), 0);
	EXPECT_EQ(add(G(8), 1, P(0), RW), 0);
	EXPECT_EQ(guest_reads(&r, G(0)), 100);
	EXPECT_EQ(guest_reads(&r, G(8)), 100);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_EQ(guest_peeks(&r, G(0)), BAD);
	EXPECT_EQ(guest_peeks(&r, G(8)), BAD);
	EXPECT_EQ(guest_writes(&r, G(0), 1), 0);
	EXPECT_EQ(guest_reads(&r, G(8)), 1);
	end();
}

TEST(guest, slot_may_share_its_range,
     "of two slots with one range of the process an invalidation empties both")
{
	with_own(two_of_one_page);
}

/* Discard pages 0, 1 and 3 one by one: none is left to the guest. */
static void discard_each(void)
{
	const unsigned pages[] = { 0, 1, 3 };

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		unsigned n = pages[i];

		(void)guest_reads(&r, G(n));
		EXPECT_EQ(mm_discard(mm, P(n), P(n + 1)), 0);
		EXPECT_EQ(guest_peeks(&r, G(n)), BAD);
	}
}

static void far_apart(void)
{
	begin();
	EXPECT_EQ(add(G(0), 1, P(0), RW), 0);
	EXPECT_EQ(add(G(3), 1, P(3), RW), 0);
	EXPECT_EQ(add(G(1), 1, P(1), RW), 0);
	discard_each();
	EXPECT_EQ(guest_remove_slot(r.guest, G(3)), 0);
	EXPECT_EQ(guest_remove_slot(r.guest, G(0)), 0);
	EXPECT_EQ(add(G(3), 1, P(3), RW), 0);
	EXPECT_EQ(add(G(0), 1, P(0), RW), 0);
	discard_each();
	end();
}

TEST(guest, slot_may_begin_anywhere,
     "an invalidation finds each of three slots, in whatever order they were "
     "added, removed and added again")
{
	with_own(far_apart);
}

static void rights(void)
{
	begin();
	EXPECT_EQ(add(G(0), 1, P(0), PROT_R), 0);
	EXPECT_EQ(add(G(1), 1, P(0), RW), 0);
	EXPECT_EQ(guest_reads(&r, G(0)), 100);
	EXPECT_EQ(guest_writes(&r, G(0), 1), -EFAULT);
	EXPECT_EQ(guest_writes(&r, G(1), 2), 0);
	EXPECT_EQ(guest_writes(&r, G(0), 3), -EFAULT);
	EXPECT_EQ(guest_reads(&r, G(0)), 2);
	end();
}

TEST(guest, slot_limits_rights,
     "through a slot without W the guest does not write a page of the process "
     "that it may write through another slot")
{
	with_own(rights);
}

static void refused(void)
{
	begin();
	EXPECT_EQ(add(G(0), 2, P(0), RW), 0);
	EXPECT_EQ(add(G(1), 1, P(0), RW), -EEXIST);
	EXPECT_EQ(add(G(0) - PAGE_SIZE, 2, P(0), RW), -EEXIST);
	EXPECT_EQ(add(G(0) - PAGE_SIZE, 4, P(0), RW), -EEXIST);
	EXPECT_EQ(add(G(2), 0, P(0), RW), -EINVAL);
	EXPECT_EQ(add(G(2) + 8, 1, P(0), RW), -EINVAL);
	EXPECT_EQ(add(G(2), 1, P(0) + 8, RW), -EINVAL);
	EXPECT_EQ(add(G(2), 1, P(0), PROT_W), -EINVAL);
	EXPECT_EQ(add(G(2), 1, P(0), RW | PROT_USER), -EINVAL);
	EXPECT_EQ(add(G(2), 2, USER_END - PAGE_SIZE, RW), -EINVAL);
	EXPECT_EQ(add(G(2), 1, 0, RW), -EINVAL);
	EXPECT_EQ(add(SVM_PA_END - PAGE_SIZE, 2, P(0), RW), -EINVAL);
	EXPECT_EQ(add(SVM_PA_END, 1, P(0), RW), -EINVAL);
	EXPECT_EQ(guest_move_slot(r.guest, G(2), G(3)), -ENOENT);
	EXPECT_EQ(guest_move_slot(r.guest, G(0), SVM_PA_END - PAGE_SIZE),
		  -EINVAL);
	EXPECT_EQ(add(G(20), 1, P(0), RW), 0);
	EXPECT_EQ(guest_move_slot(r.guest, G(20), G(1)), -EEXIST);
	EXPECT_EQ(guest_remove_slot(r.guest, G(20)), 0);
	EXPECT_EQ(guest_remove_slot(r.guest, G(1)), -ENOENT);
	for (unsigned i = 1; i < GUEST_SLOTS; i++)
		EXPECT_EQ(add(G(2 * i), 1, P(0), RW), 0);
	EXPECT_EQ(add(G(100), 1, P(0), RW), -ENOMEM);
	EXPECT_EQ(guest_reads(&r, G(1)), 101);
	end();
}

TEST(guest, slot_may_be_refused,
     "slots that overlap, are empty, or reach beyond what a guest or a process "
     "can name are refused, with nothing changed")
{
	with_own(refused);
}

/* Was it dirty?  It is not from now on. */
static bool was_dirty(struct page *page)
{
	bool was = page_test(page, PG_DIRTY);

	page_clear(page, PG_DIRTY);
	return was;
}

/* The CPU's entries have no D: only the nested table knows. */
static void dirt(void)
{
	struct page *written, *read;

	begin();
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	EXPECT_EQ(add(G(0), 2, P(0), RW), 0);
	EXPECT_EQ(guest_writes(&r, G(0), 1), 0);
	EXPECT_EQ(guest_writes(&r, G(1), 2), 0);
	written = page_at(mm, P(0));
	read = page_at(mm, P(1));
	EXPECT_EQ(guest_remove_slot(r.guest, G(0)), 0);
	EXPECT(was_dirty(written) && was_dirty(read));
	EXPECT_EQ(add(G(0), 2, P(0), RW), 0);
	EXPECT_EQ(guest_reads(&r, G(0)), 1);
	EXPECT_EQ(guest_reads(&r, G(1)), 2);
	EXPECT_EQ(guest_writes(&r, G(0), 3), 0);
	EXPECT_EQ(guest_remove_slot(r.guest, G(0)), 0);
	EXPECT(was_dirty(written));
	EXPECT(!was_dirty(read));
	page_put(written);
	page_put(read);
	end();
}

TEST(guest, dirty_pages_are_exact,
     "a page that the guest has written is dirty when its nested entry goes, "
     "and one that it has read and could have written is not")
{
	with_own(dirt);
}

/* The guest reads through the slot in guest mode until it is gone. */
static void removed_under_it(void)
{
	struct rounds all = rounds(20 * stress_times());

	begin();
	for (unsigned i = 0; rounds_more(&all, i); i++) {
		EXPECT_EQ(add(G(0), 1, P(0), RW), 0);
		EXPECT_EQ(guest_reads(&r, G(0)), 100);
		EXPECT_EQ(guest_remove_slot(r.guest, G(0)), 0);
		EXPECT_EQ(guest_reads(&r, G(0)), BAD);
	}
	end();
}

TEST_SMP(guest, removed_slot_is_not_cached,
	 "a guest that has read through a slot and is still in guest mode does "
	 "not reach it once it is removed",
	 2)
{
	with_own(removed_under_it);
}

/* ---- a slot that goes while its fault is served --------------------------- */

static void fault_it(void *unused)
{
	(void)unused;
	EXPECT_EQ(guest_reads(&r, G(0)), BAD);
}

static void removed_under_a_fault(void)
{
	struct sync_point g;
	struct task t;

	begin();
	EXPECT_EQ(add(G(0), 1, P(0), RW), 0);
	EXPECT_EQ(guest_reads(&r, G(1)), BAD); /* its home is mapped now */
	sync_point_set(&g, "shadow_looked", &r.guest->shadow);
	spawn(&t, fault_it, NULL);
	sync_point_await(&g);
	EXPECT_EQ(guest_remove_slot(r.guest, G(0)), 0);
	sync_point_release(&g);
	join(&t);
	end();
}

TEST(guest, slot_may_go_under_a_fault,
     "a fault that has found a slot maps nothing when the slot is removed "
     "before it maps: the guest does not reach the page")
{
	with_own(removed_under_a_fault);
}
