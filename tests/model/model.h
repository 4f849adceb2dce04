/* SPDX-License-Identifier: MIT */
/*
 * model.h - a strict AMD IOMMU in software, below the driver's register port
 *
 * QEMU's device shows a missing flush but hides a flush of the wrong address:
 * it drops a whole domain for any range, has no directory cache, and has
 * executed every command when the doorbell returns.  This model takes the
 * other reading of document 48882: what hardware may cache stays cached until
 * a command names it exactly, and what hardware may do late or out of order is
 * done so.  README.md in this folder is its manual.
 *
 *   driver ── registers ──► ring ──► fetched ──► executed   (commands)
 *                                                   │ drops exactly what is
 *                                                   ▼ named
 *   device ── model_dma() ──► device TLB ─► IOTLB ─► directories ─► DTE ─► RAM
 *                                  a miss in one asks the next
 *
 * Time.  The model has no clock.  A doorbell only queues commands.  They are
 * executed in steps; a step is a read of REG_STATUS or a call of model_step().
 * A driver that polls its completion word must therefore read REG_STATUS in its
 * loop.  The mode says how much one step does.  Only InvTimeOut is measured in
 * the machine's time.
 *
 * Strictness.  Where the manual says "undefined" or "software must", the model
 * does the least useful thing and records a complaint (an error message).  A
 * correct driver never causes one.
 *
 * Locks: one spin lock (RANK_MODEL, interrupts off).  Every function here takes
 * it but model_create() and model_destroy(), so all others may be called in any
 * context, under any lock of a lower rank.  Nothing is allocated after
 * model_create().  Callbacks run after that lock has been dropped, but still
 * under the locks of the model's caller.
 */
#pragma once

#include <stddef.h>
#include "arch/compiler.h"
#include "arch/types.h"
#include "iommu/hw/port.h"

struct model;

enum model_mode {
	/* Like QEMU: the doorbell returns when all commands are done. */
	MODEL_IMMEDIATE,
	/*
	 * In order.  `delay` steps after it could have begun, everything up to
	 * and including the next COMPLETION_WAIT is done at once.
	 */
	MODEL_DELAYED,
	/*
	 * After each `delay` idle steps, one step does one command: any one
	 * that the manual allows to be done before the older ones
	 * (model_cmd.c).
	 */
	MODEL_SHUFFLED,
	/* Fetches nothing and does nothing: an IOMMU that hangs. */
	MODEL_STOPPED,
};

/* The kind of IOMMU, and its callbacks.  All zeros: a plain one. */
struct model_config {
	const char *name;
	enum model_mode mode;
	unsigned delay; /* steps                                            */
	uint64_t seed;  /* of the shuffle and of evictions                  */
	uint64_t efr;   /* REG_EFR; 0: MODEL_EFR                            */
	/* Sizes of the caches, rounded down to a power of 2; 0: the maximum. */
	unsigned iotlb, directories, dtes;
	/*
	 * Cache each 4 KiB of a larger leaf as an entry of its own, as QEMU
	 * does.
	 */
	bool split;
	/*
	 * A command leaves a cached leaf that is larger than the range that it
	 * names: what hardware does with such a command is not assumed.
	 */
	bool whole;
	/* Like NpCache: cache also that a page is not present. */
	bool negative;
	/*
	 * As QEMU 11.1: INVALIDATE_IOMMU_ALL keeps entries of the device table,
	 * and EventLogRun stays set after an overflow.
	 */
	bool all_keeps_dtes, runs_full;
	/*
	 * Called for an interrupt: one of STATUS_{EVENT_OVERFLOW, EVENT_INT,
	 * COMWAIT_INT, PPR_OVERFLOW, PPR_INT} became set and is enabled.  It is
	 * not called again while the bit stays set.  Post the interrupt (an
	 * IPI, a wake-up); do not handle it here.
	 */
	void (*interrupt)(void *ctx, uint64_t status_bit);
	/* Called when COMPLETE_PPR_REQUEST arrives at the device. */
	void (*answer)(void *ctx, uint16_t devid, uint16_t tag,
		       unsigned status);
	/*
	 * Called before a transfer, in the device's context, without the lock.
	 */
	void (*transfer)(void *ctx, uint16_t devid, iova_t iova, size_t len);
	void *ctx;
};

