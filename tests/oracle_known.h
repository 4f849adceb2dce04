/* SPDX-License-Identifier: MIT */
/*
 * oracle_known.h - a bag of what caches may hold, found by address or by frame
 *
 * For tests/oracle_cache.c, under its lock.  Never too small to go on: where
 * there is no room the oldest goes, as in any cache, and is counted.
 */
#pragma once

#include <stdbool.h>
#include "arch/bits.h"
#include "arch/types.h"

#define KNOWN_MAX 4096u

enum known_kind {
	KNOWN_LEAF,   /* IOTLB; tag: domain                                 */
	KNOWN_DEVICE, /* a device's own TLB; tag: its id                    */
	KNOWN_TABLE,  /* directories: this page of tables; tag: domain      */
	KNOWN_ROOT,   /* a device table entry's; tag: the device            */
};

struct known {
	uint64_t iova, frame; /* [iova, iova + 2^shift) leads to frame       */
	uint64_t stamp;       /* when it was last used                       */
	uint16_t tag, devid;  /* devid: who used it                          */
	uint8_t kind, shift, prot;
	bool live;
	uint16_t next_key, next_frame; /* in their chains                    */
};

/* Nothing is known. */
void known_clear(void);

/* One that is there gets the new stamp.  Was another one thrown out? */
bool known_add(const struct known *k);

/* Those of kind and tag that meet [base, last] and are older than stamp, and
 * that keep (NULL: nobody) does not want to keep.  Returns how many went. */
unsigned known_drop(enum known_kind kind, uint16_t tag, uint64_t base,
		    uint64_t last, uint64_t stamp,
		    bool (*keep)(const struct known *k));

/* The same of all kinds and tags. */
unsigned known_drop_all(uint64_t stamp);

/* Who leads to this frame: the first, the next after k; NULL. */
const struct known *known_of_frame(uint64_t frame, const struct known *k);

/* Every one that is live: the first, the next after k; NULL. */
const struct known *known_next(const struct known *k);

/* Live now; thrown out for want of room, ever. */
unsigned known_count(void);
uint64_t known_evicted(void);
