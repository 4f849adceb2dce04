/* SPDX-License-Identifier: MIT */
/*
 * remap.c - move pages to another address: mremap(2); put other pages of an object
 * at an address: remap_file_pages(2)
 *
 * The steps that can fail come first: address, cuts, region, anon_vma chains,
 * tables.  Then the entries are moved under the region's rmap lock, so that a
 * reverse-map walk sees each page at the old address or at the new one, and the
 * old translations are flushed before pt_lock is dropped: otherwise a page could
 * be freed through its new address while a CPU still reaches it through the old
 * one (CVE-2018-18281).  The part that is cut off is unmapped last.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/core/track.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/huge_zero.h"
#include "mm/space/mm_priv.h"

struct move {
	struct mm *mm;
	va_t from, to;
	uint64_t len;
	bool seen; /* KSM may have an item for a page of the new address   */
};

static va_t moved(const struct move *m, va_t va)
{
	return va - m->from + m->to;
}

/* Return true if huge entries, each of which lies inside the region, move as they are:
 * to addresses that are aligned as well. */
static bool moves_whole(const struct move *m)
{
	return IS_ALIGNED(m->from ^ m->to, BLOCK_SIZE);
}

/* Extend a run that is a huge entry by those after it that lie in one table, here and
 * at the new address.  *va: as for pt_next_run(). */
static void widen(const struct move *m, struct pt_run *run, va_t *va)
{
	unsigned most = PT_ENTRIES - pt_index(moved(m, run->va), 1);
	va_t end = m->from + m->len;

	if (end - run->va > most * BLOCK_SIZE)
		end = run->va + most * BLOCK_SIZE;
	huge_run_widen(run, va, end);
}

/* Make the tables at the new address for the entries of a run.  Returns false without
 * memory.  Context: mm->pt_lock held. */
static bool make_tables(const struct move *m, const struct pt_run *run)
{
	va_t to = moved(m, run->va);

	require(spin_held(&m->mm->pt_lock));
	if (run->level)
		return pt_slot(&m->mm->pt, to, 1, true);
	/* One table of the source may straddle two here. */
	return pt_slot(&m->mm->pt, to, 0, true) &&
	       pt_slot(&m->mm->pt, to + (run->count - 1) * PAGE_SIZE, 0, true);
}

/* Split the huge entries that do not move as one, and make tables at the new address
 * for every entry that will be moved.  Returns 0, or -ENOMEM with some made. */
static int move_prepare(const struct move *m)
{
	struct pt_run run;
	va_t va = m->from;
	int ret = 0;

	while (!ret && pt_next_run(&m->mm->pt, &va, m->from + m->len, &run)) {
		bool whole = run.level && moves_whole(m);

		if (whole)
			widen(m, &run, &va);
		spin_lock(&m->mm->pt_lock);
		if (run.level && !whole) {
			huge_split(m->mm, run.va);
			va = run.va;
		} else if (!make_tables(m, &run)) {
			ret = err(ENOMEM);
		}
		spin_unlock(&m->mm->pt_lock);
	}
	return ret;
}

/* Return true if e keeps a page that KSM could take for one it has seen. */
static bool unseen(uint64_t e)
{
	return e && !entry_swapped(e) && entry_page(e) != zero_page;
}

/* Move the entries of one leaf table and flush the old address.
 * Context: mm->pt_lock held. */
static void move_run(const struct move *m, const struct pt_run *run)
{
	struct mm *mm = m->mm;

	require(spin_held(&mm->pt_lock));
	assert(run->level == 0);
	for (unsigned i = 0; i < run->count; i++) {
		va_t va = run->va + i * PAGE_SIZE;
		uint64_t e = pte_read(&run->slots[i]);

		if (!e)
			continue;
		e = pte_xchg(&run->slots[i], 0);
		if (m->seen && unseen(e))
			e |= PTE_D; /* not the page that KSM saw there */
		pt_count(&mm->pt, &run->slots[i], -1);
		pt_set(&mm->pt, pt_slot(&mm->pt, moved(m, va), 0, false), e);
	}
	PROBE(pte_move, mm, run->va);
	tlb_flush_range(mm, run->va, run->va + run->count * PAGE_SIZE);
}

/* Set D in an entry of 2 MiB, or where move_run() would in the table that one has
 * become.  Returns the entry. */
