/* SPDX-License-Identifier: MIT */
/*
 * fault.c - what a load or store does to an address space
 */
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/mm/mm_fixture.h"

TEST(fault, fresh_memory_reads_zero,
     "memory that was never written reads as zero")
{
	struct mm *mm = mm_fixture(4);

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i) + 8 * i), 0);
	mm_put(mm);
}

TEST(fault, reads_take_no_frame,
     "a read of untouched memory allocates no frame")
{
	struct mm *mm = mm_fixture(64);
	uint64_t before;

	rd(mm, P(63)); /* the tables */
	before = pmm_free_pages();
	for (unsigned i = 0; i < 63; i++)
		EXPECT_EQ(rd(mm, P(i)), 0);
	EXPECT_EQ(pmm_free_pages(), before);
	EXPECT_EQ(mm->mapped, 0);
	mm_put(mm);
}

TEST(fault, store_is_read_back, "a store is read back, page by page")
{
	struct mm *mm = mm_fixture(100);

	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_EQ(mm->mapped, 100);
	mm_put(mm);
}

TEST(fault, write_after_read_leaves_zero_page,
     "a write to memory that was read first never reaches the zero page")
{
	struct mm *mm = mm_fixture(1);
	const uint64_t *zero = page_va(zero_page);

	EXPECT_EQ(rd(mm, VA), 0);
	EXPECT_EQ(wr(mm, VA + 16, 7), 0);
	EXPECT_EQ(rd(mm, VA + 16), 7);
	EXPECT_EQ(rd(mm, VA), 0);
	EXPECT_EQ(zero[2], 0);
	mm_put(mm);
}

TEST(fault, hole_is_refused, "an access outside every region is refused")
{
	struct mm *mm = mm_fixture(1);

	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT_EQ(wr(mm, P(-1), 1), -EFAULT);
	EXPECT_EQ(rd(mm, 0), BAD);
	EXPECT_EQ(rd(mm, USER_END), BAD);
	EXPECT_EQ(rd(mm, ~UINT64_C(0) - 7), BAD);
	mm_put(mm);
}

