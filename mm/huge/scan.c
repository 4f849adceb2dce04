/* SPDX-License-Identifier: MIT */
/*
 * scan.c - the scanner of collapse and its thread
 *
 *   cursor: mm, address
 *      |
 *   mm->lock to read, pt_lock: the next table, and does it qualify?
 *      |                                            | another thread may change it
 *   mm->lock to write: collapse_advised()           | here: it is tested again
 *
 * The cursor keeps the number of an mm, not a pointer: an mm that has ended is passed
 * over, and neither an exit nor a fork takes a lock of the scanner.
 *
 * "Used" is the accessed bit of an entry or the word of a notifier: a device or guest with
 * a table of its own never sets the CPU's bit, and pages that it alone uses would look
 * idle (C87).
 */
#include "mm/huge/scan.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "kernel/thread.h"
#include "mm/core/entry.h"
#include "mm/huge/collapse.h"
#include "mm/notifier/mmu_notifier.h"
#include "mm/rmap/huge.h"

struct huge_scan_knobs huge_scan_knobs = HUGE_SCAN_KNOBS_DEFAULT;

static struct {
	struct rwsem run_lock; /* RANK_HUGE_RUN: start and stop            */
	struct rwsem lock;     /* RANK_HUGE_SCAN: the two below            */
	unsigned id;           /* the cursor: number of an mm, ...         */
	va_t va;               /* ... and where the next table is looked for */
	struct huge_scan_stat stat;
	struct thread *thread; /* run_lock */
	_Atomic bool stop;
} scan;

void huge_scan_init(void)
{
	rw_init(&scan.run_lock, RANK_HUGE_RUN, "huge scan thread");
	rw_init(&scan.lock, RANK_HUGE_SCAN, "huge scan");
}

/* Return true if the scanner may collapse pages of the region. */
static bool region_advised(const struct region *r)
{
	return r->flags & MAP_HUGE && !r->object && r->prot;
}

/*
 * Find the next table at or after *va that the scanner may replace: its 2 MiB lie inside
 * an advised region.  *va is then its address.  Returns its entries, or NULL.
 * Context: mm->lock held.
 */
static uint64_t *next_table(struct mm *mm, va_t *va)
{
	struct region *r;
	struct pt_run run;

	require(rw_held(&mm->lock));
	if (READ_ONCE(mm->limit))
		return NULL;
	for_each_region (r, mm, *va, USER_END) {
		va_t from = ALIGN_UP(r->start, BLOCK_SIZE);
		va_t end = ALIGN_DOWN(r->end, BLOCK_SIZE);

		if (from < *va)
			from = *va;
		while (region_advised(r) && from < end &&
		       pt_next_run(&mm->pt, &from, end, &run)) {
			if (run.level)
				continue;
			*va = run.va;
			return run.slots;
		}
	}
	return NULL;
}

struct look {
	unsigned none, young, busy;
};

/* Count what a small entry is.  Context: mm->pt_lock held. */
static void look_at(struct mm *mm, va_t va, uint64_t e, struct look *look)
{
	require(spin_held(&mm->pt_lock));
	if (!e || (entry_mapped(e) && entry_page(e) == zero_page)) {
		look->none++;
		return;
	}
	if (!entry_mapped(e) || page_kind(entry_page(e)) != PAGE_ANON ||
	    page_count(entry_page(e)) != PAGE_MAP) {
		look->busy++;
		return;
	}
	if (look->young)
		return;
	look->young = e & PTE_A ||
		      (mm_has_notifiers(mm) && mmu_notifier_test_young(mm, va));
}

/* Return the counter of the reason why the table at va is left, or NULL if it is worth
 * a collapse.  Context: mm->lock held. */
