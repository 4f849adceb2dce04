/* SPDX-License-Identifier: MIT */
/*
 * ksm.h - equal private pages of mergeable regions become one frame
 *
 * Opting in and out, the scanner, and its statistics.  Names are Linux's
 * (Documentation/admin-guide/mm/ksm.rst, mm/ksm.c); KSM.md is the chapter.
 * Address ranges are half-open: [start, end), multiples of PAGE_SIZE.
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/ksm/ksm_sum.h"

typedef uint32_t ksm_sum_fn(const void *page);

/* Settings.  Changed only while no thread scans (after ksm_stop()). */
struct ksm_knobs {
	unsigned pages_to_scan;    /* pages a wakeup of the thread          */
	uint64_t sleep_ns;         /* nanoseconds between two wakeups       */
	unsigned max_page_sharing; /* entries of one frame; ksm_set_bound() */
	bool use_zero_pages;       /* map pages of zeroes to zero_page      */
	ksm_sum_fn *sum;           /* the checksum; tests replace it        */
};

extern struct ksm_knobs ksm_knobs;

/* The values that ksm_knobs has at boot. */
#define KSM_KNOBS_DEFAULT                                           \
	((struct ksm_knobs){ .pages_to_scan = 100,                  \
			     .sleep_ns = 20000000,                  \
			     .max_page_sharing = KSM_DEFAULT_BOUND, \
			     .sum = ksm_sum })
#define KSM_DEFAULT_BOUND 256u

/* Sets up locks, pools and lists.  Must run once before the first mm_create(). */
void ksm_init(void);

/* ---- regions ------------------------------------------------------------- */

/*
 * Allow the private pages of [start, end) to be merged.  Regions of shared
 * memory are skipped.  Linux: madvise(MADV_MERGEABLE).
 *
 * Context: may sleep; takes mm->lock to write.
 * Returns 0; -EINVAL for a bad range, -ENOENT if part of it is not mapped, -ENOMEM
 * if a region cannot be split.
 */
must_check int ksm_mergeable(struct mm *mm, va_t start, va_t end);

/*
 * Take the permission back.  When it returns 0 every merged page of [start, end)
 * is private again.  Linux: madvise(MADV_UNMERGEABLE).
 *
 * Context: may sleep; takes ksm.lock, then mm->lock to write.
 * Returns as ksm_mergeable().  After -ENOMEM all contents are intact; some
 * regions are no longer mergeable, the others still are and are partly merged.
 */
must_check int ksm_unmergeable(struct mm *mm, va_t start, va_t end);

/*
 * Make every merged page of every mm private again; regions stay mergeable.
 * All rmap_items are dropped, and the next scan begins a pass.
 * Linux: writing 2 to /sys/kernel/mm/ksm/run.
 *
 * Context: may sleep; takes ksm.lock, then each mm->lock to read.
 * Returns 0, or -ENOMEM: contents are intact, some pages are still merged.
 */
must_check int ksm_unmerge_all(void);

/* ---- the scanner --------------------------------------------------------- */

/*
 * Scan up to n pages from the cursor on.  Stops early at the end of a pass.
 *
 * Context: may sleep; takes ksm.lock, so the caller holds no lock of RANK_KSM or of
 * a later rank.
 * Returns the number of pages scanned, or -ENOMEM if memory for an rmap_item or a
 * merge was missing: those pages were skipped, all contents are intact.
 */
must_check int ksm_scan(unsigned n);

/*
 * Scan to the end of the pass that is under way; if none is, one whole pass.
 * Context: as ksm_scan().  Returns 0 or -ENOMEM as ksm_scan().
 */
must_check int ksm_full_scan(void);

/*
 * Start the thread that scans ksm_knobs.pages_to_scan pages, sleeps for
 * ksm_knobs.sleep_ns, and repeats.
 *
 * Context: may sleep; no lock of RANK_KSM_RUN or of a later rank held.
 * Returns 0; -EBUSY if the thread exists or another call is starting or stopping
 * it; -ENOMEM.
 */
must_check int ksm_start(void);

/* Stops the thread; it has ended when the call returns.  Context: as ksm_start().
 * Without a thread it does nothing. */
void ksm_stop(void);

/*
 * Set max_page_sharing: how many entries may map one merged frame before a second
 * frame (a dup of its stable node) is made for the same content.
 *
 * Context: may sleep; takes ksm.lock.
 * Returns 0; -EINVAL below 2, -EBUSY while any page is merged.
 */
must_check int ksm_set_bound(unsigned max_page_sharing);

/* Counts of pages but for the last field.  Exact while nothing else runs. */
struct ksm_stat {
	uint64_t pages_shared;   /* merged frames with an entry             */
	uint64_t pages_sharing;  /* their entries beyond the first: saved   */
	uint64_t pages_unshared; /* rmap_items in the unstable tree         */
	uint64_t pages_volatile; /* rmap_items of pages that changed, or
				  * were scanned only once                  */
	uint64_t pages_scanned;  /* since boot                              */
	uint64_t pages_merged;   /* since boot: entries moved to another
				  * frame                                   */
	uint64_t full_scans;     /* passes that have ended                  */
	uint64_t stable_node_chains;     /* contents with several frames    */
	uint64_t stable_node_dups;       /* frames of those contents        */
	uint64_t ksm_zero_pages_sharing; /* entries of zero_page made here  */
	uint64_t bytes;                  /* memory of all KSM structures    */
};

/* Computes the statistics.  Context: may sleep; takes ksm.lock. */
void ksm_stat(struct ksm_stat *stat);

/*
 * Checker: recompute all counters from the page tables; merged frames are
 * read-only, match their checksum, are found in order in the stable tree, and are
 * mapped only by mergeable regions.
 *
 * Context: may sleep; takes ksm.lock; nothing else runs.
 * Returns NULL or an error message.
 */
const char *ksm_check(void);
