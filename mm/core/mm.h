/* SPDX-License-Identifier: MIT */
/*
 * mm.h - an address space: regions say what may be mapped, entries what is mapped
 *
 * A region states what its range holds ("zeroes until written"); a page table
 * entry maps one page of it, made by the first access.  The operations below
 * change regions and entries in the order that keeps the reverse map complete
 * (mm/README.md, "Which locks are held, and in which order").
 *
 * All ranges are half-open, [start, end) in bytes, page-aligned, inside
 * [USER_START, USER_END).  Functions that can fail return 0 or a negative error,
 * and on an error have changed nothing unless their contract says otherwise.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "mm/pt/pt.h"

struct anon_vma;
struct anon_vma_chain;
struct mmu_notifier_subscriptions;
struct object;
struct page;
struct track;

#define USER_START UINT64_C(0x10000)
#define USER_END   (UINT64_C(1) << 47)

/* Region rights; enum prot (mm/pt/pt.h) has R, W and X. */

/* mm_map() flags */
#define MAP_REPLACE BIT(0) /* unmap what is mapped in the range        */
#define MAP_LOCKED  BIT(1) /* try_to_unmap() leaves the pages in place */

/*
 * The region wants pages of 2 MiB: a first write makes one where the aligned 2 MiB lie
 * inside it and no page is mapped yet, if there is memory for it.  Otherwise, and in
 * a region with an object, it has no effect.  Linux: MADV_HUGEPAGE.
 */
#define MAP_HUGE BIT(3)

/*
 * The region has blocks of the fixed pool, all of them from the start (mm/huge/hugetlb.h).
 * It is cut only at multiples of 2 MiB; it is not moved, discarded or pinned.  Linux:
 * MAP_HUGETLB.
 */
#define MAP_HUGETLB BIT(4)

/* Further flags of a region */
#define REGION_MERGEABLE BIT(2) /* private, and may be merged: mm/ksm/ksm.h */
#define REGION_TRACKED   BIT(5) /* writes are noted: mm/core/track.h        */

/* The state of mm/ksm/ksm.c in each mm. */
struct ksm_mm {
	TAILQ_ENTRY(mm) link; /* ksm.list_lock: mms that ever opted in      */
	bool listed;          /* (M) once true it stays so                  */
	struct itree chunks;  /* ksm.lock: rmap_items, by address           */
};

/*
 * Key to locks: (M) mm->lock, read to read, write to write
 *               (P) mm->pt_lock
 *               (R) the region's rmap lock (mm/rmap/rmap.h), to write;
 *                   either (M) or (R) to read
 *               (I) immutable after creation      (A) atomic
 */
struct mm {
	struct rwsem lock;       /* RANK_MM: the regions; faults read      */
	struct spinlock pt_lock; /* RANK_PT: every entry of the table      */
	struct pt pt;            /* (P) the CPU's page table               */
	struct itree regions;    /* (M) keyed by first and last byte       */
	struct region *last;     /* (A) where the last lookup ended; a hint */
	_Atomic uint64_t cpus;   /* (A) CPUs that have this table loaded,
				  *     MM_CPUS, and MM_NOTIFY_*           */
	_Atomic uint32_t users;  /* (A) 0: the address space is torn down  */
	_Atomic uint32_t refs;   /* (A) 1 for all users, 1 a notifier      */
	unsigned id;             /* (I) for traces                         */
	uint64_t mapped;         /* (P) pages of entries that count in
				  *     page_maps()                        */
	struct page *deposit;    /* (P) unused tables, one for each huge
				  *     entry: mm/rmap/huge.h; NULL is
				  *     also read without the lock        */
	uint64_t limit; /* (A) of mapped: mm/reclaim/reclaim.h; 0: none */
	va_t hand;      /* (P) where the next reclaim begins      */
	LIST_HEAD(, track)
	tracks;              /* tracked ranges, apart: (M) or (P) to
				    *     read, both to write          */
	LIST_ENTRY(mm) link; /* mm_list_lock: all published mms        */
	struct mmu_notifier_subscriptions *subscriptions; /* (M) set once  */
	struct ksm_mm ksm;
};

/*
 * What the notifiers that the mm has or had ask for (mm/notifier/mmu_notifier.h), in
 * mm->cpus: never cleared.  A flush reads that word anyway, so that the test costs it
 * nothing, and a callback that no notifier has is not looked for.
 */
