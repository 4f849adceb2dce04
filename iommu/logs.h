/* SPDX-License-Identifier: MIT */
/*
 * logs.h - the two rings that the IOMMU writes: events and page requests
 *
 * 48882, sections 2.5 and 2.6.  Both work alike: the IOMMU advances tail, we
 * advance head, and a full ring stops logging until it is restarted.  A page
 * request log holds what devices say: nothing in it is trusted or read twice.
 */
#pragma once

#include "iommu/log.h"
#include "iommu/port.h"
#include "iommu/regs.h"
#include "mm/page.h"
#include <stdatomic.h>

#define LOG_MIN_BITS 8

/* Which registers and bits one of the two has. */
struct log_kind {
	const char *name;
	unsigned base, head, tail;             /* registers          */
	uint64_t overflow, interrupt, run;     /* in REG_STATUS      */
	uint64_t log_enable, interrupt_enable; /* in REG_CONTROL     */
};

extern const struct log_kind log_events, log_requests;

/* Gets a copy of each entry, in order.  Context: who drains. */
typedef void log_handler(const struct log_entry *entry, void *arg);

/*
 * Key: (I) after log_start()  (D) who drains: one thread at a time
 */
struct iommu_log {
	const struct log_kind *kind;   /* (I)                               */
	const struct iommu_port *port; /* (I)                               */
	struct page *pages;            /* (I)                               */
	struct log_entry *ring;        /* (I) the IOMMU writes it           */
	unsigned size;                 /* (I) bytes                         */
	log_handler *handler;          /* (I)                               */
	log_handler *early; /* (I) sees each before its slot is given back  */
	void (*restarted)(void *arg); /* (I) entries were lost; or NULL    */
	void *arg;                    /* (I)                               */
	uint64_t entries;             /* (D) statistics, as the next       */
	uint64_t restarts;            /* (D) after overflows               */
	uint64_t lost;                /* (D) counted by tail, never seen   */
	bool dead;                    /* (D) it cannot be restarted        */
	_Atomic unsigned era; /* odd while it is off after an overflow     */
};

/* Memory for 2^bits entries, and the registers.  -ENOMEM, nothing changed. */
must_check int log_start(struct iommu_log *log, const struct log_kind *kind,
			 const struct iommu_port *port, unsigned bits,
			 log_handler *handler, void *arg);

/* Logging is off in hardware: give the memory back. */
void log_stop(struct iommu_log *log);

/*
 * One pass: hand every entry that is there to the handler, and restart the log
 * if it overflowed.  Returns 0 if there was nothing to do; else more may have
 * come meanwhile.  Context: a thread; one at a time.
 */
unsigned log_drain(struct iommu_log *log);

/*
 * Show fn every entry that is in the ring, and leave it there.  What another
 * CPU drains meanwhile fn may miss; log->early has seen it then.  Returns false
 * if an entry was counted and did not become visible.
 * Context: thread; spin locks may be held.
 */
must_check bool log_peek(struct iommu_log *log, log_handler *fn);

/*
 * Has an entry been lost since log_era() was era?  Until then log_peek() and
 * log->early have seen all.
 */
static inline unsigned log_era(struct iommu_log *log)
{
	return atomic_load(&log->era);
}
bool log_lost_since(struct iommu_log *log, unsigned era);
