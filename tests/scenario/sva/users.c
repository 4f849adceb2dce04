/* SPDX-License-Identifier: MIT */
/*
 * users.c - a device in the address space of a process, either way
 *
 * What the CPU does to the address space the device must see at once: before
 * each change it has cached what was there, by a real transfer.
 */
#include "arch/layout.h"
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/fixture/iommu/user_fixture.h"

/* ---- one memory --------------------------------------------------------- */

USER_TEST(
	users, same_memory,
	"the CPU and the device read what the other wrote, at the same address")
{
	struct mm *mm = fixture_warm(s);

	fixture_write(s, 0, P(0) + 8, 'B');
	EXPECT_EQ(rd(mm, P(0) + 8), 'B');
	REQUIRE(!wr(mm, P(0) + 8, 'C'));
	EXPECT_EQ(fixture_read(s, 0, P(0) + 8), 'C');
}

USER_TEST(users, unbound_device_reaches_nothing,
	  "a device reaches nothing before it is bound and after it is unbound")
{
	struct mm *mm = fixture_mm(s, 1);

	REQUIRE(!wr(mm, P(0), 'A'));
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	fixture_bind(s, 0, mm);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	fixture_unbind(s, 0);

	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

USER_TEST(users, faults_follow_the_region,
	  "a device's fault maps what a CPU's fault would map, and no more "
	  "(C106, B52)")
{
	struct mm *mm = fixture_mm(s, 2);

	fixture_bind(s, 0, mm);
	REQUIRE(!mm_protect(mm, P(1), P(2), PROT_R));
	EXPECT_EQ(fixture_store(s, 0, P(0), 'A'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(fixture_fault(0, P(1), PROT_W), -EFAULT);
	EXPECT_EQ(entry_at(mm, P(1)), 0);
	EXPECT_EQ(fixture_fault(0, P(1), PROT_R), 0);
	EXPECT_EQ(fixture_fault(0, P(2), PROT_R), -EFAULT);
	EXPECT_EQ(fixture_fault(0, 0, PROT_R), -EFAULT);
	EXPECT_EQ(fixture_fault(0, USER_END, PROT_R), -EFAULT);
	EXPECT_EQ(fixture_fault(0, KERNEL_BASE, PROT_R), -EFAULT);
	fixture_exit(mm);
	EXPECT_EQ(fixture_fault(0, P(0), PROT_R), -EFAULT);
}

USER_TEST(users, zero_page_is_never_written,
	  "a device reads the zero page, and its write goes to a page of its "
	  "own (C22)")
{
	struct mm *mm = fixture_mm(s, 2);

	fixture_bind(s, 0, mm);
	REQUIRE(!fixture_fault(0, P(0), PROT_R));
	REQUIRE(!fixture_fault(0, P(1), PROT_R));
	fixture_refused(s, 0);
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(fixture_word(zero_page), 0);
	REQUIRE(!fixture_store(s, 0, P(0), 'A'));

	EXPECT_EQ(fixture_word(zero_page), 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(1)), 0);
}

MODEL_USER_TEST(users, addresses_up_to_2_47_are_reached,
		"a device with 64-bit addresses reaches user memory up to "
		"2^47, and nothing above")
{
	va_t va = USER_END - PAGE_SIZE;
	struct mm *mm = fixture_mm(s, 1);

	REQUIRE(!mm_map(mm, va, PAGE_SIZE, RW, 0, NULL, 0, NULL));
	fixture_bind(s, 0, mm);
	EXPECT_EQ(fixture_store(s, 0, va, 'A'), 0);
	EXPECT_EQ(rd(mm, va), 'A');
	EXPECT_EQ(fixture_load(s, 0, va + PAGE_SIZE), BLOCKED);
	REQUIRE(!mm_unmap(mm, va, va + PAGE_SIZE));
	EXPECT_EQ(fixture_load(s, 0, va), BLOCKED);
}

/* ---- what the CPU takes away -------------------------------------------- */

USER_TEST(users, unmap_reaches_the_device,
	  "when an unmap has returned the device does not reach the page (C1, "
	  "B2)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));

	REQUIRE(!mm_unmap(mm, P(0), P(1)));

	fixture_expect_lost(s, P(0), page);
	EXPECT_EQ(fixture_fault(0, P(0), PROT_R), -EFAULT);
	page_put(page);
}

USER_TEST(users, every_page_of_a_range_is_unmapped,
	  "after an unmap the device reaches no page of the range, and reaches "
	  "its neighbours (C5)")
{
	struct mm *mm = fixture_mm(s, 5);

	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < 5; i++)
		REQUIRE(!fixture_store(s, 0, P(i), 'A' + i));
	REQUIRE(!mm_unmap(mm, P(1), P(4)));

	for (unsigned i = 1; i < 4; i++)
		EXPECT_EQ(fixture_read(s, 0, P(i)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_read(s, 0, P(4)), 'E');
}

USER_TEST(
	users, discard_reaches_the_device,
	"after a discard the device reads the new page, not the old one (C78)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));

	REQUIRE(!mm_discard(mm, P(0), P(1)));

	fixture_expect_lost(s, P(0), page);
	REQUIRE(!wr(mm, P(0), 'B'));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	page_put(page);
}

USER_TEST(users, reaper_does_not_wait_for_a_device,
	  "when memory is exhausted a device cannot refuse the reaper, and "
	  "loses the page (C46)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));

	REQUIRE(!mm_reap(mm));

	fixture_expect_lost(s, P(0), page);
	page_put(page);
}

USER_TEST(users, moved_page_is_at_one_address,
	  "after a move the device reaches the page at the new address only "
	  "(C28)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));

	REQUIRE(!mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, NULL));

	EXPECT_EQ(fixture_load(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_load(s, 0, P(8)), 'A');
	REQUIRE(!mm_unmap(mm, P(8), P(9)));
	fixture_expect_lost(s, P(8), page);
	page_put(page);
}

USER_TEST(users, evicted_page_comes_back,
	  "a device does not reach an evicted page, and its fault brings back "
	  "what it wrote (B34, B42, C121)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0));

	fixture_write(s, 0, P(0), 'B');
	REQUIRE(!try_to_unmap(page));
	page_put(page);

	EXPECT_EQ(entry_at(mm, P(0)) & (AMDV1_IR | AMDV1_IW), 0);
	fixture_expect_lost(s, P(0), page);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'B');
}

USER_TEST(users, rights_are_taken_and_given,
	  "a right that is lost or gained takes effect for the device (C13, "
	  "C14, H18)")
{
	struct mm *mm = fixture_warm(s);

	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R));
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(fixture_store(s, 0, P(0), 'X'), (uint64_t)-EFAULT);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	fixture_write(s, 0, P(0), 'X'); /* a read gives no right to write */
	EXPECT_EQ(rd(mm, P(0)), 'A');
	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_NONE));
	EXPECT_EQ(fixture_load(s, 0, P(0)), BLOCKED);
	REQUIRE(!mm_protect(mm, P(0), P(1), RW));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	REQUIRE(!fixture_store(s, 0, P(0), 'C'));
	EXPECT_EQ(rd(mm, P(0)), 'C');
}

