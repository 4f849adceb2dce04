/* SPDX-License-Identifier: MIT */
/*
 * log_ring.h - the two rings that the IOMMU writes: events and page requests
 *
 * 48882, sections 2.5 and 2.6.  Both work alike: the IOMMU advances tail, the
 * kernel advances head, and a full ring stops logging until it is restarted.
 * Devices decide what is in a page request: an entry is read once, into a copy.
 */
#pragma once

#include "iommu/hw/log_entry.h"
#include "iommu/hw/port.h"
#include "iommu/hw/regs.h"
#include "mm/frame/page.h"
#include <stdatomic.h>

#define LOG_MIN_BITS 8

/* The registers and bits of one of the two logs. */
struct log_kind {
	const char *name;
	unsigned base, head, tail;             /* registers          */
	uint64_t overflow, interrupt, run;     /* in REG_STATUS      */
	uint64_t log_enable, interrupt_enable; /* in REG_CONTROL     */
};

extern const struct log_kind log_events, log_requests;

/* Handle a copy of one entry; called in order.  Context: log_drain()'s. */
typedef void log_handler(const struct log_entry *entry, void *arg);

/*
 * Key: (I) after log_start()  (D) the one thread that drains  (A) atomic
 * entries and restarts may be read at any time with READ_ONCE().
 */
struct iommu_log {
	const struct log_kind *kind;   /* (I)                               */
	const struct iommu_port *port; /* (I)                               */
	struct page *pages;            /* (I)                               */
	struct log_entry *ring;        /* (I) the IOMMU writes it           */
	unsigned size;                 /* (I) bytes                         */
	log_handler *handler;          /* (I)                               */
	log_handler
		*early; /* (I) called before the slot is given back; or NULL */
	void (*restarted)(void *arg); /* (I) called after a loss; or NULL  */
	void *arg;                    /* (I) of the three                  */
	unsigned head;    /* (D) as in its register, at each write of that    */
	uint64_t entries; /* (D) statistics: entries handled              */
	uint64_t restarts;   /* (D) ... restarts after overflows             */
	uint64_t lost;       /* (D) ... slots that tail passed, never filled */
	uint64_t overflowed; /* (D) when it overflowed, in ns; 0: it runs  */
	bool run_stays; /* (D) its run bit does not fall on an overflow    */
	bool dead;      /* (D) it cannot be restarted                      */
	/* (A) counts stops and starts: odd while it is off after an overflow */
	_Atomic unsigned generation;
};

/*
 * Allocate 2^bits entries and set the registers; pending bits of an earlier log
 * are cleared.  Returns 0, -ENOMEM with nothing changed, or -EIO if the IOMMU does
 * not take the base: call log_stop() then.  Context: may sleep; logging is off.
 */
must_check int log_start(struct iommu_log *log, const struct log_kind *kind,
			 const struct iommu_port *port, unsigned bits,
			 log_handler *handler, void *arg);

/* Free the memory, after logging was switched off in hardware. */
void log_stop(struct iommu_log *log);

/*
 * Call the handler for every entry up to the present tail, and restart the log if
 * it overflowed.  status: what REG_STATUS has just held.  Returns 0 if there was
 * nothing to do; otherwise more may be, if REG_STATUS has a bit of the log by now:
 * what comes later sets one, and interrupts.
 * Context: may sleep; one thread at a time (iommu->drain).
 */
unsigned log_drain(struct iommu_log *log, uint64_t status);

/*
 * Call fn for every entry in the ring, and leave the entries there.  fn may miss
 * what another CPU drains meanwhile: log->early has seen that entry.  Returns false
 * if an entry did not become visible in time.
 * Context: thread; spin locks may be held; fn may not sleep.
 */
must_check bool log_peek(struct iommu_log *log, log_handler *fn);

/*
 * Return the generation of the log, for log_lost_since(): true if an entry may have
 * been lost since then.  If false, log_peek() and log->early together have seen
 * every entry.  Context: any.
 */
static inline unsigned log_generation(struct iommu_log *log)
{
	return atomic_load(&log->generation);
}
bool log_lost_since(struct iommu_log *log, unsigned generation);
