/* SPDX-License-Identifier: MIT */
/*
 * store.h - where the contents of swapped-out pages are kept
 *
 * mm knows this interface only.  A driver fills in a struct swap_store and passes
 * it to swap_on() (mm/swap/swap.h).  A store may be slow, and any transfer may fail.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

struct page;

#define SWAP_STORE_MAX 32767u /* pages: struct page has 15 bits for a slot   */

struct swap_store {
	const char *name;
	uint32_t pages; /* its size                                          */
	/*
	 * Copy page number n < pages from the store into the frame, or from the
	 * frame into the store.  Several threads call them at once, each for
	 * another n.  The frame's users may write it while write() reads it: then
	 * page n is never asked for.
	 * Context: may sleep; mm->lock may be held to read.
	 * Returns 0 or a negative error, after which the content of the
	 * destination is undefined.
	 */
	int (*read)(struct swap_store *store, uint32_t n, struct page *frame);
	int (*write)(struct swap_store *store, uint32_t n, struct page *frame);
};
