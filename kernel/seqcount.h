/* SPDX-License-Identifier: MIT */
/*
 * seqcount.h - readers who never write look again if a writer was there
 *
 *	do {					seq_write_begin(&s);
 *		n = seq_read_begin(&s);		a = ...; b = ...;
 *		copy = ...;			seq_write_end(&s);
 *	} while (seq_read_retry(&s, n));
 *
 * Odd while a writer is at work.  Writers exclude each other by a spin lock of
 * the owner's; what readers copy they read by READ_ONCE and follow no pointer
 * in it before seq_read_retry() said false.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/lock.h"
#include "kernel/panic.h"

struct seqcount {
	_Atomic uint64_t n;
};

/* Context: the writers' spin lock held, so that no reader waits for a writer
 * who is not running. */
static inline void seq_write_begin(struct seqcount *s)
{
	uint64_t n = atomic_load_explicit(&s->n, memory_order_relaxed);

	assert(cpu_preempt_count() && !(n & 1));
	atomic_store_explicit(&s->n, n + 1, memory_order_relaxed);
	/* No store of the section before the odd count. */
	atomic_thread_fence(memory_order_release);
}

static inline void seq_write_end(struct seqcount *s)
{
	uint64_t n = atomic_load_explicit(&s->n, memory_order_relaxed);

	assert(n & 1);
	atomic_store_explicit(&s->n, n + 1, memory_order_release);
}

/* Waits while a writer is at work. */
static inline uint64_t seq_read_begin(const struct seqcount *s)
{
	uint64_t n;

	while ((n = atomic_load_explicit(&s->n, memory_order_acquire)) & 1)
		cpu_pause();
	return n;
}

/* Has a writer begun since n was taken?  Then what was read may be torn. */
static inline bool seq_read_retry(const struct seqcount *s, uint64_t n)
{
	/* No load of the section after this. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&s->n, memory_order_relaxed) != n;
}
