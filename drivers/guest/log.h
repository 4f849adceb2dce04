/* SPDX-License-Identifier: MIT */
/*
 * log.h - which pages has the guest written since the log was read last?
 *
 *	struct guest_log log = { GUEST_LOG_D, gpa, bytes, bits };
 *
 *	guest_log_start(g, &log);		while the guest runs
 *	do {
 *		guest_log_read(g, written);
 *		... copy the pages that were written ...
 *	} while (... there are many ...);
 *	... stop the guest, read, copy once more ...
 *
 * copies the memory of a guest that runs (live migration).
 */
#pragma once

#include "drivers/guest/guest.h"
#include "kernel/panic.h"

/* How a write of the guest is noticed. */
enum guest_log_by {
	GUEST_LOG_W, /* the entry has no W until the guest writes: a fault    */
	GUEST_LOG_D, /* the CPU sets D in the entry: no fault                 */
};

/* The caller's.  Key: (I) immutable while it logs  (L) the guest's lock */
struct guest_log {
	enum guest_log_by by; /* (I)                                       */
	gpa_t gpa;            /* (I) of the first page                     */
	uint64_t bytes;       /* (I)                                       */
	uint64_t *bits;       /* (L) bit i: page i was written             */
};

#define GUEST_LOG_WORDS(bytes) (((bytes) / PAGE_SIZE + 63) / 64)

/*
 * Log which pages of [log->gpa, + bytes) the guest writes, from now on until
 * guest_log_stop().  log->bits has GUEST_LOG_WORDS(bytes) words, which the caller has
 * set: pages that were not copied yet are 1.  Linux: KVM_MEM_LOG_DIRTY_PAGES.
 * Returns 0; -EBUSY if g has a log already; -EINVAL for a range that is empty or not
 * of whole pages below SVM_PA_END; -EOPNOTSUPP for guest_shared, whose W and D bits are
 * the process's (README.md).  Context: may sleep.
 */
must_check int guest_log_start(struct guest *g, struct guest_log *log);

/* Context: may sleep; it was started. */
void guest_log_stop(struct guest *g);

/*
 * Move the log to bits, and begin a new one.  A write that the guest makes after the
 * return is in the new one: so a page that is copied now, and is not in the next log,
 * was copied whole.  Linux: KVM_GET_DIRTY_LOG.  Context: may sleep; it was started.
 */
void guest_log_read(struct guest *g, uint64_t *bits);

/* Log a write to the page at gpa that was not the guest's, after it.  Without effect if
 * it is not logged.  Context: any that may take RANK_DOMAIN. */
void guest_log_mark(struct guest *g, gpa_t gpa);

/* ---- for drivers/guest/own.c.  Context of all: the guest's lock ------------ */

/* Does a log of this kind have the page?  Its bit is *bit of *word. */
static inline bool log_has(struct guest *g, enum guest_log_by by, gpa_t gpa,
			   uint64_t **word, uint64_t *bit)
{
	struct guest_log *log = g->log;
	uint64_t i;

	require(spin_held(&g->shadow.lock));
	if (likely(!log) || log->by != by || gpa < log->gpa ||
	    gpa - log->gpa >= log->bytes)
		return false;
	i = (gpa - log->gpa) / PAGE_SIZE;
	*word = &log->bits[i / 64];
	*bit = BIT(i % 64);
	return true;
}

/* Set the bit of a page that was written, or is about to be. */
static inline void log_set(struct guest *g, enum guest_log_by by, gpa_t gpa)
{
	uint64_t *word, bit;

	if (log_has(g, by, gpa, &word, &bit))
		*word |= bit;
}

/* Does a log have a page of the range? */
static inline bool log_meets(struct guest *g, gpa_t gpa, uint64_t bytes)
{
	struct guest_log *log = g->log;

	require(spin_held(&g->shadow.lock));
	return log && gpa < log->gpa + log->bytes && log->gpa < gpa + bytes;
}

/*
 * May the entry have W?  By W only where the log has the write.  If it was read since
 * the fault that has set the bit, the guest faults again.
 */
static inline bool log_allows_w(struct guest *g, gpa_t gpa)
{
	uint64_t *word, bit;

	return !log_has(g, GUEST_LOG_W, gpa, &word, &bit) || *word & bit;
}
