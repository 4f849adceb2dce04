/* SPDX-License-Identifier: MIT */
/*
 * itree.c - keep max_last true through the library's rotations
 *
 * RB_AUGMENT is called for the nodes that a rotation moves, and only locally;
 * what changes further up, after an insertion or a removal, is repaired by one
 * walk to the root.
 */
#include <stddef.h>

struct itree_node;
static void itree_augment(struct itree_node *node);

#define RB_AUGMENT(node) itree_augment(node)
#define __unused         __attribute__((unused))
#include "kernel/itree.h"
#include "kernel/panic.h"

static void itree_augment(struct itree_node *node)
{
	struct itree_node *l = RB_LEFT(node, link), *r = RB_RIGHT(node, link);
	uint64_t max = node->last;

	if (l && l->max_last > max)
		max = l->max_last;
	if (r && r->max_last > max)
		max = r->max_last;
	node->max_last = max;
}

/*
 * Compares two nodes; of equal starts the newer comes later.  Called only by
 * insertions, with the new node first, so the nodes are never the same.
 */
static int itree_compare(const struct itree_node *new,
			 const struct itree_node *old)
{
	return new->start < old->start ? -1 : 1;
}

RB_GENERATE_STATIC(itree_rb, itree_node, link, itree_compare)

static void augment_to_root(struct itree_node *node)
{
	for (; node; node = RB_PARENT(node, link))
		itree_augment(node);
}

void itree_insert(struct itree *tree, struct itree_node *node)
{
	assert(node->start <= node->last);
	node->max_last = node->last;
	RB_INSERT(itree_rb, &tree->root, node);
	augment_to_root(node);
}

void itree_remove(struct itree *tree, struct itree_node *node)
{
	/* The lowest node whose subtree loses something, before it does. */
	struct itree_node *from = RB_PARENT(node, link), *next;

	if (RB_LEFT(node, link) && RB_RIGHT(node, link)) {
		/* The successor takes its place. */
		next = RB_RIGHT(node, link);
		while (RB_LEFT(next, link))
			next = RB_LEFT(next, link);
		from = RB_PARENT(next, link) == node ? next
						     : RB_PARENT(next, link);
	}
	RB_REMOVE(itree_rb, &tree->root, node);
	augment_to_root(from);
}

/* Would the node, with that start, still be between its neighbours? */
static bool keeps_place(struct itree_node *node, uint64_t start)
{
	struct itree_node *next;

	if (start == node->start)
		return true;
	if (start < node->start) {
		next = itree_rb_RB_PREV(node);
		return !next || next->start <= start;
	}
	next = itree_rb_RB_NEXT(node);
	return !next || next->start >= start;
}

void itree_change(struct itree *tree, struct itree_node *node, uint64_t start,
		  uint64_t last)
{
	uint64_t was;

	assert(start <= last);
	if (unlikely(!keeps_place(node, start))) {
		itree_remove(tree, node);
		node->start = start;
		node->last = last;
		itree_insert(tree, node);
		return;
	}
	node->start = start;
	node->last = last;
	/* Up to the first ancestor for which another node decides. */
	do {
		was = node->max_last;
		itree_augment(node);
	} while (node->max_last != was && (node = RB_PARENT(node, link)));
}

/* Returns the first node of the subtree that overlaps [start, last]. */
static struct itree_node *subtree_first(struct itree_node *node, uint64_t start,
					uint64_t last)
{
	while (node && node->max_last >= start) {
		struct itree_node *l = RB_LEFT(node, link);

		if (l && l->max_last >= start) {
			node = l;
			continue;
		}
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
		node = RB_RIGHT(node, link);
	}
	return NULL;
}

struct itree_node *itree_first(struct itree *tree, uint64_t start,
			       uint64_t last)
{
	return subtree_first(RB_ROOT(&tree->root), start, last);
}

struct itree_node *itree_next(struct itree_node *node, uint64_t start,
			      uint64_t last)
{
	for (;;) {
		struct itree_node *found, *parent;

		found = subtree_first(RB_RIGHT(node, link), start, last);
		if (found)
			return found;
		/* Up, to the first ancestor that comes after node. */
		while ((parent = RB_PARENT(node, link)) &&
		       RB_RIGHT(parent, link) == node)
			node = parent;
		if (!parent || parent->start > last)
			return NULL;
		node = parent;
		if (node->last >= start)
			return node;
	}
}
