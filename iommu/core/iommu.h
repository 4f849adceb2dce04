/* SPDX-License-Identifier: MIT */
/*
 * iommu.h - one IOMMU: bring it up, set its device table, take it down
 *
 *   device table        65,536 entries, all of them "deny" from the first moment
 *   command ring        iommu/hw/queue.h
 *   event log, PPR log  iommu/hw/log_ring.h, read by one thread at a time
 *   domains             iommu/core/domain.h
 *   interrupts          iommu/core/remap.h
 *
 * AMD I/O Virtualization Technology (IOMMU) Specification, 48882.  Several may
 * live at once (the machine's and strict models): nothing here is global but
 * iommu_machine().
 */
#pragma once

#include "iommu/core/ids.h"
#include "iommu/core/remap.h"
#include "iommu/hw/dte.h"
#include "iommu/hw/log_ring.h"
#include "iommu/hw/queue.h"
#include "kernel/list.h"
#include "kernel/thread.h"
#include "kernel/waitq.h"

#define DOMAIN_IDS 65536u

struct iommu_config {
	unsigned queue_bits; /* log2 of the command ring, 0: the least      */
	unsigned log_bits;   /* the same of both logs                       */
	bool np_cache;       /* it may cache entries that are not present   */
	uint16_t bad_ids;    /* bits that no domain's id may have           */
	uint8_t last_bus;    /* the last one that functions may be on       */
	uint64_t control;    /* CONTROL_FIRMWARE: how it is to use the bus  */
	/* What firmware says about numbers; the caller keeps it unchanged. */
	const struct iommu_ids *ids; /* NULL: all are covered             */
	const struct iommu_alias *aliases;
	unsigned n_aliases;
	const struct iommu_unity *unity;
	unsigned n_unity;
	/*
	 * remaps: only granted interrupts pass; if false, all of them do.
	 * ioapic: the number that the IOAPICs' messages bear.
	 * grants: may interrupt from the first moment.
	 */
	bool remaps;
	uint16_t ioapic;
	const struct irq_grant *grants;
	unsigned n_grants;
};

/*
 * A device table entry of this IOMMU that leads to a domain.
 * Key: (I) immutable  (L) iommu->lock  (D) domain->lock
 */
struct attachment {
	uint16_t devid; /* (I)                                              */
	unsigned flags; /* (D) ATTACH_*                                     */
	bool itself;    /* (L) it was attached, not only its number used    */
	bool aliased;   /* (L) it is one of the users of its alias          */
	unsigned users; /* (L) other members whose requests bear its number */
	struct domain *domain;       /* (I)                               */
	LIST_ENTRY(attachment) link; /* (L) iommu->attached               */
	LIST_ENTRY(attachment)
	member; /* (L|D) domain->members: both to write */
};

#define IOMMU_THREADS 5u

/* A thread of an IOMMU: iommu/core/threads.c. */
struct iommu_thread {
	struct iommu *iommu;   /* (I)                                       */
	struct thread *thread; /* (I) while it runs                         */
};

/*
 * Work that the logs bring, for the IOMMU's threads.  It lies in the client's object.
 * Key: (I) immutable  (A) atomic
 */
struct iommu_work {
	/* (I) Take a piece; NULL: none may be done now.  Context: about to sleep:
	 * no sleep, no wake-up of the IOMMU's threads. */
	void *(*take)(struct iommu_work *work);
	/* (I) Do it.  At least one of the threads is never in here. */
	void (*run)(struct iommu_work *work, void *piece);
	_Atomic unsigned ready; /* (A) pieces that wait; the client counts  */
};