/* PPR, INVALIDATE_IOMMU_ALL, tables of up to 6 levels; no prefetch, no PASID */
#define MODEL_EFR UINT64_C(0x842)

/*
 * Return a model in the state after reset: everything off, all caches empty.
 * NULL if there is no memory.  Sleeping context.
 */
must_check struct model *model_create(const struct model_config *config);

/* Destroy the model.  No register access, DMA or query may run or follow. */
void model_destroy(struct model *m);

/* Return the register port for the driver; valid until model_destroy(). */
struct iommu_port model_port(struct model *m);

void model_set_mode(struct model *m, enum model_mode mode, unsigned delay);

/* Let time pass: n steps, as n reads of REG_STATUS would. */
void model_step(struct model *m, unsigned n);

/*
 * Step until nothing is left to do, at most `limit` times.  False: work is
 * left.
 */
bool model_drain(struct model *m, unsigned limit);

/* ---- devices ----------------------------------------------------------- */

/* How a transfer ended. */
enum model_verdict {
	MODEL_DONE,
	MODEL_FAULT,   /* no page, no right, reserved bits: see the event    */
	MODEL_ABORT,   /* no such memory, or the device table forbids it     */
	MODEL_REQUEST, /* ATS: not translated, not logged: use PPR */
};

/*
 * Let a device move len bytes between its own buffer and iova (write: to
 * memory), page by page.  The translation and the bytes of one page are one
 * step under the lock, so after a completed COMPLETION_WAIT no byte uses an
 * older translation. Returns the bytes moved before the first page that failed,
 * and the reason in *why (may be NULL).
 */
size_t model_dma(struct model *m, uint16_t devid, iova_t iova, void *buf,
		 size_t len, bool write, enum model_verdict *why);

/*
 * A message-signalled interrupt: a device's write of 4 bytes to FEEx_xxxxh is
 * an interrupt and not memory.  model_dma() turns such writes into messages,
 * and stops at the first that is refused.
 */
struct model_message {
	uint64_t address;
	uint32_t data;
};

/* What a local APIC receives; type as in bits 10:8 of a message's data. */
struct model_interrupt {
	uint8_t vector, type;
	bool logical;
	uint32_t dest;
};

/*
 * Send a message.  MODEL_DONE: it arrives as *out (may be NULL).  MODEL_FAULT:
 * refused, see the event.  MODEL_ABORT: the device table entry is illegal or
 * missing.
 */
enum model_verdict model_message(struct model *m, uint16_t devid,
				 struct model_message message,
				 struct model_interrupt *out);

/* A device's own TLB (ATS).  model_dma() uses it unless it is NONE. */
enum model_ats {
	MODEL_ATS_NONE,
	MODEL_ATS_ON, /* answers INVALIDATE_IOTLB_PAGES at once           */
	MODEL_ATS_UNRESPONSIVE, /* never answers: commands time out      */
};

/*
 * Set the kind of the device's TLB; NONE also empties it.  At most
 * MODEL_ATS_DEVICES devices have one.
 */
#define MODEL_ATS_DEVICES 8
void model_set_ats(struct model *m, uint16_t devid, enum model_ats ats);

/* A page request. */
struct model_ppr {
	uint16_t devid;
	uint16_t tag; /* group, 0..511                                      */
	bool last;    /* of its group: requires an answer                   */
	bool read, write, exec, user;
	bool gn;        /* pasid is valid                                   */
	uint32_t pasid; /* 20 bits                                          */
	iova_t iova;
};

/*
 * Let the device send a page request: log entry, tail, status, interrupt.
 * False: the request is lost, because the log is full, stopped or off, or
 * because the DTE forbids requests (then there is an event).
 */
bool model_page_request(struct model *m, const struct model_ppr *ppr);

