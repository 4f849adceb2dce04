/* SPDX-License-Identifier: MIT */
/*
 * queue.h - the command ring: many producers, one consumer in hardware
 *
 * 48882, section 2.4.  A batch is queued in one piece and ends in a
 * COMPLETION_WAIT that stores a number.  The number is taken under the lock that
 * orders the ring, so a number in memory means that all commands up to it are
 * done (Linux fixed that twice: H50, H51 in docs/invariants.md).
 */
#pragma once

#include <stdatomic.h>
#include "iommu/hw/command.h"
#include "iommu/hw/port.h"
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "mm/frame/page.h"

#define QUEUE_MIN_BITS 8 /* 256 commands: the least that hardware takes    */
#define QUEUE_MAX_BITS 15

/* Key: (I) after queue_start()  (Q) lock  (A) atomic  (H) written by hardware */
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
	pa_t done_pa;           /* (I) of *done                              */
	uint64_t *done; /* (I), *done (H): the last seq completed          */
	_Atomic bool broken;      /* (A) it did not answer, and was dumped */
	uint64_t commands, waits; /* (Q) statistics                         */
};

/*
 * Allocate a ring of 2^bits commands and set its registers; CONTROL_CMD_BUF_EN
 * starts it.  Returns 0, -ENOMEM with nothing changed, or -EIO if the IOMMU does
 * not take the base: call queue_stop() then.  Context: may sleep; the ring is off.
 */
must_check int queue_start(struct command_queue *q,
			   const struct iommu_port *port, unsigned bits);

/* Free the memory, after the ring was switched off in hardware. */
void queue_stop(struct command_queue *q);

/*
 * Queue n commands and a COMPLETION_WAIT; *seq is for queue_wait().  Waits for
 * room.  Returns 0, or -ETIMEDOUT if the ring does not move: then some of the
 * commands may be queued, and nothing that depends on them may be freed.
 * Context: thread; spin locks below RANK_COMMAND may be held.
 */
must_check int queue_submit(struct command_queue *q, const struct command *c,
			    unsigned n, uint64_t *seq);

/* Is everything up to seq done?  By difference, so that the number may wrap. */
static inline bool queue_completed(const struct command_queue *q, uint64_t seq)
{
	return (int64_t)(READ_ONCE(*q->done) - seq) >= 0;
}

/* Do queue_wait() for what is not done yet. */
must_check int queue_wait_slow(struct command_queue *q, uint64_t seq);

/*
 * Wait, spinning, until everything queued up to seq is done.  Returns 0, or
 * -ETIMEDOUT after port_limit_ns() without an answer, with the ring dumped once:
 * then what was to be flushed may still be cached.
 * Context: thread; any lock may be held.
 */
static inline must_check int queue_wait(struct command_queue *q, uint64_t seq)
{
	int error = 0;

	if (unlikely(!queue_completed(q, seq)))
		error = queue_wait_slow(q, seq);
	if (unlikely(error))
		return error;
	/* Reads from here on happen after the completion. */
	atomic_thread_fence(memory_order_acquire);
	PROBE(iommu_complete, seq, q);
	return 0;
}

/* Queue n commands and wait for them.  Errors and context of queue_submit(). */
must_check int queue_run(struct command_queue *q, const struct command *c,
			 unsigned n);

/* Print registers, pointers and, by name, the commands around the head (>).
 * Context: any. */
void queue_dump(struct command_queue *q);
