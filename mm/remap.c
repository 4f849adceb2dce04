/* SPDX-License-Identifier: MIT */
/*
 * remap.c - move pages to another address: mremap
 *
 * Everything that can fail comes first: regions, families, tables.  Then the
 * entries move under the family's lock, so that a reverse-map walk sees each
 * page at the old address or at the new one, and the old translations are
 * flushed before pt_lock is dropped: else somebody could free a page by its new
 * address while a CPU still reaches it by the old (CVE-2018-18281).
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/mm_priv.h"

struct move {
	struct mm *mm;
	va_t from, to;
	uint64_t len;
	bool seen; /* somebody may remember what was at the new address    */
};

/* Tables for every moved entry exist at the new address.  -ENOMEM. */
static int move_prepare(const struct move *m)
{
	struct pt_run run;
	va_t va = m->from;
	int ret = 0;

	while (!ret && pt_next_run(&m->mm->pt, &va, m->from + m->len, &run)) {
		va_t to = run.va - m->from + m->to;
		va_t last = to + (run.count - 1) * PAGE_SIZE;

		spin_lock(&m->mm->pt_lock);
		/* One table of the source may straddle two here. */
		if (!pt_slot(&m->mm->pt, to, 0, true) ||
		    !pt_slot(&m->mm->pt, last, 0, true))
			ret = err(ENOMEM);
		spin_unlock(&m->mm->pt_lock);
	}
	return ret;
}

static void move_run(const struct move *m, const struct pt_run *run)
{
	struct mm *mm = m->mm;

	for (unsigned i = 0; i < run->count; i++) {
		va_t va = run->va + i * PAGE_SIZE;
		uint64_t e = pte_read(&run->slots[i]);

		if (!e)
			continue;
		e = pte_xchg(&run->slots[i], 0);
		if (m->seen && entry_page(e) != zero_page)
			e |= PTE_D; /* not what was seen there: ksm_scan.c */
		pt_count(&mm->pt, &run->slots[i], -1);
		pt_set(&mm->pt,
		       pt_slot(&mm->pt, va - m->from + m->to, 0, false), e);
	}
	PROBE(pte_move, mm, run->va);
	tlb_flush_range(mm, run->va, run->va + run->count * PAGE_SIZE);
}

static void move_entries(const struct move *m)
{
	struct pt_run run;
	va_t va = m->from;

	while (pt_next_run(&m->mm->pt, &va, m->from + m->len, &run)) {
		spin_lock(&m->mm->pt_lock);
		move_run(m, &run);
		spin_unlock(&m->mm->pt_lock);
	}
}

/* Region r moves to [to, to + new_len), which is free.  -ENOMEM: unmoved. */
static int move_region(struct region *r, va_t to, uint64_t new_len)
{
	struct mm *mm = r->mm;
	struct move m = { mm, r->start, to, r->end - r->start,
			  r->flags & REGION_MERGEABLE };
	struct mmu_notifier_range range;
	struct region *twin = region_twin(r, mm, to, to + new_len);

	if (!twin)
		return err(ENOMEM);
	if (!r->object && anon_vma_clone(twin, r)) {
		region_free(twin);
		return err(ENOMEM);
	}
	if (move_prepare(&m)) {
		zap_range(mm, to, to + m.len); /* tables, empty again */
		if (!r->object)
			anon_vma_unclone(twin);
		region_free(twin);
		return err(ENOMEM);
	}
	/* Only the old address loses something: nobody reaches the new one. */
	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, m.from,
				m.from + m.len);
	mmu_notifier_invalidate_range_start(&range);
	rmap_lock_write(r);
	rmap_insert(twin);
	move_entries(&m);
	rmap_unlock_write(r);
	region_attach(twin);
	zap_range(mm, m.from, m.from + m.len);
	mmu_notifier_invalidate_range_end(&range);
	region_remove(r);
	return 0;
}

/* [start, end), whole regions: gone. */
static void move_cut_off(struct mm *mm, va_t start, va_t end)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	zap_range(mm, start, end);
	mmu_notifier_invalidate_range_end(&range);
	region_remove(region_find(mm, start));
}

static bool object_has(const struct region *r, uint64_t len)
{
	return !r->object || r->object->pages - r->pgoff >= len >> PAGE_SHIFT;
}

/* Where it goes: in place (*to stays 0), a gap, or where the caller says. */
static int move_place(struct mm *mm, struct region *r, va_t *to,
		      uint64_t new_len)
{
	va_t end = r->start + new_len;

	if (*to)
		return region_first(mm, *to, *to + new_len) ? err(EEXIST) : 0;
	if (end <= USER_END && !region_first(mm, r->end, end))
		return 0;
	*to = region_gap(mm, new_len);
	return *to ? 0 : err(ENOMEM);
}

static int remap_locked(struct mm *mm, va_t old, uint64_t old_len, va_t to,
			uint64_t new_len, va_t *where)
{
	struct region *r = region_find(mm, old);
	int ret;

	if (!r || r->end < old + old_len)
		return err(ENOENT);
	if (!object_has(r, ((old - r->start) + new_len)))
		return err(EINVAL);
	ret = region_cut(mm, old, old + old_len);
	if (ret)
		return ret;
	if (new_len < old_len) {
		ret = region_cut(mm, old + new_len, old + old_len);
		if (ret)
			return ret;
		move_cut_off(mm, old + new_len, old + old_len);
	}
	r = region_find(mm, old);
	if (new_len > old_len || to)
		ret = move_place(mm, r, &to, new_len);
	if (ret)
		return ret;
	*where = to ? to : old;
	if (to)
		return move_region(r, to, new_len);
	if (new_len > old_len)
		region_resize(r, old, old + new_len);
	return 0;
}

int mm_remap(struct mm *mm, va_t old, uint64_t old_len, va_t va,
	     uint64_t new_len, va_t *where)
{
	va_t at = 0;
	int ret;

	if (!range_valid(old, old + old_len) || !new_len ||
	    new_len > USER_END || !IS_ALIGNED(new_len, PAGE_SIZE))
		return err(EINVAL);
	if (va && (!range_valid(va, va + new_len) ||
		   (va < old + old_len && old < va + new_len)))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = remap_locked(mm, old, old_len, va, new_len, &at);
	region_join(mm, old, old + old_len);
	if (!ret)
		region_join(mm, at, at + new_len);
	rw_write_unlock(&mm->lock);
	if (!ret && where)
		*where = at;
	return ret;
}