/*
 * Return how many requests with `last` no COMPLETE_PPR_REQUEST has answered
 * yet.
 */
unsigned model_unanswered(struct model *m);

/* ---- faults in the hardware itself, for tests of the driver ------------ */

/*
 * Let log entries appear `delay` steps after the tail that counts them (an
 * erratum of real parts).  Until then a slot reads as before.  0: at once.
 */
void model_set_log_delay(struct model *m, unsigned delay);

/*
 * Write a page request into the log as given, valid or not.  One of kind 1 with
 * the last flag requires an answer.  False: it is lost.
 */
bool model_log_request(struct model *m, uint64_t w0, uint64_t w1);

/* Log an event as the hardware would. */
void model_log_event(struct model *m, uint64_t w0, uint64_t w1);

/* ---- checks ------------------------------------------------------------ */

/*
 * Return whether a cache (IOTLB or device TLB) still translates to a byte of
 * the frame; then the frame must not be freed.  A description of the entry goes
 * to text (len > 0; may be NULL).
 */
bool model_names_frame(struct model *m, pa_t frame, char *text, size_t len);

/* The same for a page-table page: directory cache and roots of cached DTEs. */
bool model_names_table(struct model *m, pa_t table, char *text, size_t len);

/*
 * Ask every live model: either of the two, or may the IOMMU itself still access
 * the page (a ring, the device table, the word of an unfinished
 * COMPLETION_WAIT)? The check that every freed page must pass.
 */
bool model_any_names(pa_t page, char *text, size_t len);

/*
 * Return whether everything cached is what memory says now: cached DTEs equal
 * those in memory, directories are those of a walk, translations reach the same
 * frame with no more rights.  True whenever no flush is outstanding.
 */
bool model_coherent(struct model *m, char *text, size_t len);

/* One cached translation; prot: a set of enum prot (mm/pt/pt.h). */
struct model_entry {
	bool device_tlb; /* else the IOTLB                                  */
	uint16_t tag;    /* of the IOTLB: domain; of a device TLB: devid    */
	uint8_t shift;   /* log2 of the size                                */
	uint8_t prot;
	iova_t iova;
	pa_t pa;
};

/* Find the translation cached for a page; false if there is none. */
bool model_lookup(struct model *m, bool device_tlb, uint16_t tag, iova_t iova,
		  struct model_entry *out);

/*
 * Call fn for each cached translation, under the model's lock: fn must not call
 * the model.  Delivers nothing; the caller may hold that lock (a probe of the model).
 */
void model_each(struct model *m, void (*fn)(const struct model_entry *, void *),
		void *arg);

/*
 * Return the last complaint since the last call, or NULL.  Their number is in
 * model_stats.
 */
const char *model_complaint(struct model *m);

struct model_stats {
	uint64_t steps;
	uint64_t dma_bytes, dma_faults;
	uint64_t dma_freed;  /* pages of a transfer that were free frames    */
	uint64_t walk_freed; /* entries read in tables that were free frames */
	uint64_t device_hits, device_misses; /* device TLBs                 */
	uint64_t hits, misses;               /* IOTLB                       */
	uint64_t dte_hits, dte_reads;
	uint64_t directory_hits; /* walks that began below the root         */
	uint64_t walks;
	uint64_t walk_reads[7]; /* entries read, by level 1..6              */
	uint64_t fetched;       /* commands                                 */
	uint64_t commands[16];  /* done, by enum command_op                 */
	uint64_t early; /* done before an older command (shuffle)           */
	/* dropped by commands, whole entries */
	uint64_t dropped, dropped_directories, dropped_dtes, dropped_device;
	uint64_t events[16]; /* logged, by enum event_type                  */
	uint64_t events_lost, events_suppressed;
	uint64_t pprs, pprs_lost, answers;
	uint64_t interrupts;
	uint64_t messages, remapped, messages_refused, dropped_irtes;
	uint64_t complaints;
};

void model_stats(struct model *m, struct model_stats *out);

/* Print registers, rings, caches and counters. */
void model_dump(struct model *m);
