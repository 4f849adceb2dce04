/* SPDX-License-Identifier: MIT */
/*
 * known.h - a set of what caches may hold, found by address or by frame
 *
 * For tests/checker/cache_checker.c, under its lock.  A full set evicts its
 * oldest entry, as a cache would, and counts it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "arch/bits.h"
#include "arch/types.h"

#define KNOWN_MAX 4096u

enum known_kind {
	KNOWN_LEAF,   /* IOTLB; tag: domain                                 */
	KNOWN_DEVICE, /* a device's own TLB; tag: its id                    */
	KNOWN_TABLE,  /* directories: this table page; tag: domain          */
	KNOWN_ROOT,   /* a device table entry's root; tag: the device       */
};

struct known {
	uint64_t iova, frame; /* [iova, iova + 2^shift) leads to frame on    */
	uint64_t stamp;       /* when it was last used                       */
	uint16_t tag, devid;  /* devid: of the device that used it           */
	uint8_t kind, shift, prot;
	bool live;
	uint16_t next_key, next_frame; /* in their chains                    */
};

/* Empty the set. */
void known_clear(void);

/*
 * Add an entry, or update the stamp of an equal one.  Returns whether another
 * one was evicted.
 */
bool known_add(const struct known *k);

/*
 * Drop the entries of kind and tag that are older than stamp and lie in [base, last],
 * tables also those that only meet it, unless keep (may be NULL) returns true.  Returns
 * their number.
 */
unsigned known_drop(enum known_kind kind, uint16_t tag, uint64_t base,
		    uint64_t last, uint64_t stamp,
		    bool (*keep)(const struct known *k));

/* Drop the entries of all kinds and tags older than stamp. */
unsigned known_drop_all(uint64_t stamp);

/*
 * Return an entry of which `frame` is the first frame, or a table: the first (k NULL), or
 * the next after k; NULL if none.
 */
const struct known *known_of_frame(uint64_t frame, const struct known *k);

/*
 * Return a live entry: the first (k NULL), or the next after k; NULL if none.
 */
const struct known *known_next(const struct known *k);

/* Return how many are live; how many were ever evicted. */
unsigned known_count(void);
uint64_t known_evicted(void);

/* Write what the entry may lead to, as a message. */
void known_describe(const struct known *k, char *text, size_t len);
