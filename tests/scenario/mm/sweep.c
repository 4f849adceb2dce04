/* SPDX-License-Identifier: MIT */
/*
 * sweep.c - operations on contents when allocations fail (tests/fixture/mm/sweep.h)
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/core/entry.h"
#include "mm/kernel/kmap.h"
#include "tests/fixture/mm/sweep.h"

static int try_fork(struct mm *mm)
{
	struct mm *child;
	int ret = mm_fork(mm, &child);

	if (ret)
		return ret;
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(child, P(i)), i + 1);
	mm_put(child);
	return 0;
}

TEST(sweep, fork,
     "a fork survives the failure of each of its allocations, and the parent "
     "stays whole")
{
	sweep(NULL, try_fork, SNAP_CONTENTS, 7);
}

static struct page *pinned;

static void pin_first(struct mm *mm)
{
	REQUIRE(pin_pages(mm, P(0), 1, PIN_WRITE, &pinned) == 0);
}

static int try_fork_pinned(struct mm *mm)
{
	int ret = try_fork(mm);

	if (!ret)
		unpin_pages(&pinned, 1);
	return ret;
}

TEST(sweep, fork_pinned,
     "a fork that must copy a pinned page survives the failure of each of its "
     "allocations")
{
	sweep(pin_first, try_fork_pinned, SNAP_CONTENTS, 8);
}

static int try_fault(struct mm *mm)
{
	return mm_fault(mm, P(4000), PROT_W);
}

static void map_4000(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(4000), PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
}

TEST(sweep, fault,
     "a fault that needs tables and a page survives the failure of each of its "
     "allocations")
{
	sweep(map_4000, try_fault, SNAP_CONTENTS, 2);
}

static int try_pin(struct mm *mm)
{
	struct page *pages[3];
	int ret = pin_pages(mm, P(4000), 3, PIN_WRITE, pages);

	if (!ret)
		unpin_pages(pages, 3);
	return ret;
}

static void map_4000_3(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(4000), 3 * PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
}

TEST(sweep, pin,
     "a pin of three pages survives the failure of each of its allocations, "
     "and leaves no page pinned")
{
	sweep(map_4000_3, try_pin, SNAP_CONTENTS, 4);
}

static struct mm *sibling;

static void fork_sibling(struct mm *mm)
{
	sibling = fork_of(mm);
}

/* Whatever failed, the other side still has what it had. */
static int with_sibling(int ret)
{
	EXPECT_EQ(rd(sibling, P(0)), 1);
	if (!ret)
		mm_put(sibling);
	return ret;
}

static int try_copy(struct mm *mm)
{
	return with_sibling(mm_fault(mm, P(0), PROT_W));
}

TEST(sweep, copy,
     "a write fault that must copy survives the failure of each of its "
     "allocations")
{
	sweep(fork_sibling, try_copy, SNAP_CONTENTS, 1);
}

static int try_pin_shared(struct mm *mm)
{
	struct page *page;
	int ret = pin_pages(mm, P(0), 1, 0, &page);

	if (!ret)
		unpin_pages(&page, 1);
	return with_sibling(ret);
}

TEST(sweep, pin_shared,
     "a pin that must copy a shared page survives the failure of each of its "
     "allocations")
{
	sweep(fork_sibling, try_pin_shared, SNAP_CONTENTS, 1);
}

static void map_object(struct mm *mm)
{
	struct object *o = object_create(2);

	REQUIRE(o);
	REQUIRE(mm_map(mm, P(4000), 2 * PAGE_SIZE, RW, 0, o, 0, NULL) == 0);
	object_put(o);
}

static int try_shared(struct mm *mm)
{
	int ret = mm_fault(mm, P(4001), PROT_W);

	if (!ret)
		EXPECT_EQ(rd(mm, P(4001)), 0);
	return ret;
}

TEST(sweep, shared,
     "a fault on an object without pages and tables survives the failure of "
     "each of its allocations")
{
	sweep(map_object, try_shared, SNAP_CONTENTS, 3);
}

static void nothing(void *arg)
{
}

TEST(sweep, thread,
     "the creation of a thread with a new stack survives the failure of each "
     "of its allocations")
{
	static void *stacks[MAX_CPUS * 64];
	unsigned had = 0, failures = 0;
	struct thread *t = NULL;

	while (kstack_cached_pages() && had < ARRAY_SIZE(stacks))
		stacks[had++] = kstack_alloc();
	for (unsigned n = 1; !t && n < SWEEP_MAX; n++) {
		inject_arm(n);
		t = thread_create("sweep", nothing, NULL);
		EXPECT(!t == inject_disarm());
		failures += !t;
	}
	REQUIRE(t);
	thread_join(t);
	EXPECT_EQ(failures, 1 + KSTACK_SIZE / PAGE_SIZE);
	while (had)
		kstack_free(stacks[--had]);
}

TEST(sweep, create,
     "the creation of an address space and of an object survive the failure of "
     "each of their allocations")
{
	for (unsigned n = 1; n < 4; n++) {
		struct mm *mm;
		struct object *o;

		inject_arm(n);
		mm = mm_create();
		EXPECT(!!mm == !inject_disarm());
		if (mm)
			mm_put(mm);
		inject_arm(n);
		o = object_create(4);
		EXPECT(!!o == !inject_disarm());
		if (o)
			object_put(o);
	}
}
