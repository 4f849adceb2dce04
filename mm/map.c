/* SPDX-License-Identifier: MIT */
/*
 * map.c - map, unmap and discard: regions change, entries follow
 *
 * unmap: regions are cut at the ends first (which may fail and changes no
 * meaning), then entries go, and last the regions, which only then leave the
 * reverse map: while an entry exists, a walk finds it.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/gather.h"
#include "mm/mm_priv.h"

/* Context: mm->lock held to write. */
static int unmap_locked(struct mm *mm, va_t start, va_t end)
{
	struct mmu_notifier_range range;
	struct region *r;
	int ret = region_cut(mm, start, end);

	if (ret)
		return ret;
	PROBE(unmap, mm, start);
	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	zap_range(mm, start, end);
	mmu_notifier_invalidate_range_end(&range);
	while ((r = region_first(mm, start, end)))
		region_remove(r);
	return 0;
}

int mm_unmap(struct mm *mm, va_t start, va_t end)
{
	int ret;

	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = unmap_locked(mm, start, end);
	rw_write_unlock(&mm->lock);
	return ret;
}

/* Make r, which is in no tree, part of its mm, family or object. */
static int region_publish(struct region *r)
{
	if (r->object) {
		rmap_lock_write(r);
		rmap_insert(r);
		rmap_unlock_write(r);
	} else if (anon_vma_prepare(r)) {
		return err(ENOMEM);
	}
	region_attach(r);
	return 0;
}

/* A private region that ends at start with these rights grows instead. */
static bool region_extend(struct mm *mm, va_t start, va_t end, enum prot prot,
			  unsigned flags, struct object *object)
{
	struct region *r = region_find(mm, start - 1);

	if (!r || object || r->object || r->prot != prot || r->flags != flags ||
	    region_pgoff(r, start) != start >> PAGE_SHIFT)
		return false;
	region_resize(r, r->start, end);
	return true;
}

static int map_locked(struct mm *mm, va_t start, va_t end, enum prot prot,
		      unsigned flags, struct object *object, uint64_t pgoff)
{
	struct region *r;

	if (region_extend(mm, start, end, prot, flags, object))
		return 0;
	r = region_new(mm, start, end);
	if (!r)
		return err(ENOMEM);
	r->prot = prot;
	r->flags = flags;
	r->object = object;
	r->pgoff = object ? pgoff : start >> PAGE_SHIFT;
	if (object)
		object_get(object);
	if (region_publish(r)) {
		region_free(r);
		return err(ENOMEM);
	}
	return 0;
}

/* Where the mapping goes: -EEXIST, -ENOMEM (no gap, or no memory to cut). */
static int map_place(struct mm *mm, va_t *va, uint64_t len, unsigned flags)
{
	if (!*va) {
		*va = region_gap(mm, len);
		return *va ? 0 : err(ENOMEM);
	}
	if (!region_first(mm, *va, *va + len))
		return 0;
	if (!(flags & MAP_REPLACE))
		return err(EEXIST);
	return unmap_locked(mm, *va, *va + len);
}

int mm_map(struct mm *mm, va_t va, uint64_t len, enum prot prot, unsigned flags,
	   struct object *object, uint64_t pgoff, va_t *where)
{
	uint64_t pages = len >> PAGE_SHIFT;
	int ret;

	if (!len || len > USER_END || !IS_ALIGNED(len, PAGE_SIZE) ||
	    (va && !range_valid(va, va + len)))
		return err(EINVAL);
	if (object && (pgoff > object->pages || pages > object->pages - pgoff))
		return err(EINVAL);

	rw_write_lock(&mm->lock);
	ret = map_place(mm, &va, len, flags);
	if (!ret)
		ret = map_locked(mm, va, va + len, prot, flags & MAP_LOCKED,
				 object, pgoff);
	rw_write_unlock(&mm->lock);
	if (!ret && where)
		*where = va;
	return ret;
}

int mm_discard(struct mm *mm, va_t start, va_t end)
{
	struct mmu_notifier_range range;
	struct gather gather;
	struct region *r;

	if (!range_valid(start, end))
		return err(EINVAL);
	gather_init(&gather, mm);
	rw_read_lock(&mm->lock);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	for_each_region (r, mm, start, end) {
		va_t from = r->start > start ? r->start : start;
		va_t to = r->end < end ? r->end : end;

		zap_entries(&gather, from, to);
	}
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	return 0;
}

static int reap_region(struct gather *gather, struct region *r)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, r->mm, r->start,
				r->end);
	if (mmu_notifier_invalidate_range_start_nonblock(&range))
		return err(EAGAIN);
	zap_entries(gather, r->start, r->end);
	mmu_notifier_invalidate_range_end(&range);
	return 0;
}

int mm_reap(struct mm *mm)
{
	struct gather gather;
	struct region *r;
	int ret = 0;

	gather_init(&gather, mm);
	if (!rw_read_trylock(&mm->lock))
		return err(EAGAIN);
	/* Who refuses one region costs us no other. */
	for_each_region (r, mm, USER_START, USER_END)
		if (!r->object && reap_region(&gather, r))
			ret = -EAGAIN;
	rw_read_unlock(&mm->lock);
	return ret;
}
