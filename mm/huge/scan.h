/* SPDX-License-Identifier: MIT */
/*
 * scan.h - the scanner of collapse: find small pages that are worth one entry
 *
 * It visits the private regions with MAP_HUGE of all address spaces, and in them each
 * table of 512 small entries.  It collapses one if at least one of its pages was
 * used, by a CPU or by a secondary MMU, since its accessed bits were last cleared, if
 * not too many entries are empty, and if no page has a reference but its entry.
 * Linux: khugepaged, hpage_collapse_scan_pmd().
 */
#pragma once

#include "mm/core/mm.h"

/* Settings.  Changed only while no thread scans (after huge_scan_stop()). */
struct huge_scan_knobs {
	unsigned tables_to_scan; /* tables a wakeup of the thread            */
	uint64_t sleep_ns;       /* nanoseconds between two wakeups          */
	unsigned max_none;       /* most empty entries of 512 in a table     */
};

extern struct huge_scan_knobs huge_scan_knobs;

/* The values that huge_scan_knobs has at boot.  max_none as in Linux: one page is
 * enough. */
#define HUGE_SCAN_KNOBS_DEFAULT    \
	((struct huge_scan_knobs){ \
		.tables_to_scan = 8, .sleep_ns = 100000000, .max_none = 511 })

/* Set up the locks.  Context: boot, once, before the first mm_create(). */
void huge_scan_init(void);

/*
 * Visit up to n tables from the cursor on, and collapse those that qualify.  Stops early
 * at the end of a pass over all address spaces.
 *
 * Context: may sleep; takes the scanner's lock, mm_list_lock, and each mm->lock to write
 * for a collapse: no lock of RANK_HUGE_SCAN or of a later rank held.
 * Returns the number of tables visited; 0 at the end of a pass.
 */
unsigned huge_scan(unsigned n);

/* Scan to the end of the pass that is under way; if none is, one whole pass.
 * Context: as huge_scan(). */
void huge_full_scan(void);

/*
 * Start the thread that visits huge_scan_knobs.tables_to_scan tables, sleeps for
 * huge_scan_knobs.sleep_ns, and repeats.
 *
 * Context: may sleep; no lock of RANK_HUGE_RUN or of a later rank held.
 * Returns 0; -EBUSY if the thread exists or another call is starting or stopping it;
 * -ENOMEM.
 */
must_check int huge_scan_start(void);

/* Stop the thread; it has ended when the call returns.  Without a thread it does nothing.
 * Context: as huge_scan_start(). */
void huge_scan_stop(void);

/* Counts since boot.  Exact while nothing else runs: scanned is the sum of the next
 * five. */
struct huge_scan_stat {
	uint64_t scanned;   /* tables that were visited                    */
	uint64_t collapsed; /* of these, replaced by one entry             */
	uint64_t idle;      /* no page was used                            */
	uint64_t sparse;    /* more than max_none entries are empty        */
	uint64_t busy;      /* a page is shared, merged, evicted, swapped
			     * or has another reference                    */
	uint64_t no_block;  /* there was no free block                     */
	uint64_t passes;    /* passes over all address spaces              */
};

/* Context: may sleep; takes the scanner's lock. */
void huge_scan_stat(struct huge_scan_stat *stat);
