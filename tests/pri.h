/* SPDX-License-Identifier: MIT */
/*
 * pri.h - page requests: the half of the IOMMU that QEMU's does not have
 *
 *   endpoint, or a test ── pri_send(), pri_log() ──► PPR log in memory
 *                                                    PPR tail, status, interrupt
 *   driver ── TAIL of the command ring ──► QEMU does the commands, then
 *             COMPLETE_PPR_REQUEST is decoded here ──► answer of the device
 *
 * QEMU keeps the PPR log's registers, but nothing ever moves them; it takes
 * COMPLETE_PPR_REQUEST and tells nobody.  So the driver's port is tapped, and
 * what is between log entry and answer is done here, in the memory, registers
 * and commands that the driver itself uses.  The driver cannot tell: it sees an
 * entry, a tail, STATUS bits and its own MSI vector.  The strict model has page
 * requests of its own; there everything here is only passed on.
 *
 * Oracle: every request that wants an answer gets one, of its own tag and
 * PASID; no other is given; none is owed when the test is over (B51).
 *
 * Locks: one, RANK_MODEL, interrupts off.  Answers are delivered without it, but
 * under what the driver holds around its doorbell.
 */
#pragma once

#include "iommu/log.h"
#include "kernel/waitq.h"
#include "tests/model.h"
#include "tests/stand.h"

/* Begin on this stand.  Idempotent; stand_release() ends it. */
void pri_open(struct stand *s);
/* Nobody serves any more: is everything answered?  Untaps. */
void pri_close(void);

enum pri_verdict {
	PRI_LOGGED,
	PRI_LOST,    /* the log is full or stopped: repeat it later         */
	PRI_REFUSED, /* this device may not, or there are no requests       */
};

/* A device's request, as the IOMMU takes it. */
enum pri_verdict pri_send(const struct model_ppr *request);

/* An entry as it stands, whatever it says: false, it is lost. */
bool pri_log(uint64_t w0, uint64_t w1);

/* The words of an entry of kind PPR_FAULT. */
uint64_t pri_word(const struct model_ppr *request);

/* Who hears of answers: any context, no allocation, no sleep.  NULL: nobody. */
typedef void pri_answer_fn(void *arg, uint16_t devid, uint16_t tag,
			   unsigned status);
void pri_listen(pri_answer_fn *fn, void *arg);

/* Woken at each answer: for wait_event(). */
extern struct waitq pri_news;

/* What was asked, with the last flag, and answered, since pri_open(). */
struct pri_tally {
	unsigned asked;
	unsigned answered[16]; /* by status                                 */
	unsigned lost;         /* entries that found no room                */
};
struct pri_tally pri_tally(uint16_t devid, uint16_t tag);
/* All tags of the device together. */
struct pri_tally pri_total(uint16_t devid);
unsigned pri_unanswered(void);

/* Doorbells begun and ended: even and the same twice, none was in between. */
uint64_t pri_doorbells(void);

/* When, by rdtsc(), the last steps of a request were done on QEMU, for bench. */
struct pri_when {
	uint64_t logged; /* entry and tail are there, no interrupt yet      */
	uint64_t taken;  /* the log's reader has given the slot back        */
	uint64_t told;   /* the doorbell behind the answer has rung         */
};
extern struct pri_when pri_when;

/* For stand.c: the model's COMPLETE_PPR_REQUEST. */
void pri_answered(uint16_t devid, uint16_t tag, unsigned status);
