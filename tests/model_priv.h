/* SPDX-License-Identifier: MIT */
/*
 * model_priv.h - the inside of the strict IOMMU, for tests/model_*.c only
 *
 * The layouts of commands, DTEs, entries and log records are spelled here a
 * second time, from the manual and not from iommu/: a slip in one of the two
 * readings makes a test fail instead of cancelling out.  Registers are shared.
 *
 *   model.c        life, lock, steps, modes
 *   model_regs.c   what a read and a write of a register do
 *   model_cmd.c    fetching, order and effect of commands
 *   model_walk.c   memory, device table, page walk
 *   model_dma.c    devices: transfers, their own TLBs, page requests
 *   model_cache.c  the caches: IOTLB, directories, device TLBs; cached DTEs
 *   model_log.c    event and page request logs, status bits, interrupts
 *   model_query.c  oracles, counters, dump
 *
 * All functions here expect m->lock, unless they say something else.
 */
#pragma once

#include "arch/bits.h"
#include "iommu/regs.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/rand.h"
#include "tests/model.h"

/* ---- caches ------------------------------------------------------------ */

#define IOTLB_MAX     4096u
#define DIRECTORY_MAX 1024u
#define DEVICE_MAX    2048u /* entries of all device TLBs together           */
#define DTE_MAX       64u
#define FILTER        4096u

/* What an entry lets through: low bits of its value, as in mm/pt.h. */
#define MAY_READ   BIT(0)
#define MAY_WRITE  BIT(1)
#define MAY        (MAY_READ | MAY_WRITE)
#define IS_ABSENT  BIT(2) /* cached that there is nothing ("NpCache")        */
#define VALUE_PAGE GENMASK(51, 12)

/* [base, base + 2^shift) of tag leads to value; shift 0: a free slot. */
struct cached {
	uint64_t base, value;
	uint16_t tag, next; /* in its bucket, or of the free list           */
	uint8_t shift;
};

struct cache {
	struct cached *e;
	uint16_t *bucket;
	unsigned size, buckets, live;
	uint16_t free;
	bool tables;    /* values are table pages, whatever the shift       */
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

/* Memory for `size` entries at p; returns what follows it. */
void *cache_init(struct cache *c, void *p, unsigned size);
size_t cache_bytes(unsigned size);

/* The entry of exactly this size, or of the smallest that covers iova. */
struct cached *cache_find(struct cache *c, uint16_t tag, uint64_t iova,
			  unsigned shift);
struct cached *cache_lookup(struct cache *c, uint16_t tag, uint64_t iova);

/* Full: a random other entry makes room. */
void cache_insert(struct cache *c, struct rng *rng, uint16_t tag, uint64_t iova,
		  unsigned shift, uint64_t value);

/* Drop what meets the range; returns how many entries went. */
unsigned cache_drop(struct cache *c, uint16_t tag, struct range r);
unsigned cache_drop_tag(struct cache *c, uint16_t tag);
unsigned cache_drop_all(struct cache *c);

/* An entry whose value leads into the page, or NULL. */
const struct cached *cache_names(const struct cache *c, pa_t page);

/* Calls with every live entry: for (e = NULL; (e = cache_next(c, e));) */
const struct cached *cache_next(const struct cache *c, const struct cached *e);

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

/* A record on its way to memory. */
struct late_record {
	pa_t at;
	uint64_t w[2], due; /* due: in steps                                */
};

#define WINDOW     64u /* commands fetched and not yet done                */
#define LATE       64u
#define ANSWERS    64u
#define GROUPS     256u
#define COMPLAINTS 120u

struct fetched {
	uint64_t w[2];
	pa_t at;
	uint64_t gives_up; /* when it times out, 0: has not begun           */
};

struct ppr_answer {
	uint16_t devid, tag;
	unsigned status;
};

#define PROCESS BIT(20)

struct ppr_group {
	uint16_t devid, tag;
	unsigned open; /* answers that are owed                             */
	uint32_t process; /* PASID, PROCESS if there is one                 */
};

struct ats_device {
	uint16_t devid;
	enum model_ats ats;
};

struct model {
	struct spinlock lock; /* RANK_MODEL: everything below               */
	struct model_config config;
	SLIST_ENTRY(model) others;
	unsigned order; /* of the memory that holds it                      */

	uint64_t control, status, dev_table, efr;
	struct log cmd, event, ppr; /* cmd.stopped: halted by an error      */

	struct fetched window[WINDOW]; /* oldest first                      */
	unsigned in_window;
	unsigned waited; /* steps since something could have been done      */
	struct rng rng;

	struct cache iotlb, directories, device_tlb;
	struct cached_dte dtes[DTE_MAX];
	unsigned dte_size, dte_live; /* the first dte_live are in use       */
	struct ats_device ats[MODEL_ATS_DEVICES];

