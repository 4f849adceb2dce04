/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - the hand of the clock, the limit of an address space
 *
 * The hand (mm->hand) moves under pt_lock, page by page, and each page that it stops
 * at has a reference: several threads may reclaim at once, each with other pages.
 * mm->lock is held to read, so that regions and tables stay; swap_out() takes the
 * rmap locks, which come after it.
 *
 * A huge entry is one page for the hand.  If it is unused, the swap-out of its head
 * splits it, and the hand meets the other pages in its next turn.
 */
#include "mm/reclaim/reclaim.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/reclaim/lazy.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"

#define TURNS 3 /* in the last one used pages go, too                       */

/* Return the page of the entry with a reference, if it may be swapped out, or NULL.
 * The caller holds the pt_lock of the entry. */
static struct page *candidate(uint64_t e)
{
	struct page *page;

	if (!entry_mapped(e))
		return NULL;
	page = entry_page(e);
	if ((page_kind(page) != PAGE_ANON && page_kind(page) != PAGE_KSM) ||
	    page_pins(page))
		return NULL;
	page_get(page);
	return page;
}

/* Find the first candidate of a run, and put the hand behind it.  NULL: none.
 * Context: mm->lock held. */
static struct page *run_candidate(struct mm *mm, const struct pt_run *run)
{
	struct page *page = NULL;
	unsigned i;

	require(rw_held(&mm->lock));
	spin_lock(&mm->pt_lock);
	if (!huge_run_valid(mm, run)) {
		spin_unlock(&mm->pt_lock);
		return NULL; /* split meanwhile: its pages have the next turn */
	}
	for (i = 0; i < run->count && !page; i++)
		page = candidate(pte_read(&run->slots[i]));
	mm->hand = run->va + i * pt_span(run->level);
	spin_unlock(&mm->pt_lock);
	return page;
}

/* Return where the hand is; at the end of a turn it goes to the start. */
static va_t hand_read(struct mm *mm)
{
	va_t hand;

	spin_lock(&mm->pt_lock);
	hand = mm->hand;
	spin_unlock(&mm->pt_lock);
	return hand;
}

static void hand_restart(struct mm *mm)
{
	spin_lock(&mm->pt_lock);
	mm->hand = 0;
	spin_unlock(&mm->pt_lock);
}

/* Return the next page at the hand, with a reference; NULL at the end of a turn.
 * Context: mm->lock held. */
static struct page *hand_next(struct mm *mm)
{
	va_t hand = hand_read(mm);
	struct region *r;
	struct pt_run run;

	require(rw_held(&mm->lock));
	for_each_region (r, mm, hand, USER_END) {
		va_t va = r->start > hand ? r->start : hand;

		if (r->object || (r->flags & MAP_LOCKED))
			continue;
		while (pt_next_run(&mm->pt, &va, r->end, &run)) {
			struct page *page = run_candidate(mm, &run);

			if (page)
				return page;
		}
	}
	hand_restart(mm);
	return NULL;
}

unsigned mm_reclaim(struct mm *mm, unsigned n)
{
	bool store = swap_stat().pages;
	unsigned turn = 0, freed = 0;

	require(may_sleep() && locks_below(RANK_MM));
	if (!store && !lazy_any())
		return 0;
	rw_read_lock(&mm->lock);
	while (freed < n && turn < TURNS) {
		struct page *page = hand_next(mm);
		bool used;

		if (!page) {
			turn++;
			continue;
		}
		used = page_referenced(page) && turn < TURNS - 1;
		PROBE(reclaim_page, page, used);
		if (!used)
			freed += page_drop_lazy(page) ||
				 (store && !swap_out(page));
		page_put(page);
	}
	rw_read_unlock(&mm->lock);
	return freed;
}

unsigned reclaim_any(unsigned n)
{
	unsigned freed = 0;
	struct mm *mm;

	require(may_sleep() && locks_below(RANK_MM_LIST));
	if (!swap_stat().pages && !lazy_any())
		return 0;
	for (unsigned id = 0; freed < n && (mm = mm_next(id)); mm_put(mm)) {
		id = mm->id;
		freed += mm_reclaim(mm, n - freed);
	}
	return freed;
}

void mm_set_limit(struct mm *mm, uint64_t pages)
{
	require(locks_below(RANK_PT));
	WRITE_ONCE(mm->limit, pages == 1 ? 2 : pages);
}

void mm_keep_limit(struct mm *mm)
{
	uint64_t limit = READ_ONCE(mm->limit), mapped;

	require(may_sleep() && locks_below(RANK_MM));
	spin_lock(&mm->pt_lock);
	mapped = mm->mapped;
	spin_unlock(&mm->pt_lock);
	if (limit && mapped >= limit)
		mm_reclaim(mm, (unsigned)(mapped - limit) + 1);
}