static uint64_t mark_unseen(uint64_t e)
{
	if (entry_huge(e))
		return entry_huge_zero(e) ? e : e | PTE_D;
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t *slot = &pt_table(e)[i];

		if (unseen(pte_read(slot)))
			pte_or(slot, PTE_D);
	}
	return e;
}

/*
 * Move n entries of 2 MiB from va on, each by one store, and flush the old address.
 * One that was split meanwhile, without mm->lock (a pin), leads to a table: it is moved
 * with its entry, as a table of its own was not made at the new address.
 * Context: mm->pt_lock held.
 */
static void move_huge(const struct move *m, va_t va, unsigned n)
{
	struct mm *mm = m->mm;
	uint64_t *from = pt_slot(&mm->pt, va, 1, false);
	uint64_t *to = pt_slot(&mm->pt, moved(m, va), 1, false);

	require(spin_held(&mm->pt_lock));
	for (unsigned i = 0; i < n; i++) {
		uint64_t e = pte_xchg(&from[i], 0);

		assert(e && !pte_read(&to[i]));
		if (unlikely(m->seen))
			e = mark_unseen(e);
		pte_write(&to[i], e);
	}
	pt_forget(&mm->pt); //: move-forgets
	pt_count(&mm->pt, from, -(int64_t)n);
	pt_count(&mm->pt, to, n);
	PROBE(pte_move, mm, va);
	tlb_flush_range(mm, va, va + n * BLOCK_SIZE); //: huge-move-flushes
}

/* Move all entries. */
static void move_entries(const struct move *m)
{
	struct pt *pt = &m->mm->pt;
	struct pt_run run;
	va_t va = m->from;

	while (pt_next_run(pt, &va, m->from + m->len, &run)) {
		if (run.level) {
			widen(m, &run, &va);
			PROBE(huge_found, m->mm, run.va);
		}
		spin_lock(&m->mm->pt_lock);
		if (run.level)
			move_huge(m, run.va, run.count);
		else if (unlikely(!pt_slot(pt, moved(m, run.va), 0, false)))
			move_huge(m, run.va, 1); /* huge in move_prepare() */
		else
			move_run(m, &run);
		spin_unlock(&m->mm->pt_lock);
	}
}

/* Move region r to [to, to + new_len), which is free.  Context: r->mm->lock held
 * to write.  Returns 0, or -ENOMEM with nothing moved. */
static int move_region(struct region *r, va_t to, uint64_t new_len)
{
	struct mm *mm = r->mm;
	struct move m = { mm, r->start, to, r->end - r->start, mm->ksm.listed };
	struct mmu_notifier_range range;
	struct region *dup;

	require(rw_held_write(&mm->lock));
	dup = region_dup(r, mm, to, to + new_len);
	if (!dup)
		return err(ENOMEM);
	region_untrack(dup);
	if (!r->object && anon_vma_clone(dup, r)) {
		region_free(dup);
		return err(ENOMEM);
	}
	if (move_prepare(&m)) {
		zap_range(mm, to, to + m.len); /* frees the empty tables */
		if (!r->object)
			anon_vma_unclone(dup);
		region_free(dup);
		return err(ENOMEM);
	}
	/* Only the old address is invalidated: no MMU uses the new one yet. */
	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, m.from,
				m.from + m.len);
	mmu_notifier_invalidate_range_start(&range);
	rmap_lock_write(r);
	rmap_insert(dup);
	move_entries(&m);
	rmap_unlock_write(r);
	region_attach(dup);
	zap_range(mm, m.from, m.from + m.len);
	mmu_notifier_invalidate_range_end(&range);
	region_remove(r);
	return 0;
}

/* Return true if the region's object, if any, has len bytes from its start on. */
static bool object_has(const struct region *r, uint64_t len)
{
	return !r->object || r->object->pages - r->pgoff >= len >> PAGE_SHIFT;
}

/* The arguments of mm_remap(), validated. */
struct remap {
	va_t old;
	uint64_t old_len;
	va_t va;
	uint64_t new_len;
};

/*
 * Choose the new address of the pages, which are part of r; *to is 0 if they
 * stay.  Returns 0; -EEXIST if the caller's address is taken; -ENOMEM if there is
 * no gap.
 */
static int remap_place(struct region *r, const struct remap *m, va_t *to)
{
	struct mm *mm = r->mm;
	va_t end = m->old + m->new_len;

	*to = m->va;
	if (*to)
		return region_first(mm, *to, *to + m->new_len) ? err(EEXIST)
							       : 0;
	if (m->new_len <= m->old_len ||
	    (end <= USER_END && !region_first(mm, m->old + m->old_len, end)))
		return 0;
	*to = region_gap(mm, m->new_len);
	return *to ? 0 : err(ENOMEM);
}