#define MM_NOTIFY_ANY   BIT(63) /* there is or was one, or an interval     */
#define MM_NOTIFY_START BIT(62) /* one with start or end, or an interval   */
#define MM_INTERVALS    BIT(61) /* an interval: invalidations are numbered */
#define MM_NOTIFY_RANGE BIT(60) /* one with invalidate_range               */
#define MM_NOTIFY_PTE   BIT(59) /* one with change_pte                     */
#define MM_CPUS         GENMASK(58, 0)

struct region {
	struct itree_node node;    /* (M) in mm->regions                    */
	va_t start, end;           /* (M)(R) half-open                      */
	uint64_t pgoff;            /* (M)(R) page number of start: in the
				    * object, or of where it was created    */
	struct mm *mm;             /* (I)                                   */
	enum prot prot;            /* (M) what a CPU may do; PROT_TRACK in
				    * place of W in a tracked region        */
	unsigned flags;            /* (M) MAP_LOCKED, MAP_HUGE, REGION_*; a
				    * reverse map walk reads MAP_LOCKED,
				    * which never changes, without (M): so
				    * writes are WRITE_ONCE                 */
	struct object *object;     /* (I) shared memory; NULL: private      */
	struct itree_node share;   /* (R) in object->regions                */
	struct anon_vma *anon_vma; /* (M) of new private pages              */
	LIST_HEAD(, anon_vma_chain) chains; /* (M) to every anon_vma it is in */
};

/* Iterate over the regions that meet [from, to), lowest first. */
#define for_each_region(r, mm, from, to)            \
	for ((r) = region_first(mm, from, to); (r); \
	     (r) = region_next(r, from, to))

/* ---- address spaces ---------------------------------------------------- */

/* Initialise mm/ up to mm/space/ and install the #PF handler.
 * Context: boot, once, before the first mm_create(). */
void mm_init(void);

/* Do the part of mm_init() that belongs to mm/core/: list, scheduler's hook. */
void mm_core_init(void);

/*
 * Make an empty address space with one user and publish it.  Returns NULL without
 * memory.  Context: may sleep; any that may take RANK_MM_LIST.
 */
struct mm *mm_create(void);

/* Add a user.  The caller already has one.  Any context. */
void mm_get(struct mm *mm);

/*
 * Add a user if there is one left, for a thread that has only a reference.
 * Returns false if there is none.  Linux: mmget_not_zero().  Any context.
 */
must_check bool mm_try_get(struct mm *mm);

/*
 * Drop a user; the last one tears down every mapping, region and table.  No CPU
 * has mm loaded when the last user is dropped.
 * Context: may sleep.
 */
void mm_put(struct mm *mm);

/*
 * Find the address space with this id and add a user for the caller; NULL if
 * there is none.  The child of a fork is found when the fork is complete.
 * Context: may sleep; any that may take RANK_MM_LIST.
 */
struct mm *mm_find(unsigned id);

/*
 * Find the address space with the lowest id above `after` and add a user for the
 * caller; NULL if there is none.  For a walk over all that may sleep; one that is
 * published meanwhile may be missed.
 * Context: may sleep; any that may take RANK_MM_LIST.
 */
struct mm *mm_next(unsigned after);

/*
 * Make a complete address space visible to mm_find() and mm_for_each().
 * Context: may sleep; any that may take RANK_MM_LIST.
 */
void mm_publish(struct mm *mm);

/*
 * Undo mm_publish() when the last user is gone.
 * Context: may sleep; any that may take RANK_MM_LIST.
 */
void mm_unpublish(struct mm *mm);

/* What a room above mm/space/ does when an address space is forked or ends. */
struct mm_hooks {
	/*
	 * The child is complete and not published yet; parent->lock is held to
	 * write, so that a walk over all mms that waits for the parent meets
	 * the child too.
	 */
	void (*fork)(struct mm *parent, struct mm *child);
	/* The last user is gone, the entries are still there.  May sleep. */
	void (*exit)(struct mm *mm);
	struct mm_hooks *next; /* (I) set by mm_hooks_add()                */
};

/* Register hooks.  Context: boot, before the first mm_create(). */
void mm_hooks_add(struct mm_hooks *hooks);

/* Call every fork hook, from mm/space/ only.
 * Context: parent->lock held to write. */
void mm_hooks_fork(struct mm *parent, struct mm *child);

/* Call every exit hook, from mm/space/ only.  Context: may sleep. */
void mm_hooks_exit(struct mm *mm);

/*
 * Add a reference: users keep what is mapped, references keep the structure.  The
 * caller has a user or a reference.  Linux: mmgrab().  Any context.
 */
void mm_grab(struct mm *mm);

