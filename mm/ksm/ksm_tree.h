/* SPDX-License-Identifier: MIT */
/*
 * ksm_tree.h - pages in order: by checksum, and where it is equal by content
 *
 * A treap: ordered by key as any search tree, and by priority as a heap.  The
 * priority is a hash of the node's address: it costs no memory, and a process that
 * chooses contents cannot choose it.  The tree is as deep as if keys had been
 * inserted in random order, about 2 ln(n), in whatever order they are inserted.
 *
 * No function takes a lock or allocates memory; the caller serializes all calls on
 * one tree.  Pages are read only by the compare function.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "arch/compiler.h"

/* 32 bytes: 128 of them fill a frame (mm/ksm/ksm_rmap_item.c). */
struct ktree_node {
	struct ktree_node *child[2], *parent;
	uint32_t sum;  /* the key; unchanged while in a tree              */
	uint32_t word; /* for the user of the tree                        */
};
_Static_assert(sizeof(struct ktree_node) == 32, "a figure in KSM.md");

struct ktree {
	struct ktree_node *root;
};

/* Where a node could be inserted: as this child of parent. */
struct ktree_place {
	struct ktree_node *parent; /* NULL: the root                      */
	unsigned side;
};

/* Compares the key searched for with node: <0, 0, >0 if it lies before, at, after. */
typedef int ktree_compare(struct ktree_node *node, void *arg);

/*
 * Search the tree.  compare(node, arg) is called only for nodes of equal checksum.
 * Returns the node for which it returned 0, or NULL and where to insert in *place.
 */
static inline struct ktree_node *ktree_find(const struct ktree *tree,
					    uint32_t sum,
					    ktree_compare *compare, void *arg,
					    struct ktree_place *place)
{
	struct ktree_node *node = tree->root, *parent = NULL;
	unsigned side = 0;

	while (node) {
		/* One difference for both questions: equal, and which side. */
		int64_t order = (int64_t)node->sum - sum;

		if (unlikely(!order)) {
			order = -compare(node, arg);
			if (!order)
				return node;
		}
		side = order < 0;
		parent = node;
		node = node->child[side];
	}
	*place = (struct ktree_place){ parent, side };
	return NULL;
}

/* Returns whether any node has this checksum. */
bool ktree_has(const struct ktree *tree, uint32_t sum);

/* Inserts node, whose sum is set, at the place that ktree_find() returned.  The tree
 * has not changed since. */
void ktree_insert(struct ktree *tree, struct ktree_node *node,
		  const struct ktree_place *place);

/* Removes a node that is in this tree. */
void ktree_remove(struct ktree *tree, struct ktree_node *node);

/* Iterate in order: the first node, the node after; NULL at the end. */
struct ktree_node *ktree_first(const struct ktree *tree);
struct ktree_node *ktree_next(struct ktree_node *node);

/* Checker: pointers, order of checksums, order of priorities.  Sets *depth, if not
 * NULL, to the longest path.  Returns NULL or an error message. */
const char *ktree_check(const struct ktree *tree, unsigned *depth);
