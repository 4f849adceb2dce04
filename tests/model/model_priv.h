/* SPDX-License-Identifier: MIT */
/*
 * model_priv.h - the inside of the strict IOMMU, for tests/model/ only
 *
 * The layouts of commands, DTEs, entries and log records are defined here a
 * second time, from the manual and not from iommu/.  An error in one of the two
 * readings then fails a test and does not cancel out.  Registers are shared.
 *
 *   model.c        creation, lock, steps, modes
 *   model_regs.c   effect of a read and a write of a register
 *   model_cmd.c    fetching, order and effect of commands
 *   model_walk.c   memory, device table, page walk
 *   model_irq.c    devices: messages, interrupt remapping tables
 *   model_dma.c    devices: transfers, their own TLBs, page requests
 *   model_cache.c  the caches: IOTLB, directories, device TLBs; cached DTEs
 *   model_log.c    event and page request logs, status bits, interrupts
 *   model_query.c  checks, counters, dump
 *
 * All functions here require m->lock unless their comment says otherwise.
 */
#pragma once

#include "arch/bits.h"
#include "iommu/hw/regs.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/rand.h"
#include "tests/model/model.h"

/* ---- caches ------------------------------------------------------------ */

#define IOTLB_MAX     4096u
#define DIRECTORY_MAX 1024u
#define DEVICE_MAX    2048u /* entries of all device TLBs together           */
#define DTE_MAX       64u
#define FILTER        4096u

/*
 * The rights that an entry grants, in the low bits of its value (as in
 * mm/pt/pt.h).
 */
#define MAY_READ   BIT(0)
#define MAY_WRITE  BIT(1)
#define MAY        (MAY_READ | MAY_WRITE)
#define IS_ABSENT  BIT(2) /* a cached "not present" (NpCache)                */
#define VALUE_PAGE GENMASK(51, 12)

/* [base, base + 2^shift) of tag translates to value; shift 0: a free slot. */
struct cached {
	uint64_t base, value;
	uint16_t tag, next; /* in its bucket, or in the free list           */
	uint8_t shift;
};

struct cache {
	struct cached *e;
	uint16_t *bucket;
	unsigned size, buckets, live;
	uint16_t free;
	bool tables;    /* values are table pages, whatever the shift       */
	bool whole;     /* a range drops no entry that is larger            */
	uint64_t sizes; /* bit s: entries of 2^s bytes exist                */
	uint16_t of_size[64];
	uint16_t filter[FILTER]; /* entries that name one page, by its hash */
	unsigned large;          /* entries that name more than one page    */
};

#define NO_SLOT UINT16_MAX

/* A power of two of bytes; shift 64: everything. */
struct range {
	uint64_t base;
	unsigned shift;
};

static inline bool range_meets(struct range r, uint64_t base, unsigned shift)
{
	unsigned widest = r.shift > shift ? r.shift : shift;

	return widest >= 64 || !((r.base ^ base) >> widest);
}

/* Place a cache of `size` entries at p; returns the address past it. */
void *cache_init(struct cache *c, void *p, unsigned size);
size_t cache_bytes(unsigned size);

/* Find the entry of exactly this size, or of the smallest that covers iova. */
struct cached *cache_find(struct cache *c, uint16_t tag, uint64_t iova,
			  unsigned shift);
struct cached *cache_lookup(struct cache *c, uint16_t tag, uint64_t iova);

/* Insert an entry.  If the cache is full a random one is evicted. */
void cache_insert(struct cache *c, struct rng *rng, uint16_t tag, uint64_t iova,
		  unsigned shift, uint64_t value);

/* Drop the entries that meet the range; returns their number. */
unsigned cache_drop(struct cache *c, uint16_t tag, struct range r);
unsigned cache_drop_tag(struct cache *c, uint16_t tag);
unsigned cache_drop_all(struct cache *c);

/* Return an entry whose value lies in the page, or NULL. */
const struct cached *cache_names(const struct cache *c, pa_t page);

/* Iterate over all live entries: for (e = NULL; (e = cache_next(c, e));) */
const struct cached *cache_next(const struct cache *c, const struct cached *e);

/* One cached entry of an interrupt remapping table, of 32 bits or of 128. */
#define IRTE_MAX 64u

struct cached_irte {
	uint64_t w[2];
	pa_t at;
	unsigned index;
	uint16_t devid;
};

struct cached_dte {
	uint64_t w[4];
	uint16_t devid;
	bool faulted; /* SE: one fault was logged                           */
};

/* ---- rings and logs ---------------------------------------------------- */

struct log {
	uint64_t base, head, tail; /* registers                             */
	bool stopped;              /* overflowed: LogEn 0, then 1           */
};

/* A log record that is not yet visible in memory. */
struct late_record {
	pa_t at;
	uint64_t w[2], due; /* due: in steps                                */
};

#define QUEUE_MAX  64u /* commands fetched and not yet done                */
#define LATE       64u
#define ANSWERS    64u
#define GROUPS     256u
#define COMPLAINTS 120u

