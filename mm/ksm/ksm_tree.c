/* SPDX-License-Identifier: MIT */
/*
 * ksm_tree.c - a treap: new nodes rise by their priority, old ones sink
 *
 * Both steps are rotations, which keep the order of keys: two on average,
 * whatever the size.
 */
#include "mm/ksm/ksm_tree.h"
#include "kernel/panic.h"

/* Hashes the address (Fibonacci hashing): the upper bits of the product depend on all
 * of it, and no two nodes have the same. */
static uint64_t priority(const struct ktree_node *node)
{
	return (uint64_t)(uintptr_t)node * UINT64_C(0x9e3779b97f4a7c15);
}

/* Returns which child of its parent node is. */
static unsigned side_of(const struct ktree_node *node)
{
	return node->parent->child[1] == node;
}

/* Returns the pointer that leads to node. */
static struct ktree_node **link_to(struct ktree *tree, struct ktree_node *node)
{
	return node->parent ? &node->parent->child[side_of(node)] : &tree->root;
}

/* Rotates: node and its parent change places. */
static void rise(struct ktree *tree, struct ktree_node *node)
{
	struct ktree_node *parent = node->parent;
	unsigned side = side_of(node);
	struct ktree_node *inner = node->child[!side];

	*link_to(tree, parent) = node;
	node->parent = parent->parent;
	node->child[!side] = parent;
	parent->parent = node;
	parent->child[side] = inner;
	if (inner)
		inner->parent = parent;
}

bool ktree_has(const struct ktree *tree, uint32_t sum)
{
	const struct ktree_node *node = tree->root;

	while (node && node->sum != sum)
		node = node->child[sum > node->sum];
	return node;
}

/* Returns whether the place is free and on the right side of its parent. */
static bool place_fits(const struct ktree *tree, const struct ktree_node *node,
		       const struct ktree_place *place)
{
	const struct ktree_node *parent = place->parent;

	if (!parent)
		return !tree->root;
	if (parent->child[place->side])
		return false;
	return place->side ? node->sum >= parent->sum
			   : node->sum <= parent->sum;
}

void ktree_insert(struct ktree *tree, struct ktree_node *node,
		  const struct ktree_place *place)
{
	uint64_t own = priority(node);

	require(place_fits(tree, node, place));
	node->child[0] = node->child[1] = NULL;
	node->parent = place->parent;
	if (place->parent)
		place->parent->child[place->side] = node;
	else
		tree->root = node;
	while (node->parent && priority(node->parent) < own)
		rise(tree, node);
}

void ktree_remove(struct ktree *tree, struct ktree_node *node)
{
	struct ktree_node *below;

	require(*link_to(tree, node) == node);
	while (node->child[0] && node->child[1])
		rise(tree, node->child[priority(node->child[1]) >
				       priority(node->child[0])]);
	below = node->child[!node->child[0]];
	*link_to(tree, node) = below;
	if (below)
		below->parent = node->parent;
}

static struct ktree_node *lowest(struct ktree_node *node)
{
	while (node && node->child[0])
		node = node->child[0];
	return node;
}

struct ktree_node *ktree_first(const struct ktree *tree)
{
	return lowest(tree->root);
}

struct ktree_node *ktree_next(struct ktree_node *node)
{
	if (node->child[1])
		return lowest(node->child[1]);
	while (node->parent && side_of(node))
		node = node->parent;
	return node->parent;
}

static unsigned depth_of(const struct ktree_node *node)
{
	unsigned depth = 0;

	for (; node; node = node->parent)
		depth++;
	return depth;
}

const char *ktree_check(const struct ktree *tree, unsigned *depth)
{
	struct ktree_node *last = NULL;
	unsigned deepest = 0;

	if (tree->root && tree->root->parent)
		return "the root has a parent";
	for (struct ktree_node *n = ktree_first(tree); n; n = ktree_next(n)) {
		for (unsigned side = 0; side < 2; side++)
			if (n->child[side] && n->child[side]->parent != n)
				return "a child has another parent";
		if (n->parent && priority(n->parent) < priority(n))
			return "a node lies below one of lower priority";
		if (last && last->sum > n->sum)
			return "checksums are out of order";
		last = n;
		if (depth && depth_of(n) > deepest)
			deepest = depth_of(n);
	}
	if (depth)
		*depth = deepest;
	return NULL;
}
