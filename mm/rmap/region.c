/* SPDX-License-Identifier: MIT */
/*
 * region.c - keep the regions of an mm in a balanced tree of half-open ranges
 *
 * kernel/itree.h serves twice: here regions never overlap and the tree is an
 * ordered map; in the reverse map they do overlap (mm/rmap/rmap.c).
 *
 * Regions are cut before and joined after an operation, so that the operation
 * itself only sees whole regions.  An unmap makes no piece that it would only remove:
 * it trims the region that crosses its end, and splits one that crosses both.
 */
#include "mm/rmap/region.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/core/object.h"
#include "mm/frame/pool.h"
#include "mm/rmap/anon_vma.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"

static struct pool region_pool;

void region_init(void)
{
	pool_init(&region_pool, "region", sizeof(struct region));
}

static struct region *region_of(struct itree_node *node)
{
	return node ? container_of(node, struct region, node) : NULL;
}

struct region *region_first(struct mm *mm, va_t from, va_t to)
{
	return region_of(itree_first(&mm->regions, from, to - 1));
}

struct region *region_next(struct region *r, va_t from, va_t to)
{
	return region_of(itree_next(&r->node, from, to - 1));
}

struct region *region_lookup(struct mm *mm, va_t va)
{
	struct region *r = region_first(mm, va, va + 1);

	if (r)
		WRITE_ONCE(mm->last, r);
	return r;
}

struct region *region_new(struct mm *mm, va_t start, va_t end)
{
	struct region *r = pool_alloc(&region_pool);

	if (!r)
		return NULL;
	r->mm = mm;
	r->start = start;
	r->end = end;
	LIST_INIT(&r->chains);
	return r;
}

struct region *region_dup(const struct region *r, struct mm *mm, va_t start,
			  va_t end)
{
	struct region *dup = region_new(mm, start, end);

	if (!dup)
		return NULL;
	dup->prot = r->prot;
	dup->flags = r->flags;
	dup->object = r->object;
	dup->pgoff = r->pgoff;
	if (dup->object)
		object_get(dup->object);
	return dup;
}

void region_free(struct region *r)
{
	assert(LIST_EMPTY(&r->chains));
	if (r->object)
		object_put(r->object);
	pool_free(&region_pool, r);
}

void region_attach(struct region *r)
{
	require(mm_lock_held_write(r->mm));
	r->node.start = r->start;
	r->node.last = r->end - 1;
	itree_insert(&r->mm->regions, &r->node);
}

/* Take the region out of mm->regions.  Context: r->mm->lock held to write. */
static void region_detach(struct region *r)
{
	require(mm_lock_held_write(r->mm));
	itree_remove(&r->mm->regions, &r->node);
	WRITE_ONCE(r->mm->last, NULL);
}

void region_remove(struct region *r)
{
	require(mm_lock_held_write(r->mm));
	region_detach(r);
	if (r->object) {
		rmap_lock_write(r);
		rmap_remove(r);
		rmap_unlock_write(r);
	} else {
		anon_vma_unlink(r);
	}
	region_free(r);
}

/* Change the region's ends, start upwards only, with the pages where they are.
 * Context: r->mm->lock and the region's rmap lock held to write. */
static void region_resize(struct region *r, va_t start, va_t end)
{
	require(mm_lock_held_write(r->mm));
	assert(range_valid(start, end) && start >= r->start);
	r->pgoff = region_pgoff(r, start);
	r->start = start;
	r->end = end;
	itree_change(&r->mm->regions, &r->node, start, end - 1);
	rmap_change(r);
}

/* Do region_resize().  Takes the region's rmap lock. */
static void region_trim(struct region *r, va_t start, va_t end)
{
	require(mm_lock_held_write(r->mm));
	rmap_lock_write(r);
	region_resize(r, start, end);
	rmap_unlock_write(r);
}

void region_set_end(struct region *r, va_t end)
{
	require(mm_lock_held_write(r->mm));
	region_trim(r, r->start, end);
}

void region_set_pgoff(struct region *r, uint64_t pgoff)
{
	require(mm_lock_held_write(r->mm));
	rmap_lock_write(r);
	r->pgoff = pgoff;
	rmap_change(r);
	rmap_unlock_write(r);
}

/* Return true if the region may end at `at` in place of continuing there. */
static bool may_end(const struct region *r, va_t at)
{
	return !(r->flags & MAP_HUGETLB) || IS_ALIGNED(at, BLOCK_SIZE);
}

