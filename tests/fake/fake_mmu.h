/* SPDX-License-Identifier: MIT */
/*
 * fake_mmu.h - secondary MMUs without hardware, one of each kind there is
 *
 *   walker   walks the mm's own table and caches; has only invalidate_range
 *            (a shared table: IOMMU with SVA)
 *   legacy   as walker, but of before 2014: between start and end it is given
 *            an empty table, and nothing else keeps it from refilling
 *   shadow   a table of its own, filled by faults (mm/notifier/shadow.h): a
 *            count of open invalidations and a sequence decide whether what a
 *            fault has seen still holds (KVM)
 *   zapper   a shadow without accessed bits: aging takes the entry away
 *   tlb      no table: a cache whose every miss asks the kernel, and waits while
 *            an invalidation is open (SGI GRU)
 *   remote   a tlb of another thread, for which start waits (XPMEM)
 *   region   one registered range, by an interval notifier (RDMA, on demand)
 *
 * and two that are no fakes, where the CPU has nested paging (fake_guest.c):
 *
 *   guest_shared  a guest that walks the mm's own table
 *   guest         a guest with a nested table of its own, a shadow
 *
 * A fake MMU accesses memory by the frame in its translation, under its
 * own lock, as an MMU does: when the callback that took the lock returns, no
 * access by the old translation is under way.  It maps FAKE_PAGES pages from
 * VA on and holds no reference on any of them: a page that it wrongly still
 * reaches is free or has another owner, and the checkers report the access.
 */
#pragma once

#include "mm/notifier/interval_notifier.h"
#include "mm/notifier/shadow.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/mm_fixture.h"

#define FAKE_PAGES 200u
#define FAKE_TRIES 8u /* then it enters its failure state                  */

struct fake_mmu;
struct sync_point;

/* The translation of one page; page NULL: none. */
struct translation {
	struct page *page;
	bool writable, used;
};

struct fake_mmu_kind {
	const char *name;
	const struct shadow_ops *table;     /* NULL: no shadow             */
	const struct mmu_notifier_ops *ops; /* NULL, and no table: interval */
	/* Walk the mm's own table, for MMUs that do.  Context: the fake's lock
	 * held. */
	void (*walk)(struct fake_mmu *a, va_t va);
	const struct guest_form *guest; /* of a guest, which has no map[]  */
	/* A miss: 0 or -EAGAIN: try again; -EFAULT: not allowed. */
	int (*fault)(struct fake_mmu *a, va_t va, bool write);
};

extern const struct fake_mmu_kind fake_walker, fake_legacy, fake_shadow,
	fake_zapper, fake_tlb, fake_remote, fake_region, fake_guest,
	fake_guest_shared;

/* Every kind that is right, and that this machine has: all but legacy.  Or those
 * that are filled by faults: no walkers. */
const struct fake_mmu_kind *const *fake_mmus(void);
const struct fake_mmu_kind *const *fake_filled(void);

/* Does this machine have it? */
static inline bool fake_present(const struct fake_mmu_kind *kind)
{
	return !kind->guest || svm_present();
}

/* The loop that runs its body once for each kind. */
#define for_each_kind(k, kinds) \
	for (const struct fake_mmu_kind *const *(k) = (kinds); *(k); (k)++)

/* Key: (L) lock  (T) the one thread that uses the fake  (I) immutable */
struct fake_mmu {
	const struct fake_mmu_kind *kind; /* (I)                              */
	struct mm *mm;                    /* (I)                              */
	struct mmu_notifier mn;
	struct mmu_interval_notifier mni;
	struct shadow shadow;
	struct resident guest;              /* of a guest: called          */
	struct spinlock lock;               /* RANK_DOMAIN                 */
	struct translation map[FAKE_PAGES]; /* (L)                         */
	unsigned active;                    /* (L) open, not of a shadow   */
	va_t from, to;                      /* (L) what they span          */
	bool dead;                          /* (L) released                */
	struct waitq idle;                  /* active has become 0         */
	unsigned faults, retries;           /* (T)                         */
	unsigned failures;                  /* (T) given up                */
	unsigned offers, taken;             /* (L) change_pte: all, useful */