struct fetched {
	uint64_t w[2];
	pa_t at;
	uint64_t deadline; /* when it times out; 0: not yet started         */
};

struct ppr_answer {
	uint16_t devid, tag;
	unsigned status;
};

#define PROCESS BIT(20)

struct ppr_group {
	uint16_t devid, tag;
	unsigned open; /* outstanding answers                               */
	uint32_t process; /* PASID; PROCESS set if there is one             */
};

struct ats_device {
	uint16_t devid;
	enum model_ats ats;
};

struct model {
	struct spinlock lock; /* RANK_MODEL: everything below               */
	struct model_config config;
	SLIST_ENTRY(model) others;
	unsigned order; /* of the memory that holds the model               */

	uint64_t control, status, dev_table, efr;
	uint64_t exclusion, exclusion_last; /* registers 20h and 28h        */
	struct log cmd, event, ppr; /* cmd.stopped: halted by an error      */

	struct fetched queue[QUEUE_MAX]; /* oldest first                      */
	unsigned in_queue;
	unsigned waited; /* steps since something could have been done      */
	struct rng rng;

	struct cache iotlb, directories, device_tlb;
	struct cached_dte dtes[DTE_MAX];
	unsigned dte_size, dte_live; /* the first dte_live are in use       */
	struct cached_irte irtes[IRTE_MAX];
	unsigned irte_live;
	struct ats_device ats[MODEL_ATS_DEVICES];

	unsigned log_delay;
	struct late_record late[LATE];
	unsigned in_late;
	struct ppr_group groups[GROUPS];

	uint64_t raise; /* status bits to deliver after the unlock          */
	struct ppr_answer answers[ANSWERS];
	unsigned in_answers;

	struct model_stats stats;
	char complaint[COMPLAINTS];
	bool complained;
};

/* Lock.  Unlock, then deliver the interrupts and answers that are pending. */
uint64_t model_enter(struct model *m);
void model_leave(struct model *m, uint64_t flags);

/* Record an error of the driver. */
void complain(struct model *m, const char *fmt, ...) printf_like(2, 3);

/* ---- model_log.c ------------------------------------------------------- */

/*
 * Return the size in bytes of a ring by its base register; 0: an illegal
 * length.
 */
uint64_t ring_bytes(uint64_t base);
/* Set a status bit.  Interrupts if the bit is new and enabled. */
void status_raise(struct model *m, uint64_t bit);
/*
 * Return whether this value of CONTROL enables the interrupt of the status bit.
 */
bool may_interrupt(uint64_t control, uint64_t status_bit);
bool event_running(const struct model *m);
bool ppr_running(const struct model *m);
void event_log(struct model *m, uint64_t w0, uint64_t w1);
bool ppr_log(struct model *m, uint64_t w0, uint64_t w1);
/* Make the records that are due (or all) visible in memory. */
void late_arrive(struct model *m, bool all);

#define EVENT(type, devid) ((uint64_t)(type) << 60 | (devid))
#define EV_ILLEGAL_DTE     1
#define EV_PAGE_FAULT      2
#define EV_DEV_TAB_HW      3
#define EV_PAGE_TAB_HW     4
#define EV_ILLEGAL_COMMAND 5
#define EV_COMMAND_HW      6
#define EV_INV_TIMEOUT     7
#define EV_BAD_REQUEST     8
#define EV_BAD_PPR         9
#define EV_PRESENT         BIT(52)
#define EV_WRITE           BIT(53)
#define EV_RIGHTS          BIT(54)
#define EV_RESERVED        BIT(55)
#define EV_TRANSLATION     BIT(56)
#define EV_DOMAIN(d)       ((uint64_t)(d) << 32)

/* ---- model_walk.c ------------------------------------------------------ */

#define EXCLUSION_ON  BIT(0) /* register 20h                              */
#define EXCLUSION_ALL BIT(1)
#define DTE1_EXCLUDED BIT(40)

/*
 * Return whether a bus master reaches this address as RAM: neither the kernel's
 * image nor reserved.
 */
bool ram_at(pa_t pa);
bool ram_read(pa_t pa, uint64_t *out);
bool ram_write(pa_t pa, uint64_t v);
/* Return whether the frame is free now (pa must be RAM). */
bool ram_is_free(pa_t pa);

enum access {
	ACCESS_READ = MAY_READ,
	ACCESS_WRITE = MAY_WRITE,
	ACCESS_ATS = 0, /* a translation request: no event for a fault       */
};

enum walk_end {
	WALK_LEAF,
	WALK_ABSENT,
	WALK_RESERVED, /* reserved bits are set, or an illegal level        */
	WALK_NO_RAM,
};

struct walk {
	uint64_t value; /* page | rights of the levels, for WALK_LEAF       */
	uint8_t shift;  /* log2 of what the leaf covers                     */
	pa_t at;        /* WALK_NO_RAM: the entry's address                 */
	/* by level: table | rights; 0 where the walk did not pass */
	uint64_t table[7];
};

