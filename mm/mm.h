/* SPDX-License-Identifier: MIT */
/*
 * mm.h - an address space: regions say what may be mapped, entries what is
 *
 * A region is a promise ("[start, end) holds zeroes until written"); a page
 * table entry is the promise kept for one page.  All operations below change
 * regions first or entries first in the one order that keeps the reverse map
 * complete (mm/README.md, "who may see what when").
 *
 * All ranges are half-open, [start, end) in bytes, page-aligned, inside
 * [USER_START, USER_END).  All functions return 0 or a negative error, and on
 * an error have changed nothing unless their contract says otherwise.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "mm/pt.h"

struct anon_vma;
struct anon_vma_chain;
struct mmu_notifier_subscriptions;
struct object;
struct page;

#define USER_START UINT64_C(0x10000)
#define USER_END   (UINT64_C(1) << 47)

/* Region rights; enum prot (mm/pt.h) has R, W and X. */

/* mm_map() flags */
#define MAP_REPLACE BIT(0) /* what is mapped in the range goes first   */
#define MAP_LOCKED  BIT(1) /* try_to_unmap() leaves the pages in place */

/* ... and what else a region's flags say. */
#define REGION_MERGEABLE BIT(2) /* private, and may be merged: mm/ksm.h */

/*
 * Key to locks: (M) mm->lock, read to read, write to write
 *               (P) mm->pt_lock
 *               (R) rmap lock of the region's family or object, to write;
 *                   either (M) or (R) to read
 *               (I) immutable after creation      (A) atomic
 */
/* The part of mm/ksm.c in each mm. */
struct ksm_mm {
	TAILQ_ENTRY(mm) link; /* ksm.list_lock: those who ever opted in     */
	bool listed;          /* (M) once true it stays so                  */
	struct itree chunks;  /* ksm.lock: what was seen, by address        */
};

struct mm {
	struct rwsem lock;       /* RANK_MM: the regions; faults read      */
	struct spinlock pt_lock; /* RANK_PT: every entry of the table      */
	struct pt pt;            /* (P) the CPU's page table               */
	struct itree regions;    /* (M) keyed by first and last byte       */
	struct region *last;     /* (A) where the last lookup ended; a hint */
	_Atomic uint64_t cpus;   /* (A) CPUs that have this table loaded,
				  *     and MM_NOTIFIED                    */
	_Atomic uint32_t users;  /* (A) 0: the address space is torn down  */
	_Atomic uint32_t refs;   /* (A) all users together, and listeners  */
	unsigned id;             /* (I) for traces                         */
	uint64_t mapped;         /* (P) entries that count in page_maps()  */
	LIST_ENTRY(mm) link;     /* mm_list_lock: all that exist           */
	struct mmu_notifier_subscriptions *subscriptions; /* (M) set once  */
	struct ksm_mm ksm;
};

/* In mm->cpus: somebody has listened to this mm (mm/mmu_notifier.h).  Where a
 * flush looks for CPUs it finds this too, and otherwise pays nothing for it. */
#define MM_NOTIFIED BIT(63)

struct region {
	struct itree_node node;    /* (M) in mm->regions                    */
	va_t start, end;           /* (M)(R) half-open                      */
	uint64_t pgoff;            /* (M)(R) page number of start: in the
				    * object, or of where it was created    */
	struct mm *mm;             /* (I)                                   */
	enum prot prot;            /* (M) what a CPU may do                 */
	unsigned flags;            /* (M) MAP_LOCKED, REGION_MERGEABLE      */
	struct object *object;     /* (I) shared memory; NULL: private      */
	struct itree_node share;   /* (R) in object->regions                */
	struct anon_vma *anon_vma; /* (M) where new private pages belong    */
	LIST_HEAD(, anon_vma_chain) chains; /* (M) every family it is in    */
};

#define for_each_region(r, mm, from, to)            \
	for ((r) = region_first(mm, from, to); (r); \
	     (r) = region_next(r, from, to))

/* ---- address spaces ---------------------------------------------------- */

/* Must run once before the first mm_create().  Installs the #PF handler. */
void mm_init(void);

/* An empty address space with one user, or NULL without memory. */
struct mm *mm_create(void);

/* One more user.  The caller already has one. */
void mm_get(struct mm *mm);

/* One more user, if there is any left: for who has only a reference.  Linux:
 * mmget_not_zero(). */
must_check bool mm_try_get(struct mm *mm);

/*
 * Drop one user; with the last one every mapping, region and table goes.
 * Context: may sleep; no CPU may have mm loaded when the last user leaves.
 */
void mm_put(struct mm *mm);

/* The address space with this id and a user of it for the caller, or NULL. */
struct mm *mm_find(unsigned id);