/* ---- copy on write ------------------------------------------------------ */

USER_TEST(users, fork_stops_device_writes,
	  "after a fork the device cannot write to a page that parent and "
	  "child share (C24)")
{
	struct mm *mm = fixture_warm(s), *child;

	fixture_write(s, 0, P(0), 'B');
	child = fixture_fork(mm);
	fixture_may_be_refused(s, 0); /* in a mirror it may have come back */
	fixture_write(s, 0, P(0), 'X');

	EXPECT_EQ(rd(child, P(0)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'B');
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	fixture_write(s, 0, P(0), 'X'); /* nor by what it has read */
	EXPECT_EQ(rd(child, P(0)), 'B');
}

USER_TEST(users, copy_reaches_the_device,
	  "after a copy on write by the CPU the device reads the copy (C19)")
{
	struct mm *mm = fixture_warm(s), *child = fixture_fork(mm);

	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	REQUIRE(!wr(mm, P(0), 'B'));

	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'A');
}

USER_TEST(users, device_write_copies,
	  "a device that writes to a shared page gets a copy of its own (C23)")
{
	struct mm *mm = fixture_warm(s), *child = fixture_fork(mm);

	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	REQUIRE(!fixture_store(s, 0, P(0), 'B'));

	EXPECT_EQ(rd(mm, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'A');
}

USER_TEST(users, last_owner_writes_in_place,
	  "the last owner of a shared page gains W without a copy, and the "
	  "device does too (C30)")
{
	struct mm *mm = fixture_warm(s), *child = fixture_fork(mm);

	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A'); /* "read only" is cached */
	fixture_exit(child);
	REQUIRE(!wr(mm, P(0), 'B'));
	REQUIRE(!fixture_store(s, 0, P(0), 'C'));

	EXPECT_EQ(rd(mm, P(0)), 'C');
}

/* ---- dirty -------------------------------------------------------------- */

enum loss {
	EVICTED,
	PROTECTED_AND_EVICTED,
	DISCARDED,
};

/* By a read alone the device has come to write the object's page. */
static void lose_what_it_wrote(struct iommu_fixture *s, enum loss how)
{
	struct object *object = object_create(1);
	struct mm *mm = fixture_mm(s, 1);
	struct page *page;

	REQUIRE(object);
	REQUIRE(!mm_map(mm, P(8), PAGE_SIZE, RW, 0, object, 0, NULL));
	fixture_bind(s, 0, mm);
	REQUIRE(!fixture_fault(0, P(8), PROT_R));
	EXPECT_EQ(entry_at(mm, P(8)) & PTE_D, 0);
	fixture_write(s, 0, P(8), 'A');
	page = page_at(mm, P(8));
	EXPECT_EQ(fixture_word(page), 'A');
	if (how == PROTECTED_AND_EVICTED)
		REQUIRE(!mm_protect(mm, P(8), P(9), PROT_R));
	if (how == DISCARDED)
		REQUIRE(!mm_discard(mm, P(8), P(9)));
	else
		REQUIRE(!try_to_unmap(page));

	EXPECT(page_test(page, PG_DIRTY));
	page_put(page);
	object_put(object);
	fixture_unbind(s, 0);
}

USER_TEST(users, page_a_device_may_write_is_dirty,
	  "a page that a device may write is dirty when it is evicted, "
	  "although no D bit was set (B33, C122)")
{
	for (enum loss how = EVICTED; how <= DISCARDED; how++)
		lose_what_it_wrote(s, how);
}