/* Walk from the root without any cache and without counting. */
enum walk_end walk_plain(const uint64_t dte[4], uint64_t iova, struct walk *w);

/*
 * Return the DTE as the IOMMU sees it: the cached one, else read and cached.
 * NULL: an event was logged.
 */
struct cached_dte *dte_get(struct model *m, uint16_t devid, enum access a);
/* Read the DTE from memory. */
bool dte_read(struct model *m, uint16_t devid, uint64_t w[4]);
void dte_drop(struct model *m, uint16_t devid);
/*
 * Return whether the IOMMU accepts pretranslated addresses of the device.  If
 * not, entries of the device's TLB have no effect.
 */
bool dte_allows_tlb(struct model *m, uint16_t devid);

/* The result of a translation request.  Logs the event if it fails. */
struct translation {
	enum model_verdict verdict;
	pa_t pa;
	unsigned shift;  /* valid within pa's page                          */
	uint64_t rights; /* MAY_*                                           */
};

struct translation translate(struct model *m, uint16_t devid, uint64_t iova,
			     enum access a);

#define DTE0_VALID    BIT(0)
#define DTE0_TVALID   BIT(1)
#define DTE0_LEVELS   GENMASK(11, 9)
#define DTE0_TABLE    GENMASK(51, 12)
#define DTE0_REQUESTS BIT(52)
#define DTE0_GUEST    BIT(55)
#define DTE0_MAY_R    BIT(61)
#define DTE0_MAY_W    BIT(62)
#define DTE0_ZERO     (GENMASK(6, 2) | BIT(63))
#define DTE1_DOM      GENMASK(15, 0)
#define DTE1_TLB      BIT(32)
#define DTE1_ONE      BIT(33) /* SE: log the first fault only              */
#define DTE1_NONE     BIT(34) /* SA: log no fault                          */

static inline uint16_t dte_domain(const uint64_t w[4])
{
	return (uint16_t)FIELD_GET(DTE1_DOM, w[1]);
}

static inline uint64_t dte_rights(const uint64_t w[4])
{
	return (w[0] & DTE0_MAY_R ? MAY_READ : 0) |
	       (w[0] & DTE0_MAY_W ? MAY_WRITE : 0);
}

/* ---- model_irq.c ------------------------------------------------------- */

/* Return whether a write to this address is a message. */
bool is_message(uint64_t iova);
/* Judge and deliver a message; out may be NULL. */
enum model_verdict message(struct model *m, uint16_t devid,
			   struct model_message msg,
			   struct model_interrupt *out);
void irtes_drop(struct model *m, uint16_t devid);
void irtes_drop_all(struct model *m);
/* Return whether the cached entry equals the one in memory. */
bool irte_true(struct model *m, const struct cached_irte *e);
/* Return whether the DTE points to an interrupt table that meets the page. */
bool dte_has_irtes(const struct model *m, const struct cached_dte *d,
		   pa_t page);

/* ---- model_cmd.c ------------------------------------------------------- */

bool cmd_running(const struct model *m);
/* Fetch commands while there is room; an illegal command halts the ring. */
void cmd_fetch(struct model *m);
/*
 * Do one command if the mode's order allows one.  False: nothing can be done
 * now.
 */
bool cmd_do_first(struct model *m);
bool cmd_do_any(struct model *m);
/* Return whether the oldest fetched command is a COMPLETION_WAIT. */
bool cmd_at_wait(const struct model *m);
/* Return whether a fetched COMPLETION_WAIT will store into the page. */
bool cmd_stores_to(const struct model *m, pa_t page);
/*
 * Decode the address range of an invalidation's second word.  Bit 0 (S): the
 * lowest zero bit k from bit 12 up means 2^(k + 1) bytes; else one page.
 */
struct range range_of(uint64_t w1);

/* ---- model.c, model_dma.c ---------------------------------------------- */

/* Do one step; in immediate mode, everything. */
void step(struct model *m);
/* React to the doorbell, or to the ring being enabled. */
void doorbell(struct model *m);
enum model_ats ats_of(const struct model *m, uint16_t devid);
void group_close(struct model *m, uint16_t devid, uint16_t tag,
		 uint32_t process);

/* ---- model_query.c, model_regs.c --------------------------------------- */

bool names_frame(struct model *m, pa_t frame, char *text, size_t len);
bool names_table(struct model *m, pa_t table, char *text, size_t len);
/* Is there a cached interrupt entry that was read from this page? */
bool names_irte(struct model *m, pa_t page, char *text, size_t len);
/* Rings, device table, completion words of unfinished COMPLETION_WAITs. */
bool names_own(struct model *m, pa_t page, char *text, size_t len);
uint64_t regs_read(struct model *m, unsigned reg);
void regs_write(struct model *m, unsigned reg, uint64_t value);