TEST(fault, region_rights_hold,
     "a read-only region refuses stores and allows loads")
{
	struct mm *mm = mm_create();

	REQUIRE(mm);
	EXPECT_EQ(mm_map(mm, VA, PAGE_SIZE, PROT_R, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(rd(mm, VA), 0);
	EXPECT_EQ(wr(mm, VA, 1), -EFAULT);
	EXPECT_EQ(rd(mm, VA), 0);
	mm_put(mm);
}

static int load(struct mm *mm)
{
	return rd(mm, VA) == BAD ? -EFAULT : 0;
}

static int store(struct mm *mm)
{
	return wr(mm, VA, 1);
}

static int pin(struct mm *mm, unsigned flags)
{
	struct page *page;
	int ret = pin_pages(mm, VA, 1, flags, &page);

	if (!ret)
		unpin_pages(&page, 1);
	return ret;
}

static int pin_read(struct mm *mm)
{
	return pin(mm, 0);
}

static int pin_write(struct mm *mm)
{
	return pin(mm, PIN_WRITE);
}

TEST(fault, outcome_does_not_depend_on_history,
     "an access and a pin have the same result whether the page is absent, "
     "present or evicted, for all rights of the region")
{
	static int (*const ask[])(struct mm *) = { load, store, pin_read,
						   pin_write };

	for (unsigned prot = 0; prot < 8; prot++)
		for (unsigned i = 0; i < ARRAY_SIZE(ask); i++) {
			struct mm *mm = mm_fixture(1);
			struct page *page;
			int absent, present, evicted;

			EXPECT_EQ(mm_protect(mm, VA, P(1), prot), 0);
			absent = ask[i](mm);
			EXPECT_EQ(mm_protect(mm, VA, P(1), RW), 0);
			EXPECT_EQ(store(mm), 0);
			EXPECT_EQ(mm_protect(mm, VA, P(1), prot), 0);
			present = ask[i](mm);
			page = page_at(mm, VA);
			EXPECT_EQ(try_to_unmap(page), 0);
			page_put(page);
			evicted = ask[i](mm);
			if (absent != present || present != evicted)
				test_fail(__FILE__, __LINE__,
					  "question %u, rights %u: %d absent, "
					  "%d present, %d evicted",
					  i, prot, absent, present, evicted);
			mm_put(mm);
		}
}

TEST(fault, unbound_thread_has_no_memory,
     "a thread without an address space reaches no user memory")
{
	struct mm *mm = mm_fixture(1);

	EXPECT_EQ(wr(mm, VA, 1), 0);
	EXPECT_EQ(rd(NULL, VA), BAD);
	mm_put(mm);
}

TEST(fault, two_address_spaces_are_separate,
     "the same address in two address spaces is two pages")
{
	struct mm *a = mm_fixture(1), *b = mm_fixture(1);

	wr(a, VA, 1);
	wr(b, VA, 2);
	EXPECT_EQ(rd(a, VA), 1);
	EXPECT_EQ(rd(b, VA), 2);
	mm_bind(a); /* and from one to the other at once */
	mm_bind(b);
	EXPECT_EQ(rd(b, VA), 2);
	mm_bind(NULL);
	mm_put(a);
	EXPECT_EQ(rd(b, VA), 2);
	mm_put(b);
}

TEST(fault, shared_object_is_one_memory,
     "an object that is mapped twice is one memory, and outlives its mappings")
{
	struct object *o = object_create(8);
	struct mm *a, *b;

	REQUIRE(o);
	a = mm_fixture_shared(o, 8);
	b = mm_fixture_shared(o, 8);
	wr(a, P(3), 33);
	EXPECT_EQ(rd(b, P(3)), 33);
	wr(b, P(3), 34);
	EXPECT_EQ(rd(a, P(3)), 34);
	mm_put(a);
	mm_put(b);
	a = mm_fixture_shared(o, 8);
	EXPECT_EQ(rd(a, P(3)), 34);
	mm_put(a);
	object_put(o);
}

struct hammer {
	struct mm *mm;
	unsigned first, step;
	unsigned bad;
	_Atomic unsigned *ready;
};

#define APART(i) P(512u * (i)) /* each needs a leaf table of its own */

static void hammer_pages(void *arg)
{
	struct hammer *h = arg;

	atomic_fetch_add(h->ready, 1);
	while (atomic_load(h->ready) < h->step)
		yield();
	for (unsigned i = h->first; i < 256; i += h->step) {
		wr(h->mm, APART(i), i + 1000);
		h->bad += rd(h->mm, APART(i)) != i + 1000;
	}
}

TEST_SMP(fault, parallel_first_touch,
	 "CPUs that fault pages and tables of one address space in at once "
	 "lose no store",
	 2)
{
	struct mm *mm = mm_fixture(256 * 512);
	_Atomic unsigned ready = 0;
	struct thread *t[4];
	struct hammer h[4];

	for (unsigned i = 0; i < 4; i++) {
		h[i] = (struct hammer){ mm, i, 4, 0, &ready };
		t[i] = thread_create("hammer", hammer_pages, &h[i]);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		thread_join(t[i]);
		EXPECT_EQ(h[i].bad, 0);
	}
	for (unsigned i = 0; i < 256; i++)
		EXPECT_EQ(rd(mm, APART(i)), i + 1000);
	EXPECT_EQ(mm->mapped, 256);
	mm_put(mm);
}

static void same_page(void *arg)
{
	struct hammer *h = arg;

	/* All at once, or the first has faulted before the next is there. */
	atomic_fetch_add(h->ready, 1);
	while (atomic_load(h->ready) < h->step)
		yield();
	wr(h->mm, P(0) + 8 * h->first, h->first + 1);
}

TEST(fault, threads_that_fault_one_page_get_one_page,
     "threads that fault the same page get one page and lose no store (B44)")
{
	for (unsigned round = 0; round < 100; round++) {
		struct mm *mm = mm_fixture(1);
		_Atomic unsigned ready = 0;
		struct thread *t[8];
		struct hammer h[8];

		for (unsigned i = 0; i < 8; i++) {
			h[i] = (struct hammer){ mm, i, 8, 0, &ready };
			t[i] = thread_create("same", same_page, &h[i]);
			REQUIRE(t[i]);
		}
		for (unsigned i = 0; i < 8; i++)
			thread_join(t[i]);
		for (unsigned i = 0; i < 8; i++)
			EXPECT_EQ(rd(mm, P(0) + 8 * i), i + 1);
		EXPECT_EQ(mm->mapped, 1);
		mm_put(mm);
	}
}
