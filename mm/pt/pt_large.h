/* SPDX-License-Identifier: MIT */
/*
 * pt_large.h - change the shape of a tree: split, join, grow
 *
 * Each change is one store: an MMU that walks the tree meanwhile sees the old
 * shape or the new one, and both translate alike.
 * Context of all: the owner's lock (struct pt).
 */
#pragma once

#include "mm/pt/pt.h"

/*
 * Replace the 2 MiB leaf that covers va by a table of 512 leaves with the same
 * rights.  Returns 0 (also when there is no such leaf) or -ENOMEM.  TLBs may
 * hold both sizes afterwards: flush before an entry of the table is changed.
 */
must_check int pt_split(struct pt *pt, va_t va);

/*
 * Replace the leaf table at va, 2 MiB aligned, by one leaf if its 512 entries
 * are what pt_split() would make.  Returns NULL if they are not, else the table:
 * it is no longer reachable from the root, and the caller puts it after a flush
 * of its range.
 */
struct page *pt_join(struct pt *pt, va_t va);

/*
 * Put a new root on top: the tree covers 512 times as much, and what it mapped
 * stays at its addresses.  An MMU walks from the old root until it is given the
 * new one (pt_root_pa(), pt->levels).  Returns 0 or -ENOMEM.  The tree begins at
 * address 0 and has fewer levels than the format's maximum.
 */
must_check int pt_grow(struct pt *pt);
