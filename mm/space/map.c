/* SPDX-License-Identifier: MIT */
/*
 * map.c - map, unmap, discard and reap
 *
 * A region that continues at both ends is split first, and a new region is made: these
 * steps may fail, and are undone then.  The following steps cannot fail: entries are
 * cleared, then the range leaves the regions and the reverse map (while an entry exists,
 * a walk finds it), and the new region is attached last.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/track.h"
#include "mm/huge/hugetlb.h"
#include "mm/notifier/mmu_notifier.h"
#include "mm/rmap/block.h"
#include "mm/space/gather.h"
#include "mm/space/mm_priv.h"

void unmap_regions(struct mm *mm, va_t start, va_t end)
{
	struct mmu_notifier_range range;

	require(rw_held_write(&mm->lock));
	PROBE(unmap, mm, start);
	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	zap_range(mm, start, end);
	mmu_notifier_invalidate_range_end(&range);
	region_clear(mm, start, end);
}

int mm_unmap(struct mm *mm, va_t start, va_t end)
{
	int ret;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = region_part(mm, start, end);
	if (!ret)
		unmap_regions(mm, start, end);
	rw_write_unlock(&mm->lock);
	return ret;
}

#define MAP_OF_REGION (MAP_LOCKED | MAP_HUGE | MAP_HUGETLB)

/* The arguments of mm_map(), after the address is chosen. */
struct mapping {
	va_t start, end;
	enum prot prot;
	unsigned flags; /* of the region */
	struct object *object;
	uint64_t pgoff;
};

/* Find the private region that ends where m begins, when m's range is unmapped, and can
 * grow over it, or NULL. */
static struct region *region_before(struct mm *mm, const struct mapping *m)
{
	struct region *r = region_find(mm, m->start - 1);

	return r && !m->object && !r->object && r->prot == m->prot &&
			       r->flags == m->flags &&
			       region_pgoff(r, m->start) ==
				       m->start >> PAGE_SHIFT
		       ? r
		       : NULL;
}

/* Make the region for m, if it is private with an anon_vma of its own: all that
 * needs memory.  It is not in mm->regions yet.  Returns NULL without memory. */
static struct region *region_make(struct mm *mm, const struct mapping *m)
{
	struct region *r = region_new(mm, m->start, m->end);

	if (!r)
		return NULL;
	r->prot = m->prot;
	r->flags = m->flags;
	r->object = m->object;
	r->pgoff = m->object ? m->pgoff : m->start >> PAGE_SHIFT;
	if (r->object)
		object_get(r->object);
	else if (anon_vma_prepare(r)) {
		region_free(r);
		return NULL;
	}
	return r;
}

/* Put a new region into its mm, and into its object's reverse map.
 * Context: r->mm->lock held to write. */
static void region_publish(struct region *r)
{
	require(rw_held_write(&r->mm->lock));
	if (r->object) {
		rmap_lock_write(r);
		rmap_insert(r);
		rmap_unlock_write(r);
	}
	region_attach(r);
}

/* Replace what is mapped in m's range by m.  Context: mm->lock held to write.
 * Returns 0, or -ENOMEM with nothing changed. */
static int map_region(struct mm *mm, const struct mapping *m)
{
	struct region *before, *r = NULL;
	int ret;

	require(rw_held_write(&mm->lock));
	ret = region_part(mm, m->start, m->end);
	if (ret)
		return ret;
	before = region_before(mm, m);
	if (!before) {
		r = region_make(mm, m);
		if (!r) {
			region_join(mm, m->start, m->end);
			return err(ENOMEM);
		}
	}
	if (region_first(mm, m->start, m->end))
		unmap_regions(mm, m->start, m->end);
	if (before)
		region_set_end(before, m->end);
	else
		region_publish(r);
	region_join(mm, m->start, m->end);
	track_note(mm, m->start, m->end);
	return 0;
}

/* Do map_region() for a region of the fixed pool: entries first, the region if there
 * are enough.  Context and result: as map_region(). */
static int map_pool(struct mm *mm, const struct mapping *m)
{
	int ret = hugetlb_populate(mm, m->start, m->end, m->prot, NULL);

	require(rw_held_write(&mm->lock));
	if (!ret)
		ret = map_region(mm, m);
	if (ret)
		zap_range(mm, m->start, m->end); /* and the tables above */
	return ret;
}

/* Make the region for m, and what it has from the start.
 * Context and result: as map_region(). */
static int map_locked(struct mm *mm, const struct mapping *m)
{
	require(rw_held_write(&mm->lock));
	return m->flags & MAP_HUGETLB ? map_pool(mm, m) : map_region(mm, m);
}

