/* SPDX-License-Identifier: MIT */
/*
 * ksm.h - equal private pages of willing regions become one frame
 *
 * Who opts in, how far the scanner goes, what it has found.  Names are Linux's
 * (Documentation/admin-guide/mm/ksm.rst); KSM.md is the chapter.
 */
#pragma once

#include "mm/ksm_sum.h"
#include "mm/mm.h"

typedef uint32_t ksm_sum_fn(const void *page);

/* Changed by whoever runs the scanner, while it stands still. */
struct ksm_knobs {
	unsigned pages_to_scan;    /* by the thread, from sleep to sleep    */
	uint64_t sleep_ns;         /* how long that is                      */
	unsigned max_page_sharing; /* entries of one frame; ksm_set_bound() */
	bool use_zero_pages;       /* pages of zeroes: the zero page        */
	bool late_flush;           /* the old frame leaves the TLBs after
				    * the window, before it is free: B11    */
	ksm_sum_fn *sum;           /* for tests: the checksum               */
};

extern struct ksm_knobs ksm_knobs;

/* The values that ksm_knobs has at boot. */
#define KSM_KNOBS_DEFAULT                                             \
	{                                                             \
		.pages_to_scan = 100, .sleep_ns = 20000000,           \
		.max_page_sharing = KSM_DEFAULT_BOUND, .sum = ksm_sum \
	}
#define KSM_DEFAULT_BOUND 256u

/* Must run once before the first mm_create(). */
void ksm_init(void);

/* ---- regions (each takes mm->lock for writing; may sleep) --------------- */

/*
 * From now on the private pages of [start, end) may be merged; regions that
 * are shared memory stay as they are.  Linux: MADV_MERGEABLE.
 * Returns -EINVAL, -ENOENT for a hole, -ENOMEM.
 */
must_check int ksm_mergeable(struct mm *mm, va_t start, va_t end);

/*
 * No more; and every merged page of the range is private again when it returns.
 * Linux: MADV_UNMERGEABLE.
 * Returns as above; after -ENOMEM no content is lost, some regions are done and
 * have left, the rest is mergeable and partly merged.
 */
must_check int ksm_unmergeable(struct mm *mm, va_t start, va_t end);

/*
 * Every merged page of every mm is private again, regions stay mergeable.
 * Linux: writing 2 to run.  Returns -ENOMEM with a consistent mix.
 */
must_check int ksm_unmerge_all(void);

/* ---- the scanner --------------------------------------------------------- */

/*
 * Look at up to n pages from where the last call stopped; ends early where all
 * have been looked at once.  Returns how many were looked at, or -ENOMEM: then
 * some could not be remembered or merged, and all contents are as they were.
 *
 * Context: may sleep; no lock of RANK_KSM or above.
 */
must_check int ksm_scan(unsigned n);

/* To the end of the present pass over all pages, or one whole pass. */
must_check int ksm_full_scan(void);

/* A thread that scans ksm_knobs.pages_to_scan, sleeps, and so on, until it is
 * stopped.  -ENOMEM; -EBUSY if it runs. */
must_check int ksm_start(void);
void ksm_stop(void);

/* How many entries one frame may have before another is made for the same
 * content.  -EINVAL below 2, -EBUSY while anything is merged. */
must_check int ksm_set_bound(unsigned max_page_sharing);

/* All exact at a quiet point. */
struct ksm_stat {
	uint64_t pages_shared;   /* frames that stand for several           */
	uint64_t pages_sharing;  /* entries beyond one of each: pages saved */
	uint64_t pages_unshared; /* in the unstable tree: found no equal    */
	uint64_t pages_volatile; /* changed, or seen only once              */
	uint64_t pages_scanned;  /* ever                                    */
	uint64_t pages_merged;   /* ever: entries led to another frame    */
	uint64_t full_scans;     /* passes that have ended                  */
	uint64_t stable_node_chains; /* contents with more than one frame    */
	uint64_t stable_node_dups;   /* their frames                         */
	uint64_t ksm_zero_pages_sharing; /* entries led to the zero page     */
	uint64_t bytes; /* of memory for all of this               */
};

void ksm_stat(struct ksm_stat *stat);

/*
 * Oracle, at a quiet point: recompute all counters from the tables; merged
 * frames are read-only, as their checksum says, found in order in the tree, and
 * only in willing regions.  NULL, or what is wrong in words.
 */
const char *ksm_check(void);

/* ---- for mm's own files -------------------------------------------------- */

/* A fork of a mm is complete: the child's pages may be looked at. */
void ksm_fork(struct mm *parent, struct mm *child);

/* The last user of mm is gone: nobody looks at its pages any more.  Sleeps. */
void ksm_exit(struct mm *mm);

/*
 * The last reference of a merged frame is gone: so is its node.
 * Context: any that may take RANK_STABLE.
 */
void ksm_page_gone(struct page *page);

/* The walk of mm/rmap.h, for a merged page. */
struct region;
void ksm_rmap_walk(struct page *page,
		   bool (*visit)(struct page *page, struct region *region,
				 va_t va, void *arg),
		   void *arg);

/*
 * An entry of the zero page that the scanner put there has PTE_D, which a CPU
 * never sets in an entry without W.  n more of them, or less.
 */
void ksm_zero_count(int n);
