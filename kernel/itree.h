/* SPDX-License-Identifier: MIT */
/*
 * itree.h - an interval tree: which intervals overlap a range
 *
 * A red-black tree (libbsd's sys/tree.h) ordered by start; every node also
 * stores the highest `last` below it, so that a search skips intervals that end too
 * early: O(log n) to the first of the intervals that overlap a range, in order of
 * start, those of equal start in order of insertion.  Intervals are closed: both
 * start and last belong to them.
 *
 * The caller serializes all calls on one tree.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/tree.h>

struct itree_node {
	RB_ENTRY(itree_node) link;
	uint64_t start, last; /* the owner sets them before itree_insert()  */
	uint64_t max_last;    /* highest last in the subtree                */
};

RB_HEAD(itree_rb, itree_node);

struct itree {
	struct itree_rb root;
};

static inline void itree_init(struct itree *tree)
{
	RB_INIT(&tree->root);
}

static inline bool itree_empty(const struct itree *tree)
{
	return RB_EMPTY(&tree->root);
}

/* Inserts a node with start <= last.  Equal intervals may be in the tree together. */
void itree_insert(struct itree *tree, struct itree_node *node);

/* Removes a node that is in the tree, with start and last as they were inserted. */
void itree_remove(struct itree *tree, struct itree_node *node);

/* Gives a node that is in the tree another interval, start <= last.  Where it keeps its
 * place in the order, no node moves; else it is removed and inserted. */
void itree_change(struct itree *tree, struct itree_node *node, uint64_t start,
		  uint64_t last);

/* Return the first interval that overlaps [start, last], the next one after node;
 * NULL if there is none. */
struct itree_node *itree_first(struct itree *tree, uint64_t start,
			       uint64_t last);
struct itree_node *itree_next(struct itree_node *node, uint64_t start,
			      uint64_t last);

#define itree_for_each(node, tree, start, last)               \
	for ((node) = itree_first(tree, start, last); (node); \
	     (node) = itree_next(node, start, last))
