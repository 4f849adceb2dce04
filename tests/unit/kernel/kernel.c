/* SPDX-License-Identifier: MIT */
/*
 * kernel.c - strings, printing, the interval tree, probes, injection
 */
#include "arch/bits.h"
#include "arch/cpu.h"
#include "kernel/inject.h"
#include "kernel/itree.h"
#include "kernel/ksym.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/fixture/mm/sync_point.h"

#define EXPECT_PRINTS(want, ...)                                             \
	do {                                                                 \
		char buf_[80];                                               \
		snprintk(buf_, sizeof(buf_), __VA_ARGS__);                   \
		if (strcmp(buf_, want))                                      \
			test_fail(__FILE__, __LINE__, "got `%s`, want `%s`", \
				  buf_, want);                               \
	} while (0)

TEST(printf, numbers, "numbers are printed as ISO C says")
{
	EXPECT_PRINTS("-1 1 4294967295", "%d %u %u", -1, 1u, -1);
	EXPECT_PRINTS("ff FF 0xff", "%x %X %#x", 255, 255, 255);
	EXPECT_PRINTS("-9223372036854775808", "%ld", INT64_MIN);
	EXPECT_PRINTS("18446744073709551615", "%lu", UINT64_MAX);
	EXPECT_PRINTS("0", "%zu", (size_t)0);
}

TEST(printf, fields, "width, zeros and left alignment are honoured")
{
	EXPECT_PRINTS("   42|42   |00042|-0042", "%5d|%-5d|%05d|%05d", 42, 42,
		      42, -42);
	EXPECT_PRINTS("  ab|ab  |ab", "%4s|%-4s|%.*s", "ab", "ab", 2, "abc");
	EXPECT_PRINTS("ab|  ab|ab|", "%.2s|%4.2s|%.12s|%.s", "abc", "abc", "ab",
		      "abc");
	EXPECT_PRINTS("c%", "%c%%", 'c');
}

TEST(printf, cut_off,
     "a short buffer is filled and terminated, and the full length is returned")
{
	char buf[8];

	memset(buf, 'x', sizeof(buf));
	EXPECT_EQ(snprintk(buf, 4, "%s", "abcdef"), 6);
	EXPECT_EQ(strcmp(buf, "abc"), 0);
	EXPECT_EQ(buf[4], 'x');
	EXPECT_EQ(snprintk(buf, 0, "abc"), 3);
}

TEST(string, moves, "memory moves forwards and backwards by any length")
{
	char a[64], b[64];

	for (unsigned n = 0; n < 40; n++) {
		for (unsigned i = 0; i < 64; i++)
			a[i] = b[i] = (char)i;
		memmove(a + 3, a, n);
		for (unsigned i = 0; i < n; i++)
			EXPECT_EQ(a[3 + i], b[i]);
		memcpy(a, b, 64);
		memmove(a, a + 5, n);
		for (unsigned i = 0; i < n; i++)
			EXPECT_EQ(a[i], b[5 + i]);
		memset(a, 7, n);
		EXPECT_EQ(n ? a[n - 1] : 7, 7);
		memcpy(a, b, 64);
	}
}

TEST(string, globs_and_typos,
     "globs match names, and the nearest name to a typo is found")
{
	EXPECT(glob_match("suite.*", "suite.fork_bomb"));
	EXPECT(glob_match("*bomb", "suite.fork_bomb"));
	EXPECT(glob_match("s*f*b", "suite.fork_bomb"));
	EXPECT(!glob_match("suite", "suite.fork_bomb"));
	EXPECT(!glob_match("*.x", "suite.fork_bomb"));
	EXPECT_EQ(edit_distance("merge", "merge"), 0);
	EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
	EXPECT_EQ(edit_distance("", "abc"), 3);
}

#define NODES 200

static struct itree_node nodes[NODES];
static bool in_tree[NODES];

static unsigned brute(uint64_t start, uint64_t last)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NODES; i++)
		n += in_tree[i] && nodes[i].start <= last &&
		     nodes[i].last >= start;
	return n;
}

static unsigned search(struct itree *tree, uint64_t start, uint64_t last)
{
	struct itree_node *node;
	uint64_t before = 0;
	unsigned n = 0;

	itree_for_each (node, tree, start, last) {
		EXPECT(node->start >= before);
		before = node->start;
		n++;
	}
	return n;
}