/* Key: (I) from iommu_start() to iommu_stop()  (L) lock  (A) atomic */
struct iommu {
	struct iommu_port port;   /* (I)                                  */
	uint64_t efr;             /* (I) REG_EFR                          */
	bool np_cache;            /* (I) it caches entries not present    */
	uint16_t bad_ids;         /* (L) bits that no domain's id may have */
	unsigned devids;          /* (I) numbers [0, devids) may exist    */
	struct rwsem lock;        /* RANK_IOMMU: attachments, grants      */
	struct page *table_pages; /* (I)                                  */
	struct dte *table;        /* (L) w[0] stored in one piece         */
	const struct iommu_ids *firmware;  /* (I) of iommu_config.ids      */
	const struct iommu_alias *aliases; /* (I)                          */
	const struct iommu_unity *unity;   /* (I)                          */
	unsigned n_aliases, n_unity;       /* (I)                          */
	uint64_t control;   /* (I) CONTROL_FIRMWARE                 */
	struct page *empty; /* (I) the root of "deny"               */
	LIST_HEAD(, attachment) attached; /* (L)                            */
	bool remaps;     /* (I) interrupts pass by grants only        */
	uint16_t ioapic; /* (I) the number that IOAPICs' messages bear   */
	struct remap_grant grants[IRQ_GRANTS]; /* (L)                       */
	uint64_t *ids; /* (L) bit per domain id in use         */
	/* (A) bit per device: iommu/core/unresponsive.h */
	uint64_t *unresponsive;
	struct page *ids_pages;     /* (I) of both                          */
	unsigned id_hint;           /* (L) where the next search begins     */
	struct command_queue queue; /* has a lock of its own              */
	struct rwsem drain; /* RANK_LOGS: held to drain the two logs      */
	struct iommu_log events, requests; /* drain                       */
	struct iommu_thread threads[IOMMU_THREADS];
	_Atomic unsigned n_threads; /* (A) those from here on are to end   */
	struct waitq wake;          /* the threads                         */
	struct waitq settled;       /* iommu_settle()                      */
	_Atomic unsigned settling;  /* (A) threads that may wait in it     */
	_Atomic unsigned kicks;     /* (A) interrupts, and calls of kick   */
	_Atomic unsigned drained;   /* (A) kicks after which logs were read */
	_Atomic bool reading;       /* (A) one of the threads reads the logs */
	struct iommu_work *work;    /* (A) NULL: none                      */
	/* (A) of iommu_set_handlers(); NULL: counted, answered INVALID, none */
	log_handler *on_event, *on_request;
	void (*on_lost)(void *arg);
	void *on_arg;
};

/*
 * Take the IOMMU at port into use: switch it off, set tables and rings, deny every
 * device, switch off the exclusion range that firmware may have set, switch it on
 * and flush everything.  After 0 no device reaches memory.
 * -ENOMEM; -EPERM if the exclusion range cannot be switched off; -EIO if the IOMMU
 * does not take a base register (a message is printed); -ETIMEDOUT if it does not
 * answer.  On an error it is off and nothing is kept; if it does not stop, the
 * memory that it may still write is kept for ever.
 * Linux: early_enable_iommu().  Context: may sleep; devices may be running.
 */
must_check int iommu_start(struct iommu *iommu, const struct iommu_port *port,
			   const struct iommu_config *config);

/*
 * Switch it off and free its memory (except what it may still write, if it does
 * not stop): devices pass untranslated then.  No domain exists any more.
 * Context: may sleep.
 */
void iommu_stop(struct iommu *iommu);

/* ---- threads and logs: iommu/core/threads.c --------------------------------- */

/* Have a thread read the logs: what an interrupt does.  Context: any. */
void iommu_kick(struct iommu *iommu);

/* Have one more thread look for work.  Context: any. */
void iommu_wake(struct iommu *iommu);

/* Wait until the logs have been read once more.  Context: may sleep. */
void iommu_settle(struct iommu *iommu);

/* Set the handlers of log entries; NULL: the defaults.  The thread that reads the
 * logs calls them.  Context: one thread at a time, before such entries can come. */
void iommu_set_handlers(struct iommu *iommu, log_handler *event,
			log_handler *request, void (*lost)(void *arg),
			void *arg);

/* Make the wait queues, before the threads. */
void iommu_threads_init(struct iommu *iommu);

/*
 * Add n threads, and let all of them do this work too; NULL: none.  Returns 0, or
 * -ENOMEM with nothing added.  Context: may sleep; one call at a time.
 */
must_check int iommu_threads_add(struct iommu *iommu, unsigned n,
				 struct iommu_work *work);

/*
 * End all threads but the first `left` (0 or 1: the one that answers shows that it is
 * not at work), and take the work away.  From the return on no thread is in its
 * functions.  No piece waits or is being done.  Context as above.
 */
