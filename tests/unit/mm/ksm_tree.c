/* SPDX-License-Identifier: MIT */
/*
 * ksm_tree.c - the treap against an array: order, depth, removal
 */
#include "kernel/rand.h"
#include "mm/frame/pmm.h"
#include "mm/ksm/ksm_tree.h"
#include "tests/base/test.h"

#define ORDER 7 /* 2^7 frames */
#define NODES ((unsigned)((PAGE_SIZE << ORDER) / sizeof(struct ktree_node)))

static struct ktree_node *nodes_get(struct page **frames)
{
	*frames = pages_alloc(ORDER);
	REQUIRE(*frames);
	return page_va(*frames);
}

/* ktree_compare: by word, as pages are compared by content. */
static int by_word(struct ktree_node *node, void *arg)
{
	uint32_t word = *(uint32_t *)arg;

	return word < node->word ? -1 : word > node->word;
}

static struct ktree_node *find(struct ktree *tree, uint32_t sum, uint32_t word,
			       struct ktree_place *place)
{
	return ktree_find(tree, sum, by_word, &word, place);
}

static void add(struct ktree *tree, struct ktree_node *n, uint32_t sum,
		uint32_t word)
{
	struct ktree_place place;

	n->sum = sum;
	n->word = word;
	EXPECT(!find(tree, sum, word, &place));
	ktree_insert(tree, n, &place);
}

/* Counts the nodes.  Fails the test if they are out of order. */
static unsigned count(struct ktree *tree)
{
	struct ktree_node *last = NULL;
	unsigned n = 0;

	for (struct ktree_node *i = ktree_first(tree); i; i = ktree_next(i)) {
		if (last)
			EXPECT(last->sum < i->sum ||
			       (last->sum == i->sum && last->word < i->word));
		last = i;
		n++;
	}
	return n;
}

TEST(ksm_tree, any_order_stays_shallow,
     "16,384 nodes inserted in rising order are at most 64 deep, and all in "
     "order")
{
	struct ktree tree = { NULL };
	struct page *frames;
	struct ktree_node *node = nodes_get(&frames);
	unsigned depth = 0;

	for (unsigned i = 0; i < NODES; i++)
		add(&tree, &node[i], i / 4, i % 4);
	EXPECT_STR_NULL(ktree_check(&tree, &depth));
	EXPECT(depth >= 15 && depth <= 64);
	EXPECT_EQ(count(&tree), NODES);
	page_put(frames);
}

TEST(ksm_tree, finds_what_is_there,
     "a search finds a node by its checksum and content, and no other node")
{
	struct ktree tree = { NULL };
	struct ktree_place place;
	struct page *frames;
	struct ktree_node *node = nodes_get(&frames);

	for (unsigned i = 0; i < 1000; i++)
		add(&tree, &node[i], i * 7919 % 1000 / 10 * 10, i * 7919 % 10);
	for (unsigned i = 0; i < 1000; i++)
		EXPECT(find(&tree, node[i].sum, node[i].word, &place) ==
		       &node[i]);
	EXPECT(ktree_has(&tree, 10));
	EXPECT(ktree_has(&tree, 990));
	EXPECT(!ktree_has(&tree, 11));
	EXPECT(!find(&tree, 10, 10, &place));
	EXPECT(!find(&tree, 11, 1, &place));
	page_put(frames);
}

TEST(ksm_tree, random_removals_keep_order,
     "after 100,000 random insertions and removals the tree holds what an "
     "array says")
{
	static bool in[2048];
	struct ktree tree = { NULL };
	struct page *frames;
	struct ktree_node *node = nodes_get(&frames);
	struct rng r = rng_seed(test_seed());
	unsigned n = 0;

	for (unsigned i = 0; i < 2048; i++)
		in[i] = false;
	for (unsigned i = 0; i < 100000; i++) {
		unsigned k = rng_below(&r, 2048);

		if (in[k])
			ktree_remove(&tree, &node[k]);
		else
			add(&tree, &node[k], rng_below(&r, 64), k);
		in[k] = !in[k];
		n += in[k] ? 1 : -1u;
		if (i % 4096 == 0)
			EXPECT_STR_NULL(ktree_check(&tree, NULL));
	}
	EXPECT_EQ(count(&tree), n);
	for (unsigned k = 0; k < 2048; k++)
		if (in[k])
			ktree_remove(&tree, &node[k]);
	EXPECT(!tree.root);
	page_put(frames);
}

TEST(ksm_tree, check_sees_disorder,
     "ktree_check() finds a node out of place and a wrong pointer")
{
	struct ktree tree = { NULL };
	struct page *frames;
	struct ktree_node *node = nodes_get(&frames), *root;

	for (unsigned i = 0; i < 100; i++)
		add(&tree, &node[i], i, 0);
	root = tree.root;
	root->sum += 1000;
	EXPECT(ktree_check(&tree, NULL));
	root->sum -= 1000;
	EXPECT_STR_NULL(ktree_check(&tree, NULL));
	root->parent = root;
	EXPECT(ktree_check(&tree, NULL));
	page_put(frames);
}