/* Split r at `at`, strictly inside.  Returns 0, or -ENOMEM or -EINVAL with r whole.
 * Context: r->mm->lock held to write. */
static int region_split(struct region *r, va_t at)
{
	struct region *tail;

	require(mm_lock_held_write(r->mm));
	if (!may_end(r, at))
		return err(EINVAL); //: hugetlb-cut
	tail = region_dup(r, r->mm, at, r->end);
	if (!tail)
		return err(ENOMEM);
	tail->pgoff = region_pgoff(r, at);
	if (!r->object && anon_vma_clone(tail, r)) {
		region_free(tail);
		return err(ENOMEM);
	}
	huge_split_at(r->mm, at);

	/* Under one hold of the lock, so that no walk misses the tail. */
	rmap_lock_write(r);
	region_resize(r, r->start, at);
	rmap_insert(tail);
	rmap_unlock_write(r);
	region_attach(tail);
	return 0;
}

/* Split the region that crosses `at`, if there is one.  Returns 0, -ENOMEM or -EINVAL. */
static int cut_at(struct mm *mm, va_t at)
{
	struct region *r = region_find(mm, at);

	return r && r->start < at ? region_split(r, at) : 0;
}

int region_cut(struct mm *mm, va_t start, va_t end)
{
	int ret;

	require(mm_lock_held_write(mm));
	ret = cut_at(mm, start);
	if (ret)
		return ret;
	ret = cut_at(mm, end);
	if (ret)
		region_join(mm, start, start);
	return ret;
}

int region_part(struct mm *mm, va_t start, va_t end)
{
	struct region *first, *last;
	bool before, after;

	require(mm_lock_held_write(mm));
	first = region_find(mm, start);
	last = first && end <= first->end ? first : region_find(mm, end - 1);
	before = first && first->start < start;
	after = last && last->end > end;
	if ((before && !may_end(first, start)) ||
	    (after && !may_end(last, end)))
		return err(EINVAL); //: hugetlb-part
	return before && after && first == last ? region_split(first, end) : 0;
}

void region_clear(struct mm *mm, va_t start, va_t end)
{
	struct region *r, *next;

	require(mm_lock_held_write(mm));
	for (r = region_first(mm, start, end); r; r = next) {
		next = r->end < end ? region_next(r, start, end) : NULL;
		if (r->start < start)
			region_trim(r, r->start, start);
		else if (r->end > end)
			region_trim(r, end, r->end);
		else
			region_remove(r);
	}
}

/* Return true if every page of [start, end) belongs to a region. */
static bool region_covers(struct mm *mm, va_t start, va_t end)
{
	struct region *r;
	va_t at = start;

	for_each_region (r, mm, start, end) {
		if (r->start > at)
			return false;
		at = r->end;
	}
	return at >= end;
}

int region_cut_out(struct mm *mm, va_t start, va_t end)
{
	require(mm_lock_held_write(mm));
	return region_covers(mm, start, end) ? region_cut(mm, start, end)
					     : err(ENOENT);
}

bool region_alike(const struct region *a, const struct region *b)
{
	return a->end == b->start && a->prot == b->prot &&
	       a->flags == b->flags && a->object == b->object &&
	       region_pgoff(a, a->end) == b->pgoff &&
	       (a->object || anon_vma_same(a, b));
}

/* Join r and next, which begins where r ends: next is freed.
 * Context: r->mm->lock held to write. */
static void region_merge(struct region *r, struct region *next)
{
	require(mm_lock_held_write(r->mm));
	region_detach(next);
	/* Under one hold of the lock, so that no walk misses next's pages. */
	rmap_lock_write(r);
	rmap_remove(next);
	region_resize(r, r->start, next->end);
	rmap_unlock_write(r);
	if (!next->object)
		anon_vma_unclone(next);
	region_free(next);
}

void region_join(struct mm *mm, va_t start, va_t end)
{
	struct region *r = region_first(mm, start - 1, end + 1), *next;

	require(mm_lock_held_write(mm));
	while (r && (next = region_next(r, start - 1, end + 1))) {
		if (region_alike(r, next))
			region_merge(r, next);
		else
			r = next;
	}
}

va_t region_gap(struct mm *mm, uint64_t len)
{
	struct region *r;
	va_t at = USER_START;

	require(rw_held(&mm->lock));
	for_each_region (r, mm, USER_START, USER_END) {
		if (r->start - at >= len)
			return at;
		at = r->end;
	}
	return USER_END - at >= len ? at : 0;
}
