/* SPDX-License-Identifier: MIT */
/*
 * oracle_canary.h - oracle O1: a freed frame goes to somebody who watches it
 *
 * A frame that a device could reach is not free at once: it becomes a canary,
 * every word of it says so, and stays one until CANARIES others have come.  A
 * device that still writes to it hurts the canary; one that still reads it gets
 * a word that nobody else stores.  Poison alone would be gone with the next
 * owner, whose data a late device then spoils without a sign.
 *
 * Locks: one (RANK_ORACLE), and what freeing a frame takes.
 */
#pragma once

#include "mm/page.h"

#define CANARIES 64u

/* What a canary's words are: CANARY with the frame's number below. */
#define CANARY      UINT64_C(0xca11ed0000000000)
#define CANARY_MARK GENMASK(63, 40)

static inline bool is_canary(uint64_t word)
{
	return (word & CANARY_MARK) == CANARY;
}

/* Take a single frame of count 0.  Context: any that may free. */
void canary_take(struct page *page);

/* Let all go: for who wants a freed page back, and at the end. */
void canary_release(void);

/* How many frames have been canaries. */
uint64_t canary_count(void);
