/* SPDX-License-Identifier: MIT */
/*
 * order_checker.h - checker O4: the probes come in an order that is allowed
 *
 * The checker follows each thread through its steps, as they happen:
 *
 *   after a cleared entry the notifiers are notified before the       B9, B12,
 *   entry is set again, before its page or another is freed, and      B2, B18
 *   before an entry of another mm is cleared; one notification may
 *   cover several entries of one mm.  A frame of the swap cache that no
 *   entry names may be freed meanwhile
 *   a new entry is offered after the notification                     B14
 *   a notification ends after the completion of its commands          B4
 *   tables are freed after the completion of queued commands          B3
 *   an entry changes inside an invalidation by the same thread,       B15
 *   and no invalidation stays open                                    B24
 *
 * Only mms with notifiers are followed.
 *
 * Locks: a thread's state is its own; one (RANK_CHECKER) for the notifiers.
 */
#pragma once

#include <stdint.h>

struct page;

/* Follow the probes from now on; no thread is inside a step. */
void order_checker_open(void);

/* Report invalidations that are still open, and stop. */
void order_checker_close(void);

/* This thread frees a frame; it has seen a completion of its commands. */
void order_checker_freed(const struct page *page);
void order_checker_completed(uint64_t seq);

/* Return how many steps were followed. */
uint64_t order_checker_steps(void);