/* Drop a reference; the last one frees the structure.  Linux: mmdrop().
 * Context: any that may take RANK_POOL. */
void mm_drop(struct mm *mm);

/*
 * Make mm the address space of the calling thread's user accesses; NULL: none.
 * The thread adds no user: that of the caller must outlive the binding.
 */
void mm_bind(struct mm *mm);

/*
 * Call fn for every published address space, under mm_list_lock; fn may not sleep.
 * Context: may sleep; any that may take RANK_MM_LIST.
 */
void mm_for_each(void (*fn)(struct mm *mm, void *arg), void *arg);

/*
 * Return true if mm has or had a notifier that asks for one of these, MM_NOTIFY_*.
 * Once true it stays so.  A false result is stable while the caller holds mm->lock, an
 * rmap lock of the mm's pages, or pt_lock.
 */
static inline bool mm_notifies(struct mm *mm, uint64_t what)
{
	return atomic_load_explicit(&mm->cpus, memory_order_acquire) & what;
}

/* Return true if mm has or had any notifier, as above. */
static inline bool mm_has_notifiers(struct mm *mm)
{
	return mm_notifies(mm, MM_NOTIFY_ANY);
}

/* ---- layout ------------------------------------------------------------ */

/*
 * Map len bytes at va, or at any free address when va is 0: private zeroes, or,
 * with an object, its pages from page number pgoff on, shared with its other
 * users.  flags: MAP_REPLACE, MAP_LOCKED, MAP_HUGE, MAP_HUGETLB.  *where (may be NULL)
 * receives the address.  Linux: mmap(2).
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL for a range that is unaligned, empty, outside the user half
 * or beyond the object's end, or, with MAP_HUGETLB, for an object, MAP_REPLACE, MAP_HUGE
 * or what is not aligned to 2 MiB; -EEXIST if va is taken and flags lacks MAP_REPLACE;
 * -ENOMEM, also if the fixed pool has too few free blocks.
 */
must_check int mm_map(struct mm *mm, va_t va, uint64_t len, enum prot prot,
		      unsigned flags, struct object *object, uint64_t pgoff,
		      va_t *where);

/*
 * Unmap what is mapped in [start, end), which may have holes.  When it returns no
 * CPU and no secondary MMU reaches the old pages.  Linux: munmap(2).
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL, also if a block of the fixed pool would be cut; -ENOMEM (a split
 * of a region needs memory).
 */
must_check int mm_unmap(struct mm *mm, va_t start, va_t end);

/*
 * Set the rights of [start, end), all of which must belong to regions.  When it
 * returns no MMU uses a right that was taken away.  Linux: mprotect(2).
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL; -ENOENT for a hole; -ENOMEM.
 */
must_check int mm_protect(struct mm *mm, va_t start, va_t end, enum prot prot);

/*
 * Advise that [start, end), all of which must belong to regions, should (on) or should
 * not have pages of 2 MiB from the next first write on.  What is mapped stays as it
 * is.  Linux: MADV_HUGEPAGE, MADV_NOHUGEPAGE.
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL; -ENOENT for a hole; -ENOMEM.
 */
must_check int mm_advise_huge(struct mm *mm, va_t start, va_t end, bool on);

/*
 * Move, shrink or grow [old, old + old_len), part of one region, to new_len bytes
 * at va, or at any address when va is 0 (in place where possible).  The pages keep
 * their contents.  *where (may be NULL) receives the address.  Linux: mremap(2).
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL (also for overlapping ranges, and for a region with MAP_HUGETLB);
 * -ENOENT if one region does not
 * contain the old range; -EEXIST if va is taken; -ENOMEM.
 */
must_check int mm_remap(struct mm *mm, va_t old, uint64_t old_len, va_t va,
			uint64_t new_len, va_t *where);

/*
 * Show other pages of the same object in [start, end), all of which must belong to
 * regions of one object: those from page number pgoff on, in order.  Rights stay.  When
 * it returns no CPU and no secondary MMU reaches the old pages here; they stay in the
 * object, pinned ones too.  Other regions and address spaces keep their own order.
 * Linux: remap_file_pages(2).
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL, also for private memory, for two objects and for pages beyond the
 * object's end; -ENOENT for a hole; -ENOMEM.
 */
must_check int mm_remap_object(struct mm *mm, va_t start, va_t end,
			       uint64_t pgoff);

/*
 * Make a copy of parent in *child that shares every page until one side writes.
 * Pinned pages, and blocks of the fixed pool, are copied at once.  Linux: dup_mmap(),
 * copy_page_range().
 *
 * Context: may sleep; takes parent->lock to write.
 * Returns 0; -ENOMEM with no child: the parent's contents are unchanged, but
 * entries of it may have lost W, which the next write restores.
 */
