/* SPDX-License-Identifier: MIT */
/*
 * region.c - the promises: a balanced tree of half-open ranges
 *
 * One interval tree serves twice: here regions never overlap and the tree is
 * an ordered map; in the reverse map they do (mm/rmap.c).
 *
 * Regions are cut before and joined after an operation, so that the operation
 * itself only ever sees whole regions.
 */
#include "mm/region.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/anon_vma.h"
#include "mm/object.h"
#include "mm/pool.h"
#include "mm/rmap.h"

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

struct region *region_find(struct mm *mm, va_t va)
{
	/*
	 * Readers race to leave a hint: any region of this mm is a good one,
	 * and writers, who free regions, reset it while alone.
	 */
	struct region *r = READ_ONCE(mm->last);

	assert(rw_held(&mm->lock));
	if (likely(r && va >= r->start && va < r->end))
		return r;
	r = region_first(mm, va, va + 1);
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

struct region *region_twin(const struct region *r, struct mm *mm, va_t start,
			   va_t end)
{
	struct region *twin = region_new(mm, start, end);

	if (!twin)
		return NULL;
	twin->prot = r->prot;
	twin->flags = r->flags;
	twin->object = r->object;
	twin->pgoff = r->pgoff;
	if (twin->object)
		object_get(twin->object);
	return twin;
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
	r->node.start = r->start;
	r->node.last = r->end - 1;
	itree_insert(&r->mm->regions, &r->node);
}

static void region_detach(struct region *r)
{
	itree_remove(&r->mm->regions, &r->node);
	WRITE_ONCE(r->mm->last, NULL);
}

void region_remove(struct region *r)
{
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

void region_resize(struct region *r, va_t start, va_t end)
{
	region_detach(r);
	rmap_lock_write(r);
	rmap_remove(r);
	r->pgoff += (int64_t)(start - r->start) >> PAGE_SHIFT;
	r->start = start;
	r->end = end;
	rmap_insert(r);
	rmap_unlock_write(r);
	region_attach(r);
}

/* Cut r in two at `at`, strictly inside.  -ENOMEM with r whole. */
static int region_split(struct region *r, va_t at)
{
	struct region *tail = region_twin(r, r->mm, at, r->end);

	if (!tail)
		return err(ENOMEM);
	tail->pgoff = region_pgoff(r, at);
	if (!r->object && anon_vma_clone(tail, r)) {
		region_free(tail);
		return err(ENOMEM);
	}

	/* Under one hold of the lock, so that no walk misses the tail. */
	region_detach(r);
	rmap_lock_write(r);
	rmap_remove(r);
	r->end = at;
	rmap_insert(r);
	rmap_insert(tail);
	rmap_unlock_write(r);
	region_attach(r);
	region_attach(tail);
	return 0;
}

int region_cut(struct mm *mm, va_t start, va_t end)
{
	va_t at[] = { start, end };

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		struct region *r = region_find(mm, at[i]);
		int ret = r && r->start < at[i] ? region_split(r, at[i]) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

/* Is all of [start, end) mapped? */
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
	return region_covers(mm, start, end) ? region_cut(mm, start, end)
					     : err(ENOENT);
}

static bool region_alike(const struct region *a, const struct region *b)
{
	return a->end == b->start && a->prot == b->prot &&
	       a->flags == b->flags && a->object == b->object &&
	       region_pgoff(a, a->end) == b->pgoff &&
	       (a->object || anon_vma_same(a, b));
}

/* r takes over next, which begins where r ends. */
static void region_merge(struct region *r, struct region *next)
{
	region_detach(r);
	region_detach(next);
	/* Under one hold of the lock, so that no walk misses what was next's. */
	rmap_lock_write(r);
	rmap_remove(r);
	rmap_remove(next);
	r->end = next->end;
	rmap_insert(r);
	rmap_unlock_write(r);
	if (!next->object)
		anon_vma_unclone(next);
	region_free(next);
	region_attach(r);
}

void region_join(struct mm *mm, va_t start, va_t end)
{
	struct region *r = region_first(mm, start - 1, end + 1), *next;

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

	for_each_region (r, mm, USER_START, USER_END) {
		if (r->start - at >= len)
			return at;
		at = r->end;
	}
	return USER_END - at >= len ? at : 0;
}