/* Return true if a region of the fixed pool can be so. */
static bool pool_fits(va_t va, uint64_t len, unsigned flags,
		      const struct object *object)
{
	return IS_ALIGNED(va | len, BLOCK_SIZE) && !object &&
	       !(flags & (MAP_REPLACE | MAP_HUGE));
}

/* Choose the address if *va is 0, else check that it is free.
 * Returns 0; -EEXIST; -ENOMEM if there is no gap. */
static int map_place(struct mm *mm, va_t *va, uint64_t len, unsigned flags)
{
	if (!*va && flags & MAP_HUGETLB) {
		*va = region_gap(mm, len + BLOCK_SIZE - PAGE_SIZE);
		*va = ALIGN_UP(*va, BLOCK_SIZE);
		return *va ? 0 : err(ENOMEM);
	}
	if (!*va) {
		*va = region_gap(mm, len);
		return *va ? 0 : err(ENOMEM);
	}
	return !(flags & MAP_REPLACE) && region_first(mm, *va, *va + len)
		       ? err(EEXIST)
		       : 0;
}

int mm_map(struct mm *mm, va_t va, uint64_t len, enum prot prot, unsigned flags,
	   struct object *object, uint64_t pgoff, va_t *where)
{
	uint64_t pages = len >> PAGE_SHIFT;
	int ret;

	require(may_sleep());
	if (!len || len > USER_END || !IS_ALIGNED(len, PAGE_SIZE) ||
	    (va && !range_valid(va, va + len)))
		return err(EINVAL);
	if (object && (pgoff > object->pages || pages > object->pages - pgoff))
		return err(EINVAL);

	if (flags & MAP_HUGETLB && !pool_fits(va, len, flags, object))
		return err(EINVAL);

	rw_write_lock(&mm->lock);
	ret = map_place(mm, &va, len, flags);
	if (!ret)
		ret = map_locked(mm, &(struct mapping){ va, va + len, prot,
							flags & MAP_OF_REGION,
							object, pgoff });
	rw_write_unlock(&mm->lock);
	if (!ret && where)
		*where = va;
	return ret;
}

int mm_advise_huge(struct mm *mm, va_t start, va_t end, bool on)
{
	struct region *r;
	int ret;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = region_cut_out(mm, start, end);
	if (!ret) {
		for_each_region (r, mm, start, end)
			WRITE_ONCE(r->flags,
				   on ? r->flags | MAP_HUGE
				      : r->flags & ~(unsigned)MAP_HUGE);
		region_join(mm, start, end);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}

int mm_discard(struct mm *mm, va_t start, va_t end)
{
	struct mmu_notifier_range range;
	struct region *r;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	GATHER(gather, mm);
	rw_read_lock(&mm->lock);
	if (hugetlb_meets(mm, start, end)) {
		rw_read_unlock(&mm->lock);
		return err(EINVAL);
	}
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	spin_lock(&mm->pt_lock);
	for_each_region (r, mm, start, end) {
		va_t from = r->start > start ? r->start : start;
		va_t to = r->end < end ? r->end : end;

		zap_entries(&gather, from, to);
	}
	gather_flush(&gather);
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	track_note(mm, start, end);
	rw_read_unlock(&mm->lock);
	return 0;
}

/* Discard a region without sleeping.  Context: mm->lock held.
 * Returns -EAGAIN if a notifier would have to sleep. */
static int reap_region(struct gather *gather, struct region *r)
{
	struct mmu_notifier_range range;

	require(rw_held(&r->mm->lock));
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, r->mm, r->start,
				r->end);
	if (mmu_notifier_invalidate_range_start_nonblock(&range))
		return err(EAGAIN);
	spin_lock(&r->mm->pt_lock);
	zap_entries(gather, r->start, r->end);
	gather_flush(gather);
	spin_unlock(&r->mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	track_note(r->mm, r->start, r->end);
	return 0;
}

int mm_reap(struct mm *mm)
{
	struct region *r;
	int ret = 0;

	require(locks_below(RANK_PT));
	GATHER(gather, mm);
	if (!rw_read_trylock(&mm->lock))
		return err(EAGAIN);
	/* If a notifier refuses one region, the others are reaped still. */
	for_each_region (r, mm, USER_START, USER_END)
		if (!r->object && !(r->flags & MAP_HUGETLB) &&
		    reap_region(&gather, r))
			ret = -EAGAIN;
	rw_read_unlock(&mm->lock);
	return ret;
}