TEST(itree, finds_what_overlaps,
     "20,000 random changes and searches of the interval tree agree with a "
     "list")
{
	struct rng rng = rng_seed(test_seed());
	struct itree tree;

	itree_init(&tree);
	memset(in_tree, 0, sizeof(in_tree));
	for (unsigned k = 0; k < 20000; k++) {
		unsigned i = (unsigned)rng_below(&rng, NODES);
		uint64_t a = rng_below(&rng, 1000), b = rng_below(&rng, 60);

		if (in_tree[i] && b % 3) {
			itree_change(&tree, &nodes[i], a, a + b);
			in_tree[i] = false; /* turned back below */
		} else if (in_tree[i]) {
			itree_remove(&tree, &nodes[i]);
		} else {
			nodes[i].start = a;
			nodes[i].last = a + b;
			itree_insert(&tree, &nodes[i]);
		}
		in_tree[i] = !in_tree[i];
		a = rng_below(&rng, 1000);
		EXPECT_EQ(search(&tree, a, a + b), brute(a, a + b));
	}
}

TEST(itree, ends_belong, "both ends of an interval belong to it")
{
	struct itree_node a = { .start = 10, .last = 20 };
	struct itree tree;

	itree_init(&tree);
	itree_insert(&tree, &a);
	EXPECT(itree_first(&tree, 20, 30) == &a);
	EXPECT(itree_first(&tree, 0, 10) == &a);
	EXPECT(!itree_first(&tree, 21, 30));
	EXPECT(!itree_first(&tree, 0, 9));
	itree_remove(&tree, &a);
	EXPECT(itree_empty(&tree));
}

static void count_hit(uint64_t a, uint64_t b, void *arg)
{
	unsigned *hits = arg;

	if (a == 5)
		*hits += (unsigned)b;
}

TEST(probe, hook_runs_at_the_probe,
     "a hook runs at its probe, in the middle of the function")
{
	unsigned hits = 0;

	probes_begin();
	EXPECT_EQ(probe_hook("unit_probe", count_hit, &hits), 1);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(hits, i);
		PROBE(unit_probe, 5, 1);
	}
	probe_hook("unit_probe", NULL, NULL);
	EXPECT_EQ(hits, 3);
	EXPECT_EQ(probe_hook("no_such_probe", count_hit, NULL), 0);
}

TEST(probe, ring_keeps_order, "probe hits are returned in order of time")
{
	static struct probe_hit hits[64];
	uint64_t since = probes_begin(), key = since | 1;
	size_t n;

	for (unsigned i = 0; i < 20; i++)
		PROBE(unit_order, key, i);
	n = probe_collect(hits, 64, since, key);
	EXPECT_EQ(n, 20);
	for (size_t i = 0; i < n; i++)
		EXPECT_EQ(hits[i].b, i);
}

#define HITS 20

static _Atomic unsigned turn;

/* Two CPUs hit in turn, so the order between them is known. */
static void hit_in_turn(void *arg)
{
	unsigned me = cpu_id();

	for (unsigned i = me; i < HITS; i += 2) {
		while (atomic_load(&turn) != i)
			cpu_pause();
		PROBE(unit_turn, arg, i);
		atomic_store(&turn, i + 1);
	}
}

TEST_SMP(probe, rings_merge,
	 "the probe hits of several CPUs are returned in "
	 "one order",
	 2)
{
	static struct probe_hit hits[64];
	uint64_t since = probes_begin(), key = since | 1;
	struct thread *t[2];
	size_t n;

	atomic_store(&turn, 0);
	for (unsigned i = 0; i < 2; i++) {
		t[i] = thread_create_on(BIT(i), "hits", hit_in_turn,
					(void *)key);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		thread_join(t[i]);
	n = probe_collect(hits, 64, since, key);
	EXPECT_EQ(n, HITS);
	for (size_t i = 0; i < n; i++)
		EXPECT_EQ(hits[i].b, i);
}

TEST(inject, nth_fails_once, "exactly the n-th request is made to fail")
{
	inject_arm(3);
	EXPECT(!inject_should_fail());
	EXPECT(!inject_should_fail());
	EXPECT(inject_should_fail());
	EXPECT(!inject_should_fail());
	EXPECT(inject_disarm());
	inject_arm(2);
	EXPECT(!inject_should_fail());
	EXPECT(!inject_disarm());
	EXPECT(!inject_should_fail());
}

TEST(ksym, names_own_code, "an address in a function has the function's name")
{
	uint64_t offset, size;

	EXPECT_EQ(strcmp(ksym_find((uint64_t)snprintk + 3, &offset, &size),
			 "snprintk"),
		  0);
	EXPECT_EQ(offset, 3);
	EXPECT(size > 3 && size < 4096);
	EXPECT_EQ(strcmp(ksym_find(1, &offset, &size), "?"), 0);
}