static uint64_t *why_not(struct mm *mm, va_t va, const uint64_t *small)
{
	struct look look = { 0, 0, 0 };

	require(rw_held(&mm->lock));
	spin_lock(&mm->pt_lock);
	for (unsigned i = 0; i < BLOCK_PAGES && !look.busy; i++)
		look_at(mm, va + i * PAGE_SIZE, pte_read(&small[i]), &look);
	spin_unlock(&mm->pt_lock);
	if (look.busy)
		return &scan.stat.busy;
	if (look.none > huge_scan_knobs.max_none || look.none == BLOCK_PAGES)
		return &scan.stat.sparse;
	return look.young ? NULL : &scan.stat.idle;
}

/* Visit the next table of mm.  Returns false if there is none.
 * Context: scan.lock held to write. */
static bool scan_table(struct mm *mm)
{
	uint64_t *small, *counter = NULL;
	va_t va = scan.va;
	int ret;

	require(rw_held_write(&scan.lock) && may_sleep());
	rw_read_lock(&mm->lock);
	small = next_table(mm, &va);
	if (small)
		counter = why_not(mm, va, small);
	rw_read_unlock(&mm->lock);
	if (!small)
		return false;
	PROBE(huge_scanned, mm, va);
	scan.va = va + BLOCK_SIZE;
	scan.stat.scanned++;
	if (!counter) {
		ret = collapse_advised(mm, va);
		counter = !ret             ? &scan.stat.collapsed
			  : ret == -ENOMEM ? &scan.stat.no_block
					   : &scan.stat.busy;
	}
	++*counter;
	return true;
}

/* Visit the next table.  Returns false at the end of a pass. */
static bool scan_next(void)
{
	struct mm *mm;
	bool found;

	require(rw_held_write(&scan.lock));
	while ((mm = mm_next(scan.id ? scan.id - 1 : 0))) {
		if (mm->id != scan.id)
			scan.va = USER_START;
		scan.id = mm->id;
		found = scan_table(mm);
		if (!found)
			scan.id++;
		mm_put(mm);
		if (found)
			return true;
		scan.va = USER_START;
	}
	scan.id = 0;
	scan.stat.passes++;
	return false;
}

unsigned huge_scan(unsigned n)
{
	unsigned scanned = 0;
	bool more = true;

	require(may_sleep() && locks_below(RANK_HUGE_SCAN));
	while (more && scanned < n) {
		rw_write_lock(&scan.lock);
		more = scan_next();
		rw_write_unlock(&scan.lock);
		scanned += more;
	}
	return scanned;
}

void huge_full_scan(void)
{
	require(may_sleep() && locks_below(RANK_HUGE_SCAN));
	while (huge_scan(1))
		;
}

/* ---- the thread ----------------------------------------------------------- */

static void scan_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&scan.stop)) {
		huge_scan(huge_scan_knobs.tables_to_scan);
		sleep_ns(huge_scan_knobs.sleep_ns);
	}
}

int huge_scan_start(void)
{
	int ret = 0;

	require(may_sleep() && locks_below(RANK_HUGE_RUN));
	/* A stop that is under way holds the lock until the thread has ended. */
	if (!rw_write_trylock(&scan.run_lock))
		return err(EBUSY);
	if (scan.thread) {
		ret = err(EBUSY);
	} else {
		atomic_store(&scan.stop, false);
		scan.thread = thread_create("huge scan", scan_main, NULL);
		ret = scan.thread ? 0 : err(ENOMEM);
	}
	rw_write_unlock(&scan.run_lock);
	return ret;
}

void huge_scan_stop(void)
{
	require(may_sleep() && locks_below(RANK_HUGE_RUN));
	rw_write_lock(&scan.run_lock);
	atomic_store(&scan.stop, true);
	if (scan.thread)
		thread_join(scan.thread);
	scan.thread = NULL;
	rw_write_unlock(&scan.run_lock);
}

void huge_scan_stat(struct huge_scan_stat *stat)
{
	require(may_sleep() && locks_below(RANK_HUGE_SCAN));
	rw_read_lock(&scan.lock);
	*stat = scan.stat;
	rw_read_unlock(&scan.lock);
}
