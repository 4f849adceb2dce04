/* SPDX-License-Identifier: MIT */
/*
 * migrate_vma.c - collect and unmap, commit, restore
 *
 *   setup      mapped, one user ──► evicted, PG_MOVING, one flush for each table
 *   the driver copies: no MMU writes the page any more
 *   pages      evicted, page frozen ──► device entry
 *   finalize   evicted ──► mapped, where pages did not commit
 *
 * Between the steps mm->lock is held to read: no fork, unmap or move meets the entries.
 * A discard may, and takes one away; an entry that does not name its page any more
 * is not touched.  Only a page with a single mapping and no other user is collected, so
 * the entries of one address space are all that has to change.
 */
#include "mm/hmm/migrate_vma.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/core/entry.h"
#include "mm/core/track.h"
#include "mm/frame/moving.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/migrate.h"
#include "mm/rmap/rmap.h"

static unsigned pages_of(const struct migrate_vma *args)
{
	return (unsigned)((args->end - args->start) >> PAGE_SHIFT);
}

static unsigned index_of(const struct migrate_vma *args, va_t va)
{
	return (unsigned)((va - args->start) >> PAGE_SHIFT);
}

static va_t va_of(const struct migrate_vma *args, unsigned i)
{
	return args->start + i * PAGE_SIZE;
}

/* Begin an invalidation that the owner may ignore. */
static void change_start(const struct migrate_vma *args,
			 struct mmu_notifier_range *range)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_MIGRATE, args->mm,
				args->start, args->end);
	range->owner = args->owner;
	mmu_notifier_invalidate_range_start(range);
}

/* ---- collect --------------------------------------------------------------- */

/* Replace the entry by an evicted one of page, and take a reference for the caller.
 * Context: pt_lock held. */
static void collect_page(struct migrate_vma *args, uint64_t *slot,
			 struct page *page)
{
	uint64_t next = entry_make_evicted(page), old;

	require(spin_held(&args->mm->pt_lock));
	old = pte_xchg(slot, next);
	next |= old & PTE_A;
	if (entry_dirty(args->mm, old))
		next |= PTE_D;
	pte_write(slot, next);
	/* The mapping becomes the entry's reference; one more is ours. */
	page_count_add(page, PAGE_REF - BIT(32));
	args->mm->mapped--;
}

/* Collect the entry of page i.  Returns true if a translation may be cached.
 * Context: pt_lock held. */
static bool collect_entry(struct migrate_vma *args, unsigned i, uint64_t *slot)
{
	uint64_t e = pte_read(slot);
	struct page *page;

	require(spin_held(&args->mm->pt_lock));
	if (!e) {
		args->src[i] = MIGRATE_PFN_MIGRATE;
		return false;
	}
	if (!entry_mapped(e))
		return false;
	page = entry_page(e);
	if (page == zero_page) {
		/* A hole reads the same, and needs no copy either. */
		if (e & PTE_D)
			zero_merged_add(-1);
		pte_write(slot, 0);
		pt_count(&args->mm->pt, slot, -1);
		args->src[i] = MIGRATE_PFN_MIGRATE;
		return true;
	}
	if (page_kind(page) != PAGE_ANON || page_order(page) ||
	    !page_exclusive(page) || page_count(page) != PAGE_MAP ||
	    !moving_begin(page))
		return false;
	collect_page(args, slot, page);
	args->src[i] = migrate_pfn(page) | MIGRATE_PFN_MIGRATE;
	return true;
}

/* Collect the entries of one table, and flush.  Context: pt_lock held. */
static void collect_run(struct migrate_vma *args, const struct pt_run *run)
{
	bool flush = false;

	require(spin_held(&args->mm->pt_lock));
	assert(run->level == 0);
	for (unsigned k = 0; k < run->count; k++)
		flush |= collect_entry(args, index_of(args, run->va) + k,
				       &run->slots[k]);
	PROBE(pte_clear, args->mm, run->va);
	if (flush)
		tlb_flush_range(args->mm, run->va,
				run->va + run->count * PAGE_SIZE);
}

/* Mark the pages of [from, to), which has no table, as holes. */
static void collect_holes(struct migrate_vma *args, va_t from, va_t to)
{
	for (va_t va = from; va < to; va += PAGE_SIZE)
		args->src[index_of(args, va)] = MIGRATE_PFN_MIGRATE;
}

/* Collect the whole range.  Context: mm->lock held. */
static void collect(struct migrate_vma *args)
{
	struct mm *mm = args->mm;
	va_t va = args->start, done = va;
	struct pt_run run;

	require(rw_held(&mm->lock));
	while (done < args->end) {
		spin_lock(&mm->pt_lock);
		if (!pt_next_run(&mm->pt, &va, args->end, &run)) {
			run.va = va = args->end;
			run.level = 0;
			run.count = 0;
		}
		if (run.level) {
			huge_split(mm, run.va);
			va = run.va < done ? done : run.va;
		} else {
			collect_holes(args, done, run.va);
			if (run.count)
				collect_run(args, &run);
			done = run.va + run.count * PAGE_SIZE;
		}
		spin_unlock(&mm->pt_lock);
	}
}

/* Return the region that the range must lie in, or NULL. */
static struct region *region_for(const struct migrate_vma *args)
{
	struct region *r;

	if (!range_valid(args->start, args->end))
		return NULL;
	r = region_find(args->mm, args->start);
	if (!r || args->end > r->end || r->object || !r->prot ||
	    r->flags & (MAP_LOCKED | MAP_HUGETLB))
		return NULL;
	return r;
}