/* Cut the old range, and what it loses, out of their regions. */
static int remap_cut(struct mm *mm, const struct remap *m)
{
	int ret = region_cut(mm, m->old, m->old + m->old_len);

	if (ret || m->new_len >= m->old_len)
		return ret;
	return region_cut(mm, m->old + m->new_len, m->old + m->old_len);
}

/* Do mm_remap(); after an error regions may be cut.
 * Context: mm->lock held to write. */
static int remap_locked(struct mm *mm, const struct remap *m, va_t *where)
{
	struct region *r = region_find(mm, m->old);
	va_t to;
	int ret;

	require(rw_held_write(&mm->lock));
	if (!r || r->end < m->old + m->old_len)
		return err(ENOENT);
	if (r->flags & MAP_HUGETLB ||
	    !object_has(r, m->old - r->start + m->new_len))
		return err(EINVAL);
	ret = remap_place(r, m, &to);
	if (!ret)
		ret = remap_cut(mm, m);
	if (ret)
		return ret;
	r = region_find(mm, m->old);
	if (to && move_region(r, to, m->new_len))
		return err(ENOMEM);
	/* The following steps cannot fail. */
	if (m->new_len < m->old_len)
		unmap_regions(mm, m->old + m->new_len, m->old + m->old_len);
	else if (!to && m->new_len > m->old_len)
		region_set_end(r, m->old + m->new_len);
	if (!to)
		region_untrack(r); /* it may leave the tracked range */
	*where = to ? to : m->old;
	track_note(mm, *where, *where + m->new_len);
	return 0;
}

int mm_remap(struct mm *mm, va_t old, uint64_t old_len, va_t va,
	     uint64_t new_len, va_t *where)
{
	struct remap m = { old, old_len, va, new_len };
	va_t at = 0;
	int ret;

	require(may_sleep());
	if (!range_valid(old, old + old_len) || !new_len ||
	    new_len > USER_END || !IS_ALIGNED(new_len, PAGE_SIZE))
		return err(EINVAL);
	if (va && (!range_valid(va, va + new_len) ||
		   (va < old + old_len && old < va + new_len)))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = remap_locked(mm, &m, &at);
	region_join(mm, old, old + old_len);
	if (!ret)
		region_join(mm, at, at + new_len);
	rw_write_unlock(&mm->lock);
	if (!ret && where)
		*where = at;
	return ret;
}

/* ---- other pages at the same address ---------------------------------------- */

/* Return true if what is mapped in [start, end) is one object, which has enough pages
 * from pgoff on.  Context: mm->lock held. */
static bool one_object(struct mm *mm, va_t start, va_t end, uint64_t pgoff)
{
	struct region *first = region_first(mm, start, end), *r;
	uint64_t pages = (end - start) >> PAGE_SHIFT;

	require(rw_held(&mm->lock));
	for_each_region (r, mm, start, end)
		if (!r->object || r->object != first->object)
			return false;
	return !first || (pgoff <= first->object->pages &&
			  pages <= first->object->pages - pgoff);
}

/*
 * Do mm_remap_object() for whole regions of one object.  The old entries go first, by
 * the whole protocol, and faults that would make new ones wait for mm->lock: so no
 * region has an entry while its place in the reverse map changes, and a walk misses
 * none.  Context: mm->lock held to write.
 */
static void renumber(struct mm *mm, va_t start, va_t end, uint64_t pgoff)
{
	struct mmu_notifier_range range;
	struct region *r;

	require(rw_held_write(&mm->lock));
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	zap_range(mm, start, end);
	PROBE(remap_zapped, mm, start);
	for_each_region (r, mm, start, end)
		region_set_pgoff(r, pgoff + ((r->start - start) >> PAGE_SHIFT));
	track_note(mm, start, end);
	mmu_notifier_invalidate_range_end(&range);
}

int mm_remap_object(struct mm *mm, va_t start, va_t end, uint64_t pgoff)
{
	int ret;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = one_object(mm, start, end, pgoff) ? region_cut_out(mm, start, end)
						: err(EINVAL);
	if (!ret) {
		renumber(mm, start, end, pgoff);
		region_join(mm, start, end);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}