/*
 * The users keep what is mapped, references keep the structure: one more, one
 * less.  Linux: mmgrab(), mmdrop().  Any context that may take RANK_POOL.
 */
void mm_grab(struct mm *mm);
void mm_drop(struct mm *mm);

/*
 * From now on the calling thread's user accesses go to mm; NULL: to none.
 * The thread holds no user of its own: the caller's must outlive the binding.
 */
void mm_bind(struct mm *mm);

/*
 * Call fn for every address space that exists, under mm_list_lock.
 * Context: fn may not sleep.
 */
void mm_for_each(void (*fn)(struct mm *mm, void *arg), void *arg);

/*
 * May somebody listen?  Once true it stays so.  Who has mm->lock, the lock of a
 * family or object of the mm's pages, or pt_lock, knows as long as he has it.
 */
static inline bool mm_has_notifiers(struct mm *mm)
{
	return atomic_load_explicit(&mm->cpus, memory_order_acquire) &
	       MM_NOTIFIED;
}

/* ---- layout (each takes mm->lock for writing; may sleep) ---------------- */

/*
 * Map len bytes at va, or anywhere when va is 0: private zeroes, or, with an
 * object, its pages from page number pgoff on, shared with everybody.
 * *where (may be NULL) receives the address.
 *
 * Returns -EINVAL for an unaligned, empty or outlying range or one beyond the
 * object's end, -EEXIST if va is taken and flags lacks MAP_REPLACE, -ENOMEM.
 */
must_check int mm_map(struct mm *mm, va_t va, uint64_t len, enum prot prot,
		      unsigned flags, struct object *object, uint64_t pgoff,
		      va_t *where);

/*
 * Unmap what is mapped in [start, end); holes are fine.  When it returns no
 * CPU reaches the old pages.  Returns -EINVAL, -ENOMEM (a split needs it).
 */
must_check int mm_unmap(struct mm *mm, va_t start, va_t end);

/*
 * Set the rights of [start, end), which must be mapped without a hole.
 * Returns -EINVAL, -ENOENT for a hole, -ENOMEM.
 */
must_check int mm_protect(struct mm *mm, va_t start, va_t end, enum prot prot);

/*
 * Move, shrink or grow [old, old + old_len), part of one region, to new_len
 * bytes at va, or anywhere when va is 0 (in place where possible).  The pages
 * move, their contents stay.  Linux: mremap(2).
 *
 * Returns -EINVAL (also for overlapping ranges), -ENOENT if old is not mapped
 * by one region, -EEXIST if va is taken, -ENOMEM.
 */
must_check int mm_remap(struct mm *mm, va_t old, uint64_t old_len, va_t va,
			uint64_t new_len, va_t *where);

/*
 * A copy of parent in *child, sharing every page until one side writes.
 * Pinned pages are copied at once.  Linux: dup_mmap(), copy_page_range().
 * Returns -ENOMEM with no child and an unchanged parent.
 */
must_check int mm_fork(struct mm *parent, struct mm **child);

/* ---- contents (mm->lock for reading; may sleep) ------------------------ */

/*
 * Forget the pages of [start, end): private ones read as zero again, shared
 * ones are found in their object.  Holes are fine.  Linux: MADV_DONTNEED.
 * Returns -EINVAL.
 */
must_check int mm_discard(struct mm *mm, va_t start, va_t end);

/*
 * Memory is out and mm is to die: take its private pages, waiting for nobody.
 * Linux: __oom_reap_task_mm().  Returns -EAGAIN if a layout operation is under
 * way or a listener would have to sleep; what it took before stays taken, and
 * reads as zero.  Context: may not be inside a notifier's callback.
 */
must_check int mm_reap(struct mm *mm);

/*
 * Make the access to va possible: what a page fault calls, of a CPU or, by
 * way of iommu/, of a device.  access is one of PROT_R, PROT_W, PROT_X.
 *
 * Returns -EFAULT if no region allows it, -ENOMEM.
 */
must_check int mm_fault(struct mm *mm, va_t va, enum prot access);

/* ---- regions (mm->lock held) ------------------------------------------- */

/* The region that contains va, or NULL. */
struct region *region_find(struct mm *mm, va_t va);

/* The lowest region that meets [from, to); the next one after r. */
struct region *region_first(struct mm *mm, va_t from, va_t to);
struct region *region_next(struct region *r, va_t from, va_t to);

static inline uint64_t region_pgoff(const struct region *r, va_t va)
{
	return r->pgoff + ((va - r->start) >> PAGE_SHIFT);
}

/* [start, end) is aligned, not empty, and in the user half. */
static inline bool range_valid(va_t start, va_t end)
{
	return IS_ALIGNED(start | end, PAGE_SIZE) && start >= USER_START &&
	       start < end && end <= USER_END;
}