	/* remote: */
	LIST_HEAD(, request) requests; /* (L)                              */
	struct waitq asked, answered;
	struct thread *peer; /* (I)                                        */
	_Atomic bool stop;
	struct sync_point *sync_point; /* before an answer                 */
};

/* Attach to mm; end the test if that fails. */
void fake_attach(struct fake_mmu *a, const struct fake_mmu_kind *kind,
		 struct mm *mm);

/* Check coherence, and detach. */
void fake_detach(struct fake_mmu *a);

/* Load a word, or return BAD.  May sleep: a miss is a fault. */
uint64_t fake_read(struct fake_mmu *a, va_t va);

/* Store a word: 0, -EFAULT, or -EIO after FAKE_TRIES faults without success. */
int fake_write(struct fake_mmu *a, va_t va, uint64_t v);

/* Load and store without a fault, as the MMU would right now.  False: it would
 * fault.  Any context that may take RANK_DOMAIN. */
bool fake_reads(struct fake_mmu *a, va_t va, uint64_t *v);
bool fake_writes(struct fake_mmu *a, va_t va, uint64_t v);

/* Has the mm exited, or the fake been detached? */
bool fake_dead(struct fake_mmu *a);

/* The lock of what it translates, and its shadow, NULL if it has none. */
struct spinlock *fake_lock(struct fake_mmu *a);
struct shadow *fake_shadow_of(struct fake_mmu *a);

/* Its translation of page i.  Context: fake_lock() held; for guest_shared, whose
 * translations are the mm's entries, pt_lock, or a look that may be overtaken. */
struct translation fake_translation(struct fake_mmu *a, unsigned i);

/* How many invalidations does it count as open? */
unsigned fake_active(struct fake_mmu *a);

/* Stop the fault of a that has looked and not yet installed what it saw. */
void fake_stop_looked(struct sync_point *g, struct fake_mmu *a);

/* Return whether MMUs of a kind know entries of 2 MiB: tlb, remote and region look for a
 * small one. */
static inline bool fake_knows_huge(const struct fake_mmu_kind *kind)
{
	return kind->walk || kind->table || kind->guest;
}

/* Return whether it has a translation of the page, to write if so asked. */
bool fake_has(struct fake_mmu *a, va_t va, bool write);

/*
 * At a quiet point: what it can reach, the CPU can: the same frame, no more
 * rights.  NULL, or what is wrong in words.
 */
const char *fake_check(struct fake_mmu *a);

/* ---- for the kinds ------------------------------------------------------ */

/* Forget [start, end); was there anything?  Context: lock held. */
bool fake_zap(struct fake_mmu *a, va_t start, va_t end);

/* The translation of va, NULL outside of what it sees. */
struct translation *fake_slot(struct fake_mmu *a, va_t va);

/* Is an entry of the mm's table good enough, and what does it say? */
bool fake_takes(uint64_t entry, bool write);
void fake_install(struct fake_mmu *a, va_t va, uint64_t entry);

/* Fault va in and look: an entry and a reference on its page, or -EFAULT. */
int fake_look(struct fake_mmu *a, va_t va, bool write, uint64_t *entry);

/* Count an invalidation of [start, end) as open.  Context: lock held. */
void fake_open(struct fake_mmu *a, va_t start, va_t end);

/* Drop everything, for good. */
void fake_die(struct fake_mmu *a);

struct translation guest_translation(struct fake_mmu *a, va_t va);
void remote_begin(struct fake_mmu *a), remote_end(struct fake_mmu *a);
extern const struct mmu_interval_notifier_ops region_ops;
void fake_release(struct mmu_notifier *mn, struct mm *mm);

static inline struct fake_mmu *fake_of(struct mmu_notifier *mn)
{
	return container_of(mn, struct fake_mmu, mn);
}
