/* SPDX-License-Identifier: MIT */
/*
 * queue.h - the command ring: many producers, one consumer in hardware
 *
 * 48882, section 2.4.  A batch is queued in one piece and ends in a
 * COMPLETION_WAIT that stores a number; the number is taken under the lock that
 * orders the ring, so that a larger one in memory means that all smaller ones
 * are done (Linux learned that twice: H50, H51 in docs/invariants.md).
 */
#pragma once

#include "iommu/command.h"
#include "iommu/port.h"
#include "kernel/lock.h"
#include "mm/page.h"

#define QUEUE_MIN_BITS 8 /* 256 commands: the least that hardware takes    */
#define QUEUE_MAX_BITS 15

/* Key: (I) after queue_start()  (Q) lock */
struct command_queue {
	const struct iommu_port *port; /* (I)                               */
	struct spinlock lock;          /* RANK_COMMAND                      */
	struct page *pages;            /* (I)                               */
	struct command *ring;          /* (I)                               */
	unsigned size;                 /* (I) bytes                         */
	unsigned tail;                 /* (Q) bytes                         */
	unsigned room; /* (Q) bytes free when head was last looked at     */
	uint64_t seq;  /* (Q) of the last COMPLETION_WAIT queued          */
	struct page *done_page; /* (I)                               */
	uint64_t *done; /* written by the IOMMU: the last seq completed    */
	_Atomic bool broken;      /* it did not answer: see below      */
	uint64_t commands, waits; /* (Q) statistics                         */
};

/*
 * Memory for a ring of 2^bits commands, and its registers set; it runs when
 * CONTROL_CMD_BUF_EN is.  -ENOMEM with nothing changed.
 */
must_check int queue_start(struct command_queue *q,
			   const struct iommu_port *port, unsigned bits);

/* The ring is off in hardware: give its memory back. */
void queue_stop(struct command_queue *q);

/*
 * Queue n commands and a COMPLETION_WAIT; *seq is what queue_wait() takes.
 * Waits for room.  Returns 0, or -ETIMEDOUT if the ring does not move: then
 * some of the commands may be queued, and nothing that depends on them may be
 * freed.
 *
 * Context: any thread, spin locks of lower rank may be held; no interrupts.
 */
must_check int queue_submit(struct command_queue *q, const struct command *c,
			    unsigned n, uint64_t *seq);

/*
 * Wait until everything queued up to seq is done.  Returns 0, or -ETIMEDOUT
 * after port_limit_ns() without an answer, with the ring dumped once: then what
 * was to be flushed may still be cached.  Context as above.
 */
must_check int queue_wait(struct command_queue *q, uint64_t seq);

/* Both. */
must_check int queue_run(struct command_queue *q, const struct command *c,
			 unsigned n);

/* Print registers, pointers and, by name, the commands around the head (>). */
void queue_dump(struct command_queue *q);
