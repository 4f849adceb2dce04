/* SPDX-License-Identifier: MIT */
/*
 * oracle_order.h - oracle O4: the probes come in an order that is allowed
 *
 * Every thread is followed through the steps that it takes, while it takes them:
 *
 *   an entry that is cleared is told before it is set again, before   B9, B12,
 *   its page or any other is freed, and before the next is cleared    B2, B18
 *   a new entry is offered after everybody was told                   B14
 *   who tells does not return before what it queued was seen done     B4
 *   tables are freed after the completion of what was queued          B3
 *   an entry changes inside a window of the thread that changes it,   B15
 *   and no window stays open                                          B24
 *
 * For mms to which somebody listens; the others have nobody to tell.
 *
 * Locks: a thread's state is its own; one (RANK_ORACLE) for who listens.
 */
#pragma once

#include <stdint.h>

/* Watch the probes from now on; nobody is inside a step. */
void oracle_order_open(void);

/* Windows that are still open are wrong. */
void oracle_order_close(void);

/* This thread frees a frame; has seen a completion of its commands. */
void oracle_order_freed(void);
void oracle_order_completed(uint64_t seq);

/* How many steps were followed. */
uint64_t oracle_order_steps(void);
