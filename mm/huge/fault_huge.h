/* SPDX-License-Identifier: MIT */
/*
 * fault_huge.h - faults where a huge entry is, or where one could be made
 */
#pragma once

#include "mm/core/mm.h"

enum want {
	WANT_READ,
	WANT_WRITE,
	WANT_UNSHARE
};

/*
 * Serve a fault at va, for which there is no leaf table: by the huge entry that is
 * there or is made, or else make the table.  W goes to the last owner of a block; any
 * other write splits the entry, and the caller copies 4 KiB.  A first write makes a
 * huge entry if the region wants it (MAP_HUGE) and contains the aligned 2 MiB, and if
 * there is a block; so does a first read, of the block of zeroes (huge_zero.h).  Linux: do_huge_pmd_anonymous_page(), do_huge_pmd_wp_page().
 *
 * Context: r->mm->lock held; may sleep.
 * Returns the slot of a small entry; or NULL, and *ret is 0, -EAGAIN to start over, or
 * -ENOMEM.
 */
uint64_t *fault_table(struct region *r, va_t va, enum want want, int *ret);
