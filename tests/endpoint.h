/* SPDX-License-Identifier: MIT */
/*
 * endpoint.h - a device that faults: it asks for pages, and works on when they
 * are there
 *
 *	static struct endpoint e;	the test may end before it does
 *
 *	endpoint_open(&e, s, 0, NULL);
 *	... device 0 is attached with ATTACH_PPR | ATTACH_ATS, its requests are bound ...
 *	EXPECT_EQ(endpoint_write(&e, va, 7), 0);
 *
 *   ┌► try the DMA ──moved──► done
 *   │      │ nothing moved
 *   │      ▼
 *   │  page request, one group ──► PPR log (tests/pri.h)
 *   │      │
 *   │      ▼ COMPLETE_PPR_REQUEST of its tag
 *   └─ SUCCESS    INVALID ──► -EFAULT    FAILURE ──► no more requests: -EIO
 *      the same address in vain `limit` times ──► FAILED: -EIO from now on
 *
 * The transfers are real: an LSI chip of QEMU moves the word, or model_dma()
 * does.  That it asks, and when it gives up, is ours; so is tests/pri.h on QEMU.
 * A chip reports no failure; the data say it: a refused read brings 0, and what
 * was written is read back in the same program, which no doorbell can interrupt.
 * Only a word that reads as 0 is looked up in the tables, as a translation
 * request would: is it a hole, or a 0?
 *
 * A word has 4 bytes.  What the IOMMU refuses, QEMU refuses in pieces of 4, and
 * walks anew for each: of 8 bytes the first half may be refused and the other
 * be moved, when the page comes between the two.
 *
 * It runs in a thread of its own, on its own CPU if told so: faults and
 * invalidations are concurrent.  Any thread may use it; accesses queue up.
 *
 * Locks: RANK_MODEL with interrupts off, for the queue and the answer.
 */
#pragma once

#include "kernel/waitq.h"
#include "tests/pri.h"

#define ENDPOINT_LIMIT 8u /* fruitless faults on one address                */

enum endpoint_state {
	ENDPOINT_RUNS,
	ENDPOINT_STOPPED, /* somebody answered FAILURE                      */
	ENDPOINT_FAILED,  /* it faulted in vain, `limit` times              */
};

struct endpoint_config {
	uint64_t cpus;  /* where its thread runs, 0: anywhere               */
	unsigned limit; /* 0: ENDPOINT_LIMIT                                */
	bool plain; /* the model's has no TLB: attached without ATTACH_ATS  */
};

/* One access: a word, or only the pages of [va, va + n pages). */
struct endpoint_job {
	iova_t va;
	uint32_t word;
	unsigned n; /* 0: the word moves; else these pages are asked for     */
	bool write;
	int error;
	_Atomic bool done;
	TAILQ_ENTRY(endpoint_job) link;
};

/* Written by the endpoint's thread; read by whom it concerns at quiet points. */
struct endpoint_stats {
	uint64_t dmas;      /* words moved                                  */
	uint64_t tries;     /* attempts to                                  */
	uint64_t faults;    /* groups sent                                  */
	uint64_t requests;  /* in them                                      */
	uint64_t fruitless; /* answered SUCCESS, and it is still not there  */
	uint64_t invalid;   /* answered INVALID, or not taken at all        */
	uint64_t repeats;   /* groups sent again: the log had lost them     */
};

/* Key: (I) immutable  (E) the lock of all  (T) its thread */
struct endpoint {
	struct stand *s;       /* (I)                                        */
	unsigned dev;          /* (I)                                        */
	uint16_t devid;        /* (I)                                        */
	unsigned limit;        /* (I)                                        */
	struct thread *thread; /* (I)                                       */
	TAILQ_HEAD(, endpoint_job) jobs; /* (E)                             */
	bool closing;                    /* (E)                             */
	struct waitq work, done, answer;
	uint16_t tag;                /* (T) of the next group               */
	int waits_for;               /* (E) tag of the group, -1: for none  */
	unsigned status;             /* (E) its answer                      */
	enum endpoint_state state;   /* (T)                                 */
	struct endpoint_stats stats; /* (T)                                 */
	LIST_ENTRY(endpoint) link;
};

/* Device dev of the stand; closed by stand_release(), or before. */
void endpoint_open(struct endpoint *e, struct stand *s, unsigned dev,
		   const struct endpoint_config *config);
/* What it does ends with -EAGAIN. */
void endpoint_close(struct endpoint *e);

/*
 * The device moves one word, 4-byte aligned; faults it in if it must.  Words
 * that are written are not 0.  0; -EFAULT: it may not; -EIO: it has failed;
 * -EAGAIN.  Any thread that may sleep; may wait for the kernel's fault path,
 * so hold no lock that this takes.
 */
must_check int endpoint_read(struct endpoint *e, iova_t va, uint32_t *word);
must_check int endpoint_write(struct endpoint *e, iova_t va, uint32_t word);

/* Ask for n pages (at most 16) in one group, whether they are there or not. */
must_check int endpoint_ask(struct endpoint *e, iova_t va, unsigned n,
			    bool write);

/* The same in two halves, so that others can run in between. */
void endpoint_begin(struct endpoint *e, struct endpoint_job *job);
must_check int endpoint_end(struct endpoint *e, struct endpoint_job *job);

/*
 * One attempt from the calling thread, and no fault: did the word move?  What
 * the device can do right now.  Not while the endpoint itself works.
 */
bool endpoint_reaches(struct endpoint *e, iova_t va, uint32_t *word,
		      bool write);

/* For stand.c. */
void endpoints_release(void);
