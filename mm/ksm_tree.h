/* SPDX-License-Identifier: MIT */
/*
 * ksm_tree.h - pages in order: by checksum, and only where it is equal by content
 *
 * A treap: ordered by key as any search tree, and by priority as a heap.  The
 * priority is a hash of the node's address, so it costs no memory, nobody who
 * chooses contents can choose it, and the tree is as deep as if the keys had
 * come in random order, whatever the order they do come in: about 2 ln(n).
 *
 * No lock, no memory, and no page is looked at but through compare.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "arch/compiler.h"

/* 32 bytes: 128 of them fill a frame (mm/ksm_item.c). */
struct ktree_node {
	struct ktree_node *child[2], *parent;
	uint32_t sum;  /* the key; unchanged while in a tree              */
	uint32_t word; /* the owner's                                     */
};
_Static_assert(sizeof(struct ktree_node) == 32, "a figure in KSM.md");

struct ktree {
	struct ktree_node *root;
};

/* Where a node that is not there would be: below parent, on this side. */
struct ktree_place {
	struct ktree_node *parent; /* NULL: the root                      */
	unsigned side;
};

/* Below 0, 0, above 0: what is looked for lies before, at, behind node. */
typedef int ktree_compare(struct ktree_node *node, void *arg);

/*
 * The node of this key, or NULL and its place.  compare is called for nodes of
 * equal checksum only.
 */
static inline struct ktree_node *ktree_find(const struct ktree *tree,
					    uint32_t sum,
					    ktree_compare *compare, void *arg,
					    struct ktree_place *place)
{
	struct ktree_node *node = tree->root;

	place->parent = NULL;
	place->side = 0;
	while (node) {
		unsigned side = sum > node->sum;

		if (unlikely(sum == node->sum)) {
			int order = compare(node, arg);

			if (!order)
				return node;
			side = order > 0;
		}
		place->parent = node;
		place->side = side;
		node = node->child[side];
	}
	return NULL;
}

/* Is there any node of this checksum? */
bool ktree_has(const struct ktree *tree, uint32_t sum);

/* Put node, whose sum is set, where ktree_find() said; nothing changed since. */
void ktree_insert(struct ktree *tree, struct ktree_node *node,
		  const struct ktree_place *place);

void ktree_remove(struct ktree *tree, struct ktree_node *node);

/* In order. */
struct ktree_node *ktree_first(const struct ktree *tree);
struct ktree_node *ktree_next(struct ktree_node *node);

/* Oracle: links, order of checksums, order of priorities; *depth (may be NULL)
 * is the longest path.  NULL, or what is wrong in words. */
const char *ktree_check(const struct ktree *tree, unsigned *depth);
