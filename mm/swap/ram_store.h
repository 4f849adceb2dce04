/* SPDX-License-Identifier: MIT */
/*
 * ram_store.h - a swap store in RAM, for a machine without a disk
 *
 * It saves no memory: it makes the states of a page reachable where there is no
 * device.  Linux: zram, without the compression.
 */
#pragma once

#include "mm/swap/store.h"

/* Key: (I) immutable from init to destroy */
struct ram_store {
	struct swap_store store; /* (I) for swap_on()                       */
	struct page *index;      /* (I) the block of frames that holds kept[] */
	struct page **kept;      /* (I) a frame for each page of the store  */
};

/*
 * Make a store of 1 .. SWAP_STORE_MAX pages; all of their memory is allocated here.
 * Returns 0; -EINVAL for another size; -ENOMEM with nothing allocated.
 * Context: any that may take RANK_PMM.
 */
must_check int ram_store_init(struct ram_store *ram, uint32_t pages);

/* Free the memory of a store that is not in use.
 * Context: any that may take RANK_PMM. */
void ram_store_destroy(struct ram_store *ram);
