/* SPDX-License-Identifier: MIT */
/*
 * pt_large.h - the walker's rarer changes of shape: split, join, grow
 *
 * Each is one store for whoever walks the tree meanwhile: he sees the old shape
 * or the new one, and both translate alike.
 */
#pragma once

#include "mm/pt.h"

/*
 * Replace the 2 MiB leaf that covers va by a table of 512 leaves with the same
 * rights.  0 (also when there is no such leaf) or -ENOMEM.  Both sizes may be
 * cached afterwards: flush before the two are to differ.
 */
must_check int pt_split(struct pt *pt, va_t va);

/*
 * Replace the leaf table at va, 2 MiB aligned, by one leaf if its 512 entries
 * are what pt_split() would make.  NULL, or the table: no longer reachable from
 * the root, to be put after a flush of its range.
 */
struct page *pt_join(struct pt *pt, va_t va);

/*
 * Put a root on top: the tree covers 512 times as much, what it held stays at
 * its addresses.  The old root goes on being walked until everybody knows the
 * new one (pt_root_pa(), pt->levels).  0 or -ENOMEM.  The tree begins at 0.
 */
must_check int pt_grow(struct pt *pt);
