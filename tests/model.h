/* SPDX-License-Identifier: MIT */
/*
 * model.h - a strict AMD IOMMU in software, behind the driver's register port
 *
 * QEMU's device shows a missing flush but hides a flush of the wrong address:
 * it drops a whole domain for any range, knows no directory cache, and has done
 * every command when the doorbell returns.  This model reads document 48882 the
 * other way: whatever hardware may keep, it keeps, until a command names it
 * exactly; whatever may be late or out of order, is.
 *
 *   driver ── registers ──► ring ──► fetched ──► executed   (commands)
 *                                                   │ drops exactly what is
 *                                                   ▼ named
 *   device ── model_dma() ──► device TLB ─► IOTLB ─► directories ─► DTE ─► RAM
 *                                  on a miss of one the next is asked
 *
 * Time.  The model has no clock.  A doorbell only queues; what is queued is
 * done in steps, and a step is a read of REG_STATUS or a call of model_step():
 * a driver that polls its completion word must therefore read REG_STATUS
 * between two looks.  The mode says how much a step does.  Only InvTimeOut is
 * in the machine's time.
 *
 * Strictness.  Where the manual says "undefined" or "software must", the model
 * does the least useful thing and remembers a complaint in words: a driver that
 * is right never causes one.
 *
 * Locks: one spin lock (RANK_MODEL, interrupts off), taken by every function
 * here but model_create() and model_destroy(); so all of them may be called in
 * any context, under any lock of a lower rank.  No allocation after
 * model_create().  Callbacks run after that lock has been dropped, but still
 * under whatever the caller holds.
 */
#pragma once

#include <stddef.h>
#include "arch/compiler.h"
#include "arch/types.h"
#include "iommu/port.h"

struct model;

enum model_mode {
	/* Like QEMU: the doorbell returns when all is done. */
	MODEL_IMMEDIATE,
	/*
	 * In order; `delay` steps after it could have begun, all up to and
	 * including the next COMPLETION_WAIT is done at once.
	 */
	MODEL_DELAYED,
	/*
	 * After each `delay` idle steps one does one command, any one that may
	 * be done before those older than it: see model_cmd.c.
	 */
	MODEL_SHUFFLED,
	/* Fetches nothing, does nothing: an IOMMU that hangs. */
	MODEL_STOPPED,
};

/* What kind of IOMMU, and whom it tells; zeros are a plain one. */
struct model_config {
	const char *name;
	enum model_mode mode;
	unsigned delay; /* steps                                            */
	uint64_t seed;  /* of the shuffle and of evictions                  */
	uint64_t efr;   /* REG_EFR; 0: MODEL_EFR                            */
	/* Sizes of the caches, down to a power of 2; 0: as large as they get */
	unsigned iotlb, directories, dtes;
	/* Keep each 4 KiB of a larger leaf by itself, as QEMU does. */
	bool split;
	/* "NpCache": keep that a page is not present, too. */
	bool negative;
	/*
	 * An interrupt: one of STATUS_{EVENT_OVERFLOW, EVENT_INT, COMWAIT_INT,
	 * PPR_OVERFLOW, PPR_INT} became set and is enabled.  It does not come
	 * again while the bit stays set.  Post it (an IPI, a wake-up); do not
	 * handle it here.
	 */
	void (*interrupt)(void *ctx, uint64_t status_bit);
	/* COMPLETE_PPR_REQUEST arrived at the device. */
	void (*answer)(void *ctx, uint16_t devid, uint16_t tag,
		       unsigned status);
	/* A transfer is about to begin.  In the device's context, no lock. */
	void (*transfer)(void *ctx, uint16_t devid, iova_t iova, size_t len);
	void *ctx;
};

/* PPR, INVALIDATE_IOMMU_ALL, tables of up to 6 levels; no prefetch, no PASID */
#define MODEL_EFR UINT64_C(0x842)

/*
 * A model as after reset: all off, all caches empty.  NULL when there is no
 * memory.  Sleeping context.
 */
must_check struct model *model_create(const struct model_config *config);

/* No register access, DMA or query of it may run or follow. */
void model_destroy(struct model *m);

/* The driver's door to its registers; valid until model_destroy(). */
struct iommu_port model_port(struct model *m);

void model_set_mode(struct model *m, enum model_mode mode, unsigned delay);

/* Let time pass: n steps, as n reads of REG_STATUS would. */
void model_step(struct model *m, unsigned n);

/* Steps until nothing is left to do, at most `limit`; false: something is. */
bool model_drain(struct model *m, unsigned limit);