	unsigned log_delay;
	struct late_record late[LATE];
	unsigned in_late;
	struct ppr_group groups[GROUPS];

	uint64_t raise; /* interrupts and answers to give when unlocked     */
	struct ppr_answer answers[ANSWERS];
	unsigned in_answers;

	struct model_stats stats;
	char complaint[COMPLAINTS];
	bool complained;
};

/* Lock; unlock and give out interrupts and answers that arose. */
uint64_t model_enter(struct model *m);
void model_leave(struct model *m, uint64_t flags);

/* Remember what the driver did wrong. */
void complain(struct model *m, const char *fmt, ...) printf_like(2, 3);

/* ---- model_log.c ------------------------------------------------------- */

/* Bytes in a ring by its base register; 0: an illegal length. */
uint64_t ring_bytes(uint64_t base);
/* Set a status bit; an interrupt, if it is new and enabled. */
void status_raise(struct model *m, uint64_t bit);
/* Does this value of CONTROL let the status bit interrupt? */
bool may_interrupt(uint64_t control, uint64_t status_bit);
bool event_running(const struct model *m);
bool ppr_running(const struct model *m);
void event_log(struct model *m, uint64_t w0, uint64_t w1);
bool ppr_log(struct model *m, uint64_t w0, uint64_t w1);
/* Records that are due, or all, become visible. */
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

/* RAM that a bus master reaches: none of the image's, none reserved. */
bool ram_at(pa_t pa);
bool ram_read(pa_t pa, uint64_t *out);
bool ram_write(pa_t pa, uint64_t v);
/* Is the frame free at this moment (RAM)? */
bool ram_is_free(pa_t pa);

enum access {
	ACCESS_READ = MAY_READ,
	ACCESS_WRITE = MAY_WRITE,
	ACCESS_ATS = 0, /* a translation request: no event for a fault       */
};

enum walk_end {
	WALK_LEAF,
	WALK_ABSENT,
	WALK_RESERVED, /* bits or a level that may not be                   */
	WALK_NO_RAM,
};

struct walk {
	uint64_t value; /* page | rights of the levels, for WALK_LEAF       */
	uint8_t shift;  /* log2 of what the leaf covers                     */
	pa_t at;        /* WALK_NO_RAM: the entry's address                 */
	/* by level, 0 where the walk did not come by: table | rights */
	uint64_t table[7];
};

/* From the root, no cache asked, nothing counted. */
enum walk_end walk_plain(const uint64_t dte[4], uint64_t iova, struct walk *w);

/* The DTE as the IOMMU has it: cached, else read and cached; NULL: event. */
struct cached_dte *dte_get(struct model *m, uint16_t devid, enum access a);
/* As memory has it. */
bool dte_read(struct model *m, uint16_t devid, uint64_t w[4]);
void dte_drop(struct model *m, uint16_t devid);
/*
 * Would the IOMMU take what the device has translated itself?  If not, then what
 * its TLB holds leads nowhere.
 */
bool dte_lets_tlb(struct model *m, uint16_t devid);

/* What a request comes to; logs the event if it fails. */
struct translation {
	enum model_verdict verdict;
	pa_t pa;
	unsigned shift;  /* valid around pa's page                          */
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

/* ---- model_cmd.c ------------------------------------------------------- */

bool cmd_running(const struct model *m);
/* Fetch what fits; an illegal command halts the ring. */
void cmd_fetch(struct model *m);
/* Do one command, if the mode's order lets one; false: nothing to do now. */
bool cmd_do_first(struct model *m);
bool cmd_do_any(struct model *m);
/* Is the oldest fetched command a COMPLETION_WAIT? */
bool cmd_at_wait(const struct model *m);
/* Will a fetched COMPLETION_WAIT store into the page? */
bool cmd_stores_to(const struct model *m, pa_t page);
/*
 * What the second word of an invalidation names.  Bit 0 (S): the lowest zero
 * bit k from bit 12 up means 2^(k + 1) bytes; else one page.
 */
struct range range_of(uint64_t w1);

/* ---- model.c, model_dma.c ---------------------------------------------- */

/* One step; in immediate mode, all there is. */
void step(struct model *m);
/* The doorbell rang, or the ring was switched on. */
void doorbell(struct model *m);
enum model_ats ats_of(const struct model *m, uint16_t devid);
void group_close(struct model *m, uint16_t devid, uint16_t tag,
		 uint32_t process);

/* ---- model_query.c, model_regs.c --------------------------------------- */

bool names_frame(struct model *m, pa_t frame, char *words, size_t len);
bool names_table(struct model *m, pa_t table, char *words, size_t len);
/* Rings, device table, the words of unfinished COMPLETION_WAITs. */
bool names_own(struct model *m, pa_t page, char *words, size_t len);
uint64_t regs_read(struct model *m, unsigned reg);
void regs_write(struct model *m, unsigned reg, uint64_t value);
