/* SPDX-License-Identifier: MIT */
/*
 * canary.h - checker O1: a freed frame is watched for late writes
 *
 * A frame that a device could reach is not free at once.  It becomes a canary:
 * each of its words holds a pattern, and it stays one until CANARIES later
 * frames have become canaries.  A device that still writes to it damages the
 * pattern; one that still reads it gets a word that is stored nowhere else.
 * Poison alone would be gone with the frame's next owner, whose data a late
 * device could then damage without a sign.
 *
 * Locks: one (RANK_CHECKER), and those that freeing a frame takes.
 */
#pragma once

#include "mm/frame/page.h"

#define CANARIES 64u

/* The pattern of a canary's words: CANARY with the frame's number below. */
#define CANARY      UINT64_C(0xca11ed0000000000)
#define CANARY_MARK GENMASK(63, 40)

static inline bool is_canary(uint64_t word)
{
	return (word & CANARY_MARK) == CANARY;
}

/* Make a single frame of count 0 a canary.  Context: any that may free. */
void canary_take(struct page *page);

/*
 * Free all canaries: for a test that wants a freed page back, and at the end.
 */
void canary_release(void);

/* Return how many frames have become canaries. */
uint64_t canary_count(void);
