/* SPDX-License-Identifier: MIT */
/*
 * agent.h - secondary MMUs without hardware, one of each kind there is
 *
 *   walker   walks the mm's own table and caches; hears invalidate_range only
 *            (a shared table: IOMMU with SVA)
 *   legacy   as walker, but of before 2014: between start and end it is given
 *            an empty table, and nothing else keeps it from refilling
 *   shadow   a table of its own, filled by faults; a count of open windows and
 *            a sequence decide whether a fault's answer still holds (KVM)
 *   zapper   a shadow without accessed bits: aging takes the entry away
 *   tlb      no table: a cache whose every miss asks the kernel, and waits while
 *            a window is open (SGI GRU)
 *   remote   a tlb behind another thread, which start waits for (XPMEM)
 *   region   one registered range, by an interval notifier (RDMA, on demand)
 *
 * An agent reads and writes memory by the frame in its translation, under its
 * own lock, as an MMU does: when the callback that took the lock returns, no
 * access by the old translation is under way.  It sees AGENT_PAGES pages from
 * VA on and holds no reference on any of them: what it still reaches when it
 * should not is poison, or somebody else's, and the oracles say so.
 */
#pragma once

#include "mm/interval_notifier.h"
#include "tests/world.h"

#define AGENT_PAGES 200u
#define AGENT_TRIES 8u /* then it fails for good, as engines do             */

struct agent;
struct gate;

/* What it believes of one page; page NULL: nothing. */
struct translation {
	struct page *page;
	bool writable, used;
};

struct agent_kind {
	const char *name;
	const struct mmu_notifier_ops *ops; /* NULL: by interval           */
	/* A look at the mm's own table, where the MMU does that.  Context: the
	 * agent's lock held. */
	void (*walk)(struct agent *a, va_t va);
	/* A miss: 0 or -EAGAIN: try again; -EFAULT: not allowed. */
	int (*fault)(struct agent *a, va_t va, bool write);
};

extern const struct agent_kind walker, legacy, shadow, zapper, tlb, remote,
	region;

/* Every kind that is right, NULL at the end: all but legacy. */
extern const struct agent_kind *const agents[];

/* Key: (L) lock  (T) whoever uses the agent, one thread  (I) immutable */
struct agent {
	const struct agent_kind *kind; /* (I)                              */
	struct mm *mm;                 /* (I)                              */
	struct mmu_notifier mn;
	struct mmu_interval_notifier mni;
	struct spinlock lock;                /* RANK_DOMAIN                 */
	struct translation map[AGENT_PAGES]; /* (L)                         */
	unsigned active;                     /* (L) windows open now        */
	va_t from, to;                       /* (L) what they span          */
	uint64_t seq;                        /* (L) windows closed          */
	bool dead;                           /* (L) released                */
	struct waitq idle;                   /* active has become 0         */
	unsigned faults, retries;            /* (T)                         */
	unsigned failures;                   /* (T) given up                */
	unsigned offers, taken;              /* (L) change_pte: all, useful */

	/* remote: */
	LIST_HEAD(, request) requests; /* (L)                              */
	struct waitq asked, answered;
	struct thread *peer; /* (I)                                        */
	_Atomic bool stop;
	struct gate *gate; /* before an answer                             */
};

/* Join mm; ends the test if it cannot. */
void agent_attach(struct agent *a, const struct agent_kind *kind,
		  struct mm *mm);

/* Look for incoherence, and leave. */
void agent_detach(struct agent *a);

/* A load, or BAD.  May sleep: misses are faults. */
uint64_t agent_read(struct agent *a, va_t va);

/* A store: 0, -EFAULT, or -EIO after AGENT_TRIES fruitless faults. */
int agent_write(struct agent *a, va_t va, uint64_t v);

/* The same without asking the kernel: what the MMU would do right now.  False:
 * it would fault.  Any context that may take RANK_DOMAIN. */
bool agent_reads(struct agent *a, va_t va, uint64_t *v);
bool agent_writes(struct agent *a, va_t va, uint64_t v);

/* Does it hold a translation of the page?  To write? */
bool agent_has(struct agent *a, va_t va, bool write);

/*
 * At a quiet point: what it can reach, the CPU can: the same frame, no more
 * rights.  NULL, or what is wrong in words.
 */
const char *agent_check(struct agent *a);

/* ---- for the kinds ------------------------------------------------------ */

/* Forget [start, end); was there anything?  Context: lock held. */
bool agent_zap(struct agent *a, va_t start, va_t end);

/* The translation of va, NULL outside of what it sees. */
struct translation *agent_slot(struct agent *a, va_t va);

/* Is an entry of the mm's table good enough, and what does it say? */
bool agent_takes(uint64_t entry, bool write);
void agent_install(struct agent *a, va_t va, uint64_t entry);

/* Fault va in and look: an entry and a reference on its page, or -EFAULT. */
int agent_look(struct agent *a, va_t va, bool write, uint64_t *entry);

/* A window over [start, end) opens / closes.  Context: lock held. */
void agent_window(struct agent *a, va_t start, va_t end);

void remote_begin(struct agent *a), remote_end(struct agent *a);
extern const struct mmu_interval_notifier_ops region_ops;
void agent_release(struct mmu_notifier *mn, struct mm *mm);

static inline struct agent *agent_of(struct mmu_notifier *mn)
{
	return container_of(mn, struct agent, mn);
}