int migrate_vma_setup(struct migrate_vma *args)
{
	struct mmu_notifier_range range;

	require(may_sleep() && rw_held(&args->mm->lock));
	args->region = region_for(args);
	if (!args->region)
		return err(EINVAL);
	memset(args->src, 0, pages_of(args) * sizeof(*args->src));
	memset(args->dst, 0, pages_of(args) * sizeof(*args->dst));
	change_start(args, &range);
	collect(args);
	mmu_notifier_invalidate_range_end(&range);
	args->cpages = 0;
	for (unsigned i = 0; i < pages_of(args); i++)
		args->cpages += !!(args->src[i] & MIGRATE_PFN_MIGRATE);
	PROBE(migrate_collected, args->mm, args->cpages);
	return 0;
}

/* ---- commit ---------------------------------------------------------------- */

/* Put `to` where page was collected.  Returns false if the entry or the page is in use
 * otherwise.  Context: pt_lock held. */
static bool commit_page(struct migrate_vma *args, uint64_t *slot,
			struct page *page, struct page *to)
{
	uint64_t e = pte_read(slot);

	require(spin_held(&args->mm->pt_lock));
	/* The entry's reference, and ours. */
	if (!entry_evicted(e) || !entry_names(e, page) ||
	    !page_freeze(page, 2 * PAGE_REF))
		return false;
	if (page_exclusive(page))
		page_set_exclusive(to);
	page_set(to, PG_MOVING); /* until finalize drops its reference */
	page_move_owner(page, to);
	page_get(to);
	pte_write(slot, entry_make_moving(to, e, e & PTE_D));
	page_unfreeze(page, 2 * PAGE_REF);
	page_put(page);
	return true;
}

/* Put `to`, which holds zeroes, into a hole.  Returns false if it is none any more.
 * Context: pt_lock held. */
static bool commit_hole(struct migrate_vma *args, uint64_t *slot, va_t va,
			struct page *to)
{
	struct region *r = args->region;

	require(spin_held(&args->mm->pt_lock));
	if (!slot || pte_read(slot))
		return false;
	anon_vma_get(r->anon_vma);
	page_set(to, PG_EXCLUSIVE | PG_MOVING);
	page_change_kind(to, PAGE_VRAM, PAGE_DEVICE, r->anon_vma,
			 region_pgoff(r, va));
	page_get(to);
	pt_set(&args->mm->pt, slot, entry_make_evicted(to) | PTE_D);
	return true;
}

/* Commit page i.  Context: pt_lock held. */
static void commit(struct migrate_vma *args, unsigned i)
{
	struct page *page = migrate_page_of(args->src[i]);
	struct page *to = migrate_page_of(args->dst[i]);
	va_t va = va_of(args, i);
	uint64_t *slot;
	bool done;

	require(spin_held(&args->mm->pt_lock));
	if (!(args->src[i] & MIGRATE_PFN_MIGRATE))
		return;
	slot = to ? pt_slot(&args->mm->pt, va, 0, !page) : NULL;
	done = page ? slot && commit_page(args, slot, page, to)
		    : to && commit_hole(args, slot, va, to);
	if (done) {
		track_note(args->mm, va, va + PAGE_SIZE);
		PROBE(pte_set, args->mm, va);
	} else {
		args->src[i] &= ~MIGRATE_PFN_MIGRATE;
		args->cpages--;
	}
}

void migrate_vma_pages(struct migrate_vma *args)
{
	struct mm *mm = args->mm;

	require(may_sleep() && rw_held(&mm->lock));
	for (unsigned i = 0; i < pages_of(args);) {
		va_t table = ALIGN_DOWN(va_of(args, i), BLOCK_SIZE);

		spin_lock(&mm->pt_lock);
		do
			commit(args, i++);
		while (i < pages_of(args) &&
		       va_of(args, i) < table + BLOCK_SIZE);
		spin_unlock(&mm->pt_lock);
	}
	PROBE(migrate_committed, mm, args->cpages);
}

/* ---- restore --------------------------------------------------------------- */

/* Map page i again, if its entry still names it.  Context: pt_lock held. */
static void restore(struct migrate_vma *args, unsigned i, struct page *page)
{
	struct mm *mm = args->mm;
	uint64_t *slot = pt_slot(&mm->pt, va_of(args, i), 0, false);
	uint64_t e = slot ? pte_read(slot) : 0;

	require(spin_held(&mm->pt_lock));
	if (!entry_evicted(e) || !entry_names(e, page))
		return;
	page_ref_to_map(page);
	mm->mapped++;
	pte_write(slot, entry_unevict(e, args->region->prot));
	PROBE(pte_set, mm, va_of(args, i));
}

void migrate_vma_finalize(struct migrate_vma *args)
{
	struct mm *mm = args->mm;
	struct page *page;

	require(may_sleep() && rw_held(&mm->lock));
	for (unsigned i = 0; i < pages_of(args); i++) {
		page = migrate_page_of(args->src[i]);
		if (page && !(args->src[i] & MIGRATE_PFN_MIGRATE)) {
			spin_lock(&mm->pt_lock);
			restore(args, i, page);
			spin_unlock(&mm->pt_lock);
		}
		if (page) {
			moving_clear(page);
			page_put(page);
		}
		page = migrate_page_of(args->dst[i]);
		if (page) {
			moving_clear(page);
			page_put(page);
		}
	}
	moving_wake();
}
