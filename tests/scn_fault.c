/* SPDX-License-Identifier: MIT */
/*
 * scn_fault.c - what a load or store does to an address space
 */
#include "kernel/err.h"
#include "mm/pmm.h"
#include "tests/world.h"

TEST(fault, fresh_memory_reads_zero, "memory never written reads as zero")
{
	struct mm *mm = world(4);

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i) + 8 * i), 0);
	mm_put(mm);
}

TEST(fault, reads_take_no_frame, "reading untouched memory takes no frame")
{
	struct mm *mm = world(64);
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
	struct mm *mm = world(100);

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
	struct mm *mm = world(1);
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
	struct mm *mm = world(1);

	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT_EQ(wr(mm, P(-1), 1), -EFAULT);
	EXPECT_EQ(rd(mm, 0), BAD);
	EXPECT_EQ(rd(mm, USER_END), BAD);
	EXPECT_EQ(rd(mm, ~UINT64_C(0) - 7), BAD);
	mm_put(mm);
}

TEST(fault, region_rights_hold, "a read-only region refuses stores only")
{
	struct mm *mm = mm_create();

	REQUIRE(mm);
	EXPECT_EQ(mm_map(mm, VA, PAGE_SIZE, PROT_R, 0, NULL, 0, NULL), 0);
	EXPECT_EQ(rd(mm, VA), 0);
	EXPECT_EQ(wr(mm, VA, 1), -EFAULT);
	EXPECT_EQ(rd(mm, VA), 0);
	mm_put(mm);
}

TEST(fault, unbound_thread_has_no_memory,
     "a thread without an address space reaches none")
{
	struct mm *mm = world(1);

	EXPECT_EQ(wr(mm, VA, 1), 0);
	EXPECT_EQ(rd(NULL, VA), BAD);
	mm_put(mm);
}

TEST(fault, two_spaces_are_apart, "the same address in two spaces is two pages")
{
	struct mm *a = world(1), *b = world(1);

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
     "an object mapped twice is one memory, and outlives its mappings")
{
	struct object *o = object_create(8);
	struct mm *a, *b;

	REQUIRE(o);
	a = world_shared(o, 8);
	b = world_shared(o, 8);
	wr(a, P(3), 33);
	EXPECT_EQ(rd(b, P(3)), 33);
	wr(b, P(3), 34);
	EXPECT_EQ(rd(a, P(3)), 34);
	mm_put(a);
	mm_put(b);
	a = world_shared(o, 8);
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

#define APART(i) P((i)*512u) /* each needs a leaf table of its own */

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
	 "CPUs fault one space in at once, pages and tables", 2)
{
	struct mm *mm = world(256 * 512);
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

TEST(fault, one_page_for_all_who_fault_it,
     "threads that fault the same page get one page and lose no store (B44)")
{
	for (unsigned round = 0; round < 100; round++) {
		struct mm *mm = world(1);
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
