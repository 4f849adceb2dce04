/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - the hand of the clock, the limit of an address space
 *
 * The hand (mm->hand) moves under pt_lock, page by page, and each page that it stops
 * at has a reference: several threads may reclaim at once, each with other pages.
 * The pages that are to go are collected, and evicted with one flush.
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

/*
 * Ends of the address space that the hand comes to: of the turn in which it begins only a
 * part is left, in a whole turn each page loses its accessed bits, in the next one each
 * page that was not used since can go, and in the last one used pages go, too.
 */
#define TURNS 4

/* Return the page of the entry with a reference, if it may be swapped out, or NULL.
 * The caller holds the pt_lock of the entry. */
static struct page *candidate(uint64_t e)
{
	struct page *page;

	if (!entry_mapped(e))
		return NULL;
	page = entry_page(e);
	if (!kind_user(page_kind(page)) || page_pins(page))
		return NULL;
	page_get(page);
	return page;
}

/* Find the first candidate of a run, and put the hand behind it.  NULL: none.
 * *va receives its address.  Context: mm->lock held. */
static struct page *run_candidate(struct mm *mm, const struct pt_run *run,
				  va_t *va)
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
	*va = mm->hand - pt_span(run->level);
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
 * *at receives its address.  Context: mm->lock held. */
static struct page *hand_next(struct mm *mm, va_t *at)
{
	va_t hand = hand_read(mm);
	struct region *r;
	struct pt_run run;

	require(rw_held(&mm->lock));
	for_each_region (r, mm, hand, USER_END) {
		va_t va = r->start > hand ? r->start : hand;

		if (r->flags & MAP_LOCKED)
			continue;
		while (pt_next_run(&mm->pt, &va, r->end, &run)) {
			struct page *page = run_candidate(mm, &run, at);

			if (page)
				return page;
		}
	}
	hand_restart(mm);
	return NULL;
}

/* Drop a reference.  Another thread may be swapping the page out. */
static void drop(struct page *page)
{
	if (page_cached(page))
		swap_cache_put(page);
	else
		page_put(page);
}

/* Return whether the page is in the batch: one mm may map a merged page twice. */
static bool batch_has(const struct evict_batch *batch, const struct page *page)
{
	for (unsigned i = 0; i < batch->count; i++)
		if (batch->entries[i].page == page)
			return true;
	return false;
}

/* Swap out the pages of the batch, and empty it.  Returns how many frames were freed.
 * Context: mm->lock held. */
static unsigned batch_go(struct evict_batch *batch)
{
	unsigned freed = 0;

	require(rw_held(&batch->mm->lock));
	if (batch->count)
		freed = swap_out_batch(batch);
	while (batch->count)
		drop(batch->entries[--batch->count].page);
	return freed;
}

/* Drop page, which was given up, or put it into the batch, or leave it in memory; the
 * caller's reference goes with it.  Returns how many frames were freed. */
static unsigned reclaim_page(struct evict_batch *batch, struct page *page,
			     va_t va, bool store, bool last)
{
	bool used = page_referenced(page) && !last, dropped = false;

	PROBE(reclaim_page, page, used);
	if (!used)
		dropped = page_drop_lazy(page);
	if (used || dropped || !store || batch_has(batch, page))
		drop(page);
	else
		batch->entries[batch->count++] =
			(struct evict_entry){ .page = page, .va = va };
	return dropped;
}

unsigned mm_reclaim(struct mm *mm, unsigned n)
{
	struct evict_batch batch = { .mm = mm };
	bool store = swap_stat().pages;
	unsigned turn = 0, freed = 0;

	require(may_sleep() && locks_below(RANK_MM));
	if (!store && !lazy_any())
		return 0;
	rw_read_lock(&mm->lock);
	while (freed < n && turn < TURNS) {
		va_t va;
		struct page *page = hand_next(mm, &va);

		if (page)
			freed += reclaim_page(&batch, page, va, store,
					      turn == TURNS - 1);
		if (!page || batch.count == EVICT_BATCH ||
		    freed + batch.count >= n)
			freed += batch_go(&batch);
		turn += !page;
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

/* Return how many pages more than one a fault at the limit swaps out, so that those
 * after it find room, and one flush does for all. */
static unsigned limit_room(uint64_t limit)
{
	return limit / 8 < EVICT_BATCH ? (unsigned)(limit / 8)
				       : EVICT_BATCH - 1;
}

void mm_keep_limit(struct mm *mm)
{
	uint64_t limit = READ_ONCE(mm->limit), mapped;

	require(may_sleep() && locks_below(RANK_MM));
	spin_lock(&mm->pt_lock);
	mapped = mm->mapped;
	spin_unlock(&mm->pt_lock);
	if (limit && mapped >= limit)
		mm_reclaim(mm,
			   (unsigned)(mapped - limit) + 1 + limit_room(limit));
}