/* ---- devices ----------------------------------------------------------- */

/* Why a transfer ended where it did. */
enum model_verdict {
	MODEL_DONE,
	MODEL_FAULT,   /* no page, no right, reserved bits: see the event    */
	MODEL_ABORT,   /* no such memory, or the device table forbids it     */
	MODEL_REQUEST, /* ATS: not translated and nothing logged: ask by PPR */
};

/*
 * A device moves len bytes between its own buffer and iova (write: to memory),
 * page by page, each page's translation and bytes in one piece under the lock:
 * a completed COMPLETION_WAIT means that no byte goes the old way any more.
 * Returns the bytes moved before the first page that failed; *why (or NULL).
 */
size_t model_dma(struct model *m, uint16_t devid, iova_t iova, void *buf,
		 size_t len, bool write, enum model_verdict *why);

/* A device's own TLB (ATS), used by model_dma() as long as it is not NONE. */
enum model_ats {
	MODEL_ATS_NONE,
	MODEL_ATS_ON,   /* answers INVALIDATE_IOTLB_PAGES at once           */
	MODEL_ATS_MUTE, /* never answers: the command times out             */
};

/* At most MODEL_ATS_DEVICES; NONE empties the device's TLB. */
#define MODEL_ATS_DEVICES 8
void model_set_ats(struct model *m, uint16_t devid, enum model_ats ats);

/* A page request. */
struct model_ppr {
	uint16_t devid;
	uint16_t tag; /* group, 0..511                                      */
	bool last;    /* of its group: wants an answer                      */
	bool read, write, exec, user;
	bool gn;        /* pasid counts                                     */
	uint32_t pasid; /* 20 bits                                          */
	iova_t iova;
};

/*
 * The device sends a page request: log entry, tail, status, interrupt.  False:
 * lost, because the log is full, stopped or off, or the DTE forbids requests
 * (then there is an event).
 */
bool model_page_request(struct model *m, const struct model_ppr *ppr);

/* Requests with `last` that no COMPLETE_PPR_REQUEST has answered yet. */
unsigned model_unanswered(struct model *m);

/* ---- faults in the hardware itself, for tests of the driver ------------- */

/*
 * Log entries appear `delay` steps after the tail that counts them (an erratum
 * of real parts): until then their slot reads as it was.  0: at once.
 */
void model_set_log_delay(struct model *m, unsigned delay);

/*
 * A page request as it stands in the log, whatever it says; one of kind 1 with
 * the last flag wants an answer.  False: lost.
 */
bool model_log_request(struct model *m, uint64_t w0, uint64_t w1);

/* An event as the hardware would log it. */
void model_log_event(struct model *m, uint64_t w0, uint64_t w1);

/* ---- oracles ----------------------------------------------------------- */

/*
 * Does any cache (IOTLB, device TLBs) still lead to a byte of the frame?  Then
 * it must not be freed.  If so, which one goes to words (len > 0, or NULL).
 */
bool model_names_frame(struct model *m, pa_t frame, char *words, size_t len);

/* The same for a page table page: directory cache and roots of cached DTEs. */
bool model_names_table(struct model *m, pa_t table, char *words, size_t len);

/*
 * Either, or that the IOMMU itself may still touch the page (a ring, the device
 * table, a completion word that is late), in any model that lives: what the
 * freeing of a page asks.
 */
bool model_any_names(pa_t page, char *words, size_t len);

/*
 * Everything cached is what memory says now: DTEs are equal, directories lead
 * where they would, translations reach the same frame with no more rights.
 * True when no flush is outstanding.
 */
bool model_coherent(struct model *m, char *words, size_t len);

/* One cached translation; prot: a set of enum prot (mm/pt.h). */
struct model_entry {
	bool device_tlb; /* else the IOTLB                                  */
	uint16_t tag;    /* of the IOTLB: domain; of a device TLB: devid    */
	uint8_t shift;   /* log2 of the size                                */
	uint8_t prot;
	iova_t iova;
	pa_t pa;
};

/* The translation cached for a page; false: none. */
bool model_lookup(struct model *m, bool device_tlb, uint16_t tag, iova_t iova,
		  struct model_entry *out);

/* Every cached translation, under the model's lock: fn must not come back. */
void model_each(struct model *m, void (*fn)(const struct model_entry *, void *),
		void *arg);

/* The last complaint since the last call, or NULL; how many in stats. */
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
	uint64_t complaints;
};

void model_stats(struct model *m, struct model_stats *out);

/* Print registers, rings, caches and counters in words. */
void model_dump(struct model *m);
