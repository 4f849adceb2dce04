/* SPDX-License-Identifier: MIT */
/*
 * fuzz_itree.c - kernel/itree.c against a sorted list
 *
 * After every change the whole tree is checked (order, colours, max_last), and
 * searches must return exactly the nodes that a scan of the list returns, in
 * the same order.  A removed node is freed, so that the sanitizer sees any
 * later use.
 */
#include <stdarg.h>
#include <stdbool.h>
#include "kernel/itree.h"
#include "kernel/panic.h"
#include "tests/host/host.h"

#define NODES 400

static struct itree tree;
static struct itree_node *list[NODES]; /* as the tree should be ordered */
static unsigned n_list;

void panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf(": seed %" PRIu64 " round %u\n", host_seed, host_round);
	exit(1);
}

/* ---- the tree by its definition ---------------------------------------- */

static unsigned seen; /* nodes visited in order */

/* Returns the number of black nodes on every way down. */
static unsigned check_subtree(const struct itree_node *node,
			      const struct itree_node *parent)
{
	const struct itree_node *l, *r;
	uint64_t max;
	unsigned black;
	bool red;

	if (!node)
		return 0;
	l = RB_LEFT(node, link);
	r = RB_RIGHT(node, link);
	red = RB_COLOR(node, link) == RB_RED;
	CHECK(RB_PARENT(node, link) == parent, "a wrong parent");
	CHECK(!red || (parent && RB_COLOR(parent, link) != RB_RED),
	      "red under red");
	black = check_subtree(l, node);
	CHECK(seen < n_list && list[seen] == node, "node %u of %u", seen,
	      n_list);
	seen++;
	CHECK(check_subtree(r, node) == black, "black heights differ");
	max = node->last;
	if (l && l->max_last > max)
		max = l->max_last;
	if (r && r->max_last > max)
		max = r->max_last;
	CHECK(node->max_last == max,
	      "max_last of %" PRIu64 "..%" PRIu64 ": %" PRIu64
	      ", should be %" PRIu64,
	      node->start, node->last, node->max_last, max);
	return black + !red;
}

static void check_tree(void)
{
	seen = 0;
	check_subtree(RB_ROOT(&tree.root), NULL);
	CHECK(seen == n_list, "%u nodes, should be %u", seen, n_list);
	CHECK(itree_empty(&tree) == !n_list, "%u nodes", n_list);
}

static void check_search(uint64_t start, uint64_t last)
{
	struct itree_node *node;
	unsigned i = 0;

	itree_for_each (node, &tree, start, last) {
		while (i < n_list &&
		       (list[i]->start > last || list[i]->last < start))
			i++;
		CHECK(i < n_list && list[i] == node,
		      "%" PRIu64 "..%" PRIu64 ": %s", start, last,
		      i < n_list ? "another node" : "a node too much");
		i++;
	}
	for (; i < n_list; i++)
		CHECK(list[i]->start > last || list[i]->last < start,
		      "%" PRIu64 "..%" PRIu64 ": misses node %u", start, last,
		      i);
}

/* ---- changes ----------------------------------------------------------- */

static void insert(uint64_t start, uint64_t last)
{
	struct itree_node *node = malloc(sizeof(*node));
	unsigned at;

	*node = (struct itree_node){ .start = start, .last = last };
	itree_insert(&tree, node);
	/* Nodes of equal start keep their order of insertion. */
	for (at = n_list++; at && start < list[at - 1]->start; at--)
		list[at] = list[at - 1];
	list[at] = node;
}

/* Moves the node in the list only if a neighbour stands in its way: then it is inserted
 * again, behind those of equal start. */
static void change(unsigned at, uint64_t start, uint64_t last)
{
	struct itree_node *node = list[at];

	itree_change(&tree, node, start, last);
	CHECK(node->start == start && node->last == last,
	      "an interval is not what it was changed to");
	if ((!at || list[at - 1]->start <= start) &&
	    (at + 1 == n_list || list[at + 1]->start >= start))
		return;
	for (; at + 1 < n_list; at++)
		list[at] = list[at + 1];
	for (; at && start < list[at - 1]->start; at--)
		list[at] = list[at - 1];
	list[at] = node;
}

static void take_out(unsigned at)
{
	itree_remove(&tree, list[at]);
	free(list[at]);
	for (n_list--; at < n_list; at++)
		list[at] = list[at + 1];
}

/* Small and close together, anywhere, or at the very ends of all numbers. */
static void random_range(uint64_t span, uint64_t *start, uint64_t *last)
{
	uint64_t length = below(4) ? below(span / 8 + 1) : below(span);

	switch (below(8)) {
	case 0:
		*start = 0;
		break;
	case 1:
		*start = UINT64_MAX - length;
		break;
	case 2:
		*start = rng_next(&host_rng);
		break;
	default:
		*start = below(span);
	}
	*last = *start + length < *start ? UINT64_MAX : *start + length;
}

/* Three in four changes lead to a target size, which changes now and then. */
static void random_trees(unsigned rounds, unsigned size, uint64_t span)
{
	uint64_t start, last;
	unsigned aim = 0, most = 0;

	for (host_round = 0; host_round < rounds; host_round++) {
		if (host_round % (4 * size) == 0)
			aim = (unsigned)below(size + 1);
		random_range(span, &start, &last);
		if (n_list && (n_list < aim ? !below(4) : below(4)))
			take_out((unsigned)below(n_list));
		else if (n_list < size)
			insert(start, last);
		most = n_list > most ? n_list : most;
		if (n_list && !below(3))
			change((unsigned)below(n_list), start, last);
		check_tree();
		for (unsigned i = 0; i < 4; i++) {
			random_range(span, &start, &last);
			check_search(start, last);
		}
	}
	while (n_list)
		take_out((unsigned)below(n_list));
	check_tree();
	CHECK(most > size / 2, "it never had more than %u nodes", most);
	printf("ok itree: %u changes of up to %u nodes\n", rounds, most);
}

/* Test every order of insertion and removal of five intervals, all searches. */
#define FEW 5

static void every_search(void)
{
	check_tree();
	for (uint64_t start = 0; start <= 5; start++)
		for (uint64_t last = start; last <= 5; last++)
			check_search(start, last);
}

static void small_trees(void)
{
	static const uint64_t ranges[FEW][2] = {
		{ 1, 1 }, { 1, 4 }, { 2, 3 }, { 3, 3 }, { 4, 4 }
	};

	for (host_round = 0; host_round < 120 * 120; host_round++) {
		unsigned code = host_round, taken = 0;

		for (unsigned n = FEW; n; code /= n--) {
			unsigned i = 0;

			for (unsigned skip = code % n; skip || taken >> i & 1;)
				skip -= !(taken >> i++ & 1);
			taken |= 1u << i;
			insert(ranges[i][0], ranges[i][1]);
		}
		for (unsigned n = FEW; n; code /= n--) {
			every_search();
			take_out(code % n);
		}
	}
	printf("ok itree: every order of %u\n", FEW);
}

int main(int argc, char **argv)
{
	host_begin(argc, argv);
	itree_init(&tree);
	small_trees();
	random_trees(300000, 6, 8);
	random_trees(200000, 40, 100);
	random_trees(100000, NODES, 10000);
	return 0;
}
