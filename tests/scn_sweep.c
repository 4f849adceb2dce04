/* SPDX-License-Identifier: MIT */
/*
 * scn_sweep.c - every allocation of every operation fails once
 *
 * For n = 1, 2, 3, ... the n-th allocation of an operation fails; the operation
 * must say -ENOMEM, leave everything as it was, and succeed when asked again.
 * When no failure was delivered any more, all of its allocations have failed
 * once.  The leak and table oracles look after each test.
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/entry.h"
#include "mm/kmap.h"
#include "tests/world.h"

#define SWEEP_MAX 64

/* One attempt with the n-th failure; returns true when it succeeded. */
typedef int attempt(struct mm *mm);

static void sweep(void (*prepare)(struct mm *mm), attempt *try,
		  unsigned at_least)
{
	unsigned failures = 0;

	for (unsigned n = 1; n < SWEEP_MAX; n++) {
		struct mm *mm = world(8);
		bool delivered;
		int ret;

		for (unsigned i = 0; i < 8; i++)
			wr(mm, P(i), i + 1);
		if (prepare)
			prepare(mm);
		inject_arm(n);
		ret = try(mm);
		delivered = inject_disarm();
		EXPECT(ret == 0 || ret == -ENOMEM);
		EXPECT(delivered || ret == 0);
		for (unsigned i = 0; ret && i < 8; i++)
			EXPECT_EQ(rd(mm, P(i)), i + 1);
		failures += ret != 0;
		if (ret)
			EXPECT_EQ(try(mm), 0);
		mm_put(mm);
		if (!delivered)
			break;
	}
	EXPECT(failures >= at_least);
}

static int try_map(struct mm *mm)
{
	return mm_map(mm, P(100), PAGE_SIZE, RW, 0, NULL, 0, NULL);
}

TEST(sweep, map, "map survives the failure of each of its allocations")
{
	sweep(NULL, try_map, 3);
}

static int try_replace(struct mm *mm)
{
	return mm_map(mm, P(100), 3 * PAGE_SIZE, PROT_R, MAP_REPLACE, NULL, 0,
		      NULL);
}

static void map_100(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(99), 5 * PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
}

TEST(sweep, replace, "so does a mapping that replaces the middle of another")
{
	sweep(map_100, try_replace, 5);
}

static int try_unmap(struct mm *mm)
{
	return mm_unmap(mm, P(20), P(22));
}

static void map_20(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(18), 6 * PAGE_SIZE, PROT_R, 0, NULL, 0, NULL) ==
		0);
}

TEST(sweep, unmap, "so does an unmap that splits")
{
	sweep(map_20, try_unmap, 2);
}

static int try_protect(struct mm *mm)
{
	return mm_protect(mm, P(2), P(5), RW | PROT_X);
}

TEST(sweep, protect, "so does a protect that splits twice")
{
	sweep(NULL, try_protect, 4);
}

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

TEST(sweep, fork, "so does a fork, and the parent stays whole")
{
	sweep(NULL, try_fork, 7);
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

TEST(sweep, fork_pinned, "so does a fork that must copy a pinned page")
{
	sweep(pin_first, try_fork_pinned, 8);
}

static int try_remap(struct mm *mm)
{
	int ret =
		mm_remap(mm, P(2), 3 * PAGE_SIZE, P(3000), 3 * PAGE_SIZE, NULL);

	for (unsigned i = 0; !ret && i < 3; i++)
		EXPECT_EQ(rd(mm, P(3000 + i)), i + 3);
	return ret;
}

TEST(sweep, remap, "so does a move into fresh tables")
{
	sweep(NULL, try_remap, 6);
}

static int try_fault(struct mm *mm)
{
	return mm_fault(mm, P(4000), PROT_W);
}

static void map_4000(struct mm *mm)
{
	REQUIRE(mm_map(mm, P(4000), PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
}

TEST(sweep, fault, "so does a fault that needs tables and a page")
{
	sweep(map_4000, try_fault, 2);
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

TEST(sweep, pin, "so does a pin of three pages: none stays pinned")
{
	sweep(map_4000_3, try_pin, 4);
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

TEST(sweep, copy, "so does a write fault that must copy")
{
	sweep(fork_sibling, try_copy, 1);
}

static int try_pin_shared(struct mm *mm)
{
	struct page *page;
	int ret = pin_pages(mm, P(0), 1, 0, &page);

	if (!ret)
		unpin_pages(&page, 1);
	return with_sibling(ret);
}

TEST(sweep, pin_shared, "so does a pin that must copy first")
{
	sweep(fork_sibling, try_pin_shared, 1);
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

TEST(sweep, shared, "so does a fault on an object without pages and tables")
{
	sweep(map_object, try_shared, 3);
}

static void nothing(void *arg)
{
}

TEST(sweep, thread, "so does a new thread that needs a new stack")
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
	EXPECT_EQ(failures, KSTACK_SIZE / PAGE_SIZE);
	while (had)
		kstack_free(stacks[--had]);
}

TEST(sweep, create, "so do a new space and a new object")
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