void iommu_threads_remove(struct iommu *iommu, unsigned left);

/* Return whether the thread is one of this IOMMU's.  Context: any. */
bool iommu_is_thread(const struct iommu *iommu, const struct thread *thread);

/* Handlers of the logs, and of a loss: for iommu_start(). */
void iommu_handle_event(const struct log_entry *entry, void *iommu);
void iommu_handle_request(const struct log_entry *entry, void *iommu);
void iommu_requests_lost(void *iommu);

/* ---- the device table (for iommu/core/domain.c) ----------------------------- */

/*
 * Replace a device's entry, except w[2], and flush: the entry, what is cached of
 * `domain`, which the device enters or leaves (0: none), and the device's own TLB
 * if the old entry let it have one and `answers` says that it answers.  After 0 no
 * access of the device that begins later uses the old entry or a translation of
 * before.  Returns 0 or -ETIMEDOUT.  48882, section 2.2.2.1.
 * Context: thread; the domain's lock held if there is a domain.
 */
must_check int iommu_set_dte(struct iommu *iommu, uint16_t devid,
			     struct dte dte, uint16_t domain, bool answers);

/* Read the device's entry. */
struct dte iommu_get_dte(const struct iommu *iommu, uint16_t devid);

/* Return the number that the device's requests may bear; its own if no other. */
uint16_t iommu_alias(const struct iommu *iommu, uint16_t devid);

/* True if this IOMMU translates the device's requests, according to firmware. */
bool iommu_covers(const struct iommu *iommu, uint16_t devid);

/*
 * Return the n-th range of memory that firmware wants this device (or its alias)
 * to reach, NULL past the last.
 */
const struct iommu_unity *iommu_unity(const struct iommu *iommu, uint16_t devid,
				      unsigned n);

/* Make the deny entry of a device that was granted no interrupt. */
struct dte iommu_deny(const struct iommu *iommu);

/* ---- checker ----------------------------------------------------------- */

/*
 * Check all 65,536 entries: each denies or leads to its device's domain, and lets
 * the interrupts pass that were granted (iommu/core/remap.h) and no other.  Check
 * all trees: no device reaches anything but user memory (shared pages only to
 * read), pages of kind DMA, DMA_MEMORY, and addresses without RAM, except those of
 * the interrupt controllers and of IOMMUs (invariant B35).
 * Returns NULL or a message.  Context: may sleep; one caller at a time.
 */
const char *iommu_check(struct iommu *iommu);

/* ---- the machine's IOMMUs ---------------------------------------------- */

/* Return the i-th IOMMU of the machine that runs; NULL past the last. */
struct iommu *iommu_machine_at(unsigned i);

/* Return the first of them; NULL if there is none. */
struct iommu *iommu_machine(void);

/* Return NULL if interrupts are remapped, or a message why they are not. */
const char *iommu_machine_no_remap(void);

/* Return the vector of the first IOMMU's own interrupt; 0: it has none. */
unsigned iommu_machine_vector(void);

/* Return the IOMMU that covers this device; NULL: none that runs does. */
struct iommu *iommu_of(uint16_t devid);

/* Give new domains of the machine's IOMMUs no ids with these bits.
 * Context: may sleep. */
void iommu_machine_avoid_ids(uint16_t bits);

/*
 * Bring up the machine's IOMMUs: those of segment 0 that cover a function found by
 * pci_init().  Prints which are left alone, and which functions no IOMMU covers.
 * Returns NULL, or a message if none runs.
 * Context: boot, after pci_init(), before any device may master the bus.
 */
struct ivrs;
struct acpi_madt;
const char *iommu_boot(const struct ivrs *ivrs, const struct acpi_madt *madt);

/*
 * Take the IOMMUs down and bring them up again; no device is a bus master while
 * one is off.  Returns NULL or a message: then no device is a bus master until a
 * later call succeeds, and until then granting and revoking an interrupt skips an
 * IOMMU that is off (drivers/irq_grant.h).
 * Context: may sleep; no domain exists, and no thread grants or revokes an
 * interrupt meanwhile.
 */
must_check const char *iommu_machine_restart(void);
