/* SPDX-License-Identifier: MIT */
/*
 * iommu.h - one IOMMU: bring it up, say who may reach what, take it down
 *
 *   device table        65,536 entries, all of them "deny" from the first moment
 *   command ring        iommu/queue.h
 *   event log, PPR log  iommu/logs.h, drained by one thread
 *   domains             iommu/domain.h
 *
 * AMD I/O Virtualization Technology (IOMMU) Specification, 48882.  Several may
 * live at once (the machine's and strict models): nothing here is global but
 * iommu_machine().
 */
#pragma once

#include "iommu/alias.h"
#include "iommu/dte.h"
#include "iommu/logs.h"
#include "iommu/queue.h"
#include "kernel/list.h"
#include "kernel/thread.h"
#include "kernel/waitq.h"

#define DOMAIN_IDS 65536u

struct iommu_config {
	unsigned queue_bits; /* log2 of the command ring, 0: the least      */
	unsigned log_bits;   /* the same of both logs                       */
	bool np_cache;       /* it may keep that a page was not there       */
	uint16_t bad_ids;    /* bits that no domain's id may have           */
	/* Whose requests bear another's number; copied. */
	const struct iommu_alias *aliases;
	unsigned n_aliases;
};

/* A device behind this IOMMU that is not denied. */
struct attachment {
	uint16_t devid;
	unsigned flags; /* ATTACH_*                                         */
	bool itself;    /* (L) it was attached, not only its number used    */
	bool aliased;   /* (L) and is one of the users of its alias         */
	unsigned users; /* (L) others whose requests bear its number        */
	struct domain *domain;
	LIST_ENTRY(attachment) link;   /* iommu->attached                   */
	LIST_ENTRY(attachment) member; /* domain->members                   */
};

/*
 * Key: (I) from iommu_start() to iommu_stop()  (L) lock  (D) the worker
 *      (A) atomic
 */
struct iommu {
	struct iommu_port port;   /* (I)                                  */
	uint64_t efr;             /* (I) REG_EFR                          */
	bool np_cache;            /* (I) flush holes that became pages     */
	uint16_t bad_ids;         /* (L) bits that no domain's id may have */
	struct rwsem lock;        /* RANK_IOMMU: who is attached where    */
	struct page *table_pages; /* (I)                                  */
	struct dte *table;        /* (L) w[0] stored in one piece         */
	unsigned n_aliases;       /* (I)                                  */
	struct iommu_alias aliases[IOMMU_ALIASES]; /* (I)                 */
	struct page *empty; /* (I) the root of "deny"               */
	LIST_HEAD(, attachment) attached; /* (L)                            */
	uint64_t *ids;          /* (L) bit per domain id in use         */
	uint64_t *mute;         /* (A) bit per device: iommu/mute.h     */
	struct page *ids_pages; /* (I) of both                          */
	unsigned id_hint;       /* (L) where the next search begins     */
	struct command_queue queue;
	struct iommu_log events, requests;
	struct thread *worker; /* (I) drains the logs                  */
	struct waitq wake;
	_Atomic unsigned kicks;   /* interrupts not yet looked at         */
	_Atomic unsigned drained; /* the last kick that was looked at     */
	_Atomic bool stopping;
	log_handler *on_event;   /* (I) NULL: counted only                  */
	log_handler *on_request; /* (I) NULL: answered INVALID              */
	void (*on_lost)(void *arg); /* (I) page requests were lost; or NULL */
	void *on_arg;               /* (I)                                  */
};

/*
 * Take the IOMMU behind port into use: everything off, tables and rings set,
 * every device denied, everything cached forgotten, then on.  When it returns 0
 * no device reaches memory.  -ENOMEM, or -ETIMEDOUT if it does not answer; then
 * it is off and nothing is kept, unless it does not even stop: then what it may
 * still write is kept for ever.
 * Linux: early_enable_iommu().  Sleeping context; devices may be running.
 */
must_check int iommu_start(struct iommu *iommu, const struct iommu_port *port,
			   const struct iommu_config *config);

/*
 * Switch it off and give everything back (but what it may still write, if it does
 * not stop): from here on devices pass untranslated.  No domain exists any more.
 */
void iommu_stop(struct iommu *iommu);

/* There may be something in the logs.  Any context: what an interrupt does. */
void iommu_kick(struct iommu *iommu);

/* Wait until the worker has looked at the logs after now. */
void iommu_settle(struct iommu *iommu);

/* Who gets log entries, instead of the defaults.  Before they can come. */
void iommu_set_handlers(struct iommu *iommu, log_handler *event,
			log_handler *request, void (*lost)(void *arg),
			void *arg);

/* ---- the device table (for iommu/domain.c) ----------------------------- */

/*
 * Replace a device's entry and have the IOMMU forget the old one, and what it
 * caches of domain `old` (0: none), and the device too if the old entry let it
 * have a TLB of its own.  When it returns 0 no access of the device that begins
 * later uses the old entry or a translation of the old domain.
 * Context: the domain's lock held.
 */
must_check int iommu_set_dte(struct iommu *iommu, uint16_t devid,
			     struct dte dte, uint16_t old);

/* What the device's entry says now. */
struct dte iommu_get_dte(const struct iommu *iommu, uint16_t devid);

/* Under which other number the device's requests may come; its own: none. */
uint16_t iommu_alias(const struct iommu *iommu, uint16_t devid);

/* The deny entry. */
struct dte iommu_deny(const struct iommu *iommu);

/* ---- oracle ------------------------------------------------------------ */

/*
 * All 65,536 entries: each is the deny entry, or its device's domain's; and no
 * device is let reach anything but user memory (what is shared only to read),
 * pages of kind DMA, DMA_MEMORY, and addresses where there is no RAM; of these
 * not the interrupt controllers' and the IOMMU's own (invariant B35).  Returns
 * NULL, or what is wrong in words.  May sleep; one caller at a time.
 */
const char *iommu_check(struct iommu *iommu);

/* The machine's own, running; NULL if there is none. */
struct iommu *iommu_machine(void);

/* Take no ids with these bits for new domains of the machine's. */
void iommu_machine_avoid_ids(uint16_t bits);

/*
 * Bring up the machine's IOMMU.  Returns NULL, or why there is none in one
 * sentence.  Boot, after pci_init(), before any device may master the bus.
 */
struct ivrs;
const char *iommu_boot(const struct ivrs *ivrs);

/*
 * Take it down and bring it up again; while it is off no device is a bus master.
 * No domain exists.  Returns NULL, or what went wrong; then nobody is one.
 */
must_check const char *iommu_machine_restart(void);