must_check int mm_fork(struct mm *parent, struct mm **child);

/* ---- which pages were written ------------------------------------------ */

/*
 * Begin to record which pages of [start, end), which may have holes, are written by a CPU
 * or a device through their addresses here.  At most TRACK_PAGES.  Linux: clear_refs=4.
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL, also for a longer range; -EEXIST if a page is tracked already;
 * -ENOMEM.
 */
must_check int mm_track_writes(struct mm *mm, va_t start, va_t end);

/*
 * Report which pages of [start, end), part of one tracked range, may have been written
 * since the last call, in one step: a write that ends before the call begins is in this
 * report, one that begins after it has returned is in the next, any other in one of
 * them.  Bit i % 64 of written[i / 64] is page i.  Counted as written are also: a page
 * that was mapped, moved here or discarded; all of 2 MiB that one entry maps; a page that
 * is pinned, or with a device.  What another address space writes is not.
 * Linux: PAGEMAP_SCAN with PM_SCAN_WP_MATCHING, pagemap's bit 55.
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL; -ENOENT if it is not part of a tracked range; -ENOMEM: then
 * nothing is forgotten.
 */
must_check int mm_take_written(struct mm *mm, va_t start, va_t end,
			       uint64_t *written);

/*
 * End the record of exactly this range.  Context: may sleep; takes mm->lock to write.
 * Returns 0; -ENOENT if there is none.
 */
must_check int mm_untrack_writes(struct mm *mm, va_t start, va_t end);

/* ---- contents ---------------------------------------------------------- */

/*
 * Drop the pages of [start, end), which may have holes: private memory reads as
 * zero again, shared memory is found in its object.  Linux: MADV_DONTNEED.
 *
 * Context: may sleep; takes mm->lock to read.
 * Returns 0; -EINVAL, also if a region in the range has MAP_HUGETLB.
 */
must_check int mm_discard(struct mm *mm, va_t start, va_t end);

/*
 * Take the private pages of an mm that is about to be killed because memory has
 * run out, without sleeping.  Linux: __oom_reap_task_mm().
 *
 * Context: any that may take RANK_PT; not inside a notifier's callback.
 * Returns 0; -EAGAIN if a layout operation is under way or a notifier would have
 * to sleep: pages that were taken before stay taken, and read as zero.
 */
must_check int mm_reap(struct mm *mm);

/*
 * Make the access to va possible: called by the page fault of a CPU and, through
 * iommu/sva/, by that of a device.  access is one of PROT_R, PROT_W, PROT_X; a
 * region with any right may be read, because x86 entries cannot deny only that.
 *
 * Context: may sleep; takes mm->lock to read.
 * Returns 0; -EFAULT if no region allows the access; -ENOMEM: tables may have been
 * added; -EIO if the page cannot be read from the swap store: its entry stays, and
 * the next access tries again.
 */
must_check int mm_fault(struct mm *mm, va_t va, enum prot access);

/* ---- regions ----------------------------------------------------------- */

/* Do region_find() in the tree. */
struct region *region_lookup(struct mm *mm, va_t va);

/* Return the region that contains va, or NULL.  Context: mm->lock held. */
static inline struct region *region_find(struct mm *mm, va_t va)
{
	/*
	 * Readers race to store the hint: any region of this mm is a good one.
	 * A writer, which may free the region, resets it.
	 */
	struct region *r = READ_ONCE(mm->last);

	require(rw_held(&mm->lock));
	return likely(r && va >= r->start && va < r->end)
		       ? r
		       : region_lookup(mm, va);
}

/* Return the lowest region that meets [from, to), or NULL.
 * Context: mm->lock, or no other thread changes mm. */
struct region *region_first(struct mm *mm, va_t from, va_t to);

/* Return the next region after r that meets [from, to), or NULL.
 * Context: as region_first(). */
struct region *region_next(struct region *r, va_t from, va_t to);

/* Return the page number of va, in the region's object or anon_vmas. */
static inline uint64_t region_pgoff(const struct region *r, va_t va)
{
	return r->pgoff + ((va - r->start) >> PAGE_SHIFT);
}

/* Return true if [start, end) is page-aligned, not empty, and in the user half. */
static inline bool range_valid(va_t start, va_t end)
{
	return IS_ALIGNED(start | end, PAGE_SIZE) && start >= USER_START &&
	       start < end && end <= USER_END;
}
