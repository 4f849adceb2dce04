/* SPDX-License-Identifier: MIT */
/*
 * kswapd.h - a thread that swaps pages out before memory has run out
 *
 *   free frames
 *      high ───────────────────────  it stops here, and sleeps
 *       low ───────────────────────  an allocation wakes it below this
 *         0 ───────────────────────  the allocation fails: direct reclaim
 *
 * Without it each fault that finds no memory swaps out pages itself (reclaim_any()), and
 * waits for the store.  Linux: kswapd.
 */
#pragma once

#include <stdint.h>
#include "arch/compiler.h"

/* Set up the lock and the queue.  Context: boot, once. */
void kswapd_init(void);

/*
 * Start the thread.  low and high are numbers of free frames.  Where nothing can be swapped
 * out it tries again after KSWAPD_REST_NS at the earliest.
 *
 * Context: may sleep; no lock of RANK_KSWAPD or of a later rank held.
 * Returns 0; -EINVAL unless 0 < low < high <= pmm_total(); -EBUSY if the thread exists, or
 * another call is starting or stopping it; -ENOMEM.
 */
must_check int kswapd_start(uint64_t low, uint64_t high);

/* Stop the thread; it has ended when the call returns.  Without a thread it does nothing.
 * Context: as kswapd_start(). */
void kswapd_stop(void);

#define KSWAPD_REST_NS UINT64_C(100000000)

/* What was counted since boot.  Exact while no thread runs. */
struct kswapd_stat {
	uint64_t wakes; /* times it found fewer than `low` frames             */
	uint64_t freed; /* frames                                             */
	uint64_t fails; /* times it freed none, and had to rest               */
};

void kswapd_stat(struct kswapd_stat *stat);
