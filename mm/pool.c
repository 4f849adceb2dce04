/* SPDX-License-Identifier: MIT */
/*
 * pool.c - small objects of one size, cut from single frames
 *
 *      a slab: one frame, so that an object's slab is its address rounded down
 *      +------+---------+----+---------+----+---------+----+ - - -
 *      | slab | object  | rz | object  | rz | (free)  | rz |
 *      +--|---+---------+----+---------+----+--^------+----+ - - -
 *         +------ free list, through the first word
 *
 * Checking build only: rz, one word after each object, says whether it is live
 * or free, which catches overruns and double frees; a free object's other words
 * hold POOL_POISON, which catches use after free at the next allocation.
 *
 * Invariant: a slab is on its pool's partial list iff it has a free object; at
 * most one listed slab is empty, the others went back to pmm.
 *
 * Locks: pool->lock (RANK_POOL, one at a time; RANK_PMM inside); the list of
 * pools: pools_lock, of the same rank and never with another.
 */
#include "mm/pool.h"
#include "mm/pmm.h"
#include "kernel/inject.h"
#include "kernel/string.h"

#define POOL_POISON 0x5a5a5a5a5a5a5a5aull
#define POOL_LIVE   0x11feb0b011feb0b0ull
#define POOL_DEAD   0xdeadb0b0deadb0b0ull

/* At the start of its frame.  All of it under pool->lock. */
struct slab {
	struct pool *pool;
	LIST_ENTRY(slab) link; /* in pool->partial                         */
	uint64_t *free;        /* first free object; its first word: next  */
	uint64_t used;         /* objects in use                           */
};

static LIST_HEAD(, pool) pools = LIST_HEAD_INITIALIZER(pools);
static struct spinlock pools_lock = SPINLOCK_INIT(RANK_POOL, "pools");

static struct slab *slab_of(const void *object)
{
	return (struct slab *)((uintptr_t)object & PAGE_MASK);
}

/* The word after an object; only in the checking build. */
static uint64_t *redzone(const struct pool *pool, void *object)
{
	return (uint64_t *)((char *)object + pool->stride) - 1;
}

static void fill(uint64_t *to, uint64_t word, uint64_t bytes)
{
	uint64_t n = bytes / 8;

	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(n)
			 : "a"(word)
			 : "memory");
}

/* ------------------------------------------------------ checking build */

/* Words of an object, as many as carry poison: the last may be shared. */
static uint64_t body_bytes(const struct pool *pool)
{
	return ALIGN_UP(pool->size, 8u);
}

static void object_dead(const struct pool *pool, uint64_t *object)
{
	fill(object, POOL_POISON, body_bytes(pool));
	*redzone(pool, object) = POOL_DEAD;
}

static void object_born(const struct pool *pool, uint64_t *object)
{
	uint64_t words = body_bytes(pool) / 8;

	for (uint64_t i = 1; i < words; i++)
		if (object[i] != POOL_POISON)
			panic("pool %s: %p was written after it was freed: "
			      "offset %lu holds %#lx",
			      pool->name, (void *)object, i * 8, object[i]);
	if (*redzone(pool, object) != POOL_DEAD)
		panic("pool %s: the redzone of free %p was overwritten",
		      pool->name, (void *)object);
	*redzone(pool, object) = POOL_LIVE;
}

static void object_dies(const struct pool *pool, uint64_t *object)
{
	uint64_t offset = (uintptr_t)object & ~PAGE_MASK;
	uint64_t word = *redzone(pool, object);

	if (offset < sizeof(struct slab) ||
	    (offset - sizeof(struct slab)) % pool->stride)
		panic("pool %s: %p is not the start of an object", pool->name,
		      (void *)object);
	if (word == POOL_DEAD)
		panic("pool %s: %p freed twice", pool->name, (void *)object);
	if (word != POOL_LIVE)
		panic("pool %s: overrun of %p: its redzone holds %#lx",
		      pool->name, (void *)object, word);
	object_dead(pool, object);
}

/* ---------------------------------------------------------------- slabs */

/* A new slab, all its objects free; NULL without memory. */
static struct slab *slab_make(struct pool *pool)
{
	struct page *page = page_alloc();
	struct slab *slab;
	char *object;

	if (!page)
		return NULL;
	page_set_kind(page, PAGE_POOL);
	page->mapping = (uintptr_t)pool;
	slab = page_va(page);
	slab->pool = pool;
	slab->used = 0;
	slab->free = NULL;
	object = (char *)(slab + 1) + pool->stride * pool->per_slab;
	for (unsigned i = 0; i < pool->per_slab; i++) {
		object -= pool->stride;
		if (CONFIG_CHECK)
			object_dead(pool, (uint64_t *)object);
		*(uint64_t **)object = slab->free;
		slab->free = (uint64_t *)object;
	}
	pool->slabs++;
	return slab;
}

static void slab_release(struct pool *pool, struct slab *slab)
{
	assert(!slab->used);
	LIST_REMOVE(slab, link);
	pool->slabs--;
	page_put(page_of_va(slab));
}

/* The only empty slab on the list stays, against ping-pong. */
static void slab_emptied(struct pool *pool, struct slab *slab)
{
	if (LIST_FIRST(&pool->partial) != slab || LIST_NEXT(slab, link))
		slab_release(pool, slab);
}

/* ------------------------------------------------------------ interface */

void pool_init(struct pool *pool, const char *name, size_t size)
{
	assert(size && size <= POOL_MAX_SIZE);
	spin_init(&pool->lock, RANK_POOL, name);
	pool->name = name;
	pool->size = (uint32_t)size;
	pool->stride = ALIGN_UP((uint32_t)size, 8u) + (CONFIG_CHECK ? 8 : 0);
	pool->per_slab =
		(uint32_t)(PAGE_SIZE - sizeof(struct slab)) / pool->stride;
	pool->slabs = 0;
	pool->live = 0;
	LIST_INIT(&pool->partial);
	spin_lock(&pools_lock);
	LIST_INSERT_HEAD(&pools, pool, link);
	spin_unlock(&pools_lock);
}

/* Give back every empty slab. */
static void pool_trim(struct pool *pool)
{
	struct slab *slab, *next;

	spin_lock(&pool->lock);
	LIST_FOREACH_SAFE (slab, &pool->partial, link, next)
		if (!slab->used)
			slab_release(pool, slab);
	spin_unlock(&pool->lock);
}

void pool_destroy(struct pool *pool)
{
	pool_trim(pool);
	if (pool->live || pool->slabs)
		panic("pool %s destroyed with %lu objects in use", pool->name,
		      pool->live);
	spin_lock(&pools_lock);
	LIST_REMOVE(pool, link);
	spin_unlock(&pools_lock);
}

/* Under pool->lock; grows the pool if it must. */
static uint64_t *take(struct pool *pool)
{
	struct slab *slab = LIST_FIRST(&pool->partial);
	uint64_t *object;

	if (unlikely(!slab)) {
		slab = slab_make(pool);
		if (!slab)
			return NULL;
		LIST_INSERT_HEAD(&pool->partial, slab, link);
	}
	object = slab->free;
	slab->free = *(uint64_t **)object;
	slab->used++;
	pool->live++;
	if (unlikely(!slab->free))
		LIST_REMOVE(slab, link);
	return object;
}

void *pool_alloc(struct pool *pool)
{
	uint64_t *object;

	if (inject_should_fail())
		return NULL;
	spin_lock(&pool->lock);
	object = take(pool);
	spin_unlock(&pool->lock);
	if (unlikely(!object))
		return NULL;
	if (CONFIG_CHECK)
		object_born(pool, object);
	fill(object, 0, body_bytes(pool));
	return object;
}

void pool_free(struct pool *pool, void *object)
{
	struct slab *slab = slab_of(object);

	if (CONFIG_CHECK)
		assert(page_kind(page_of_va(object)) == PAGE_POOL);
	if (unlikely(slab->pool != pool))
		panic("pool %s: %p is of pool %s", pool->name, object,
		      slab->pool->name);
	if (CONFIG_CHECK)
		object_dies(pool, object);
	spin_lock(&pool->lock);
	if (unlikely(!slab->free))
		LIST_INSERT_HEAD(&pool->partial, slab, link);
	*(uint64_t **)object = slab->free;
	slab->free = object;
	pool->live--;
	if (unlikely(!--slab->used))
		slab_emptied(pool, slab);
	spin_unlock(&pool->lock);
}

/* -------------------------------------------------------------- reports */

uint64_t pool_live(struct pool *pool)
{
	return READ_ONCE(pool->live);
}

uint64_t pool_slabs(struct pool *pool)
{
	return READ_ONCE(pool->slabs);
}

void pool_for_each(void (*fn)(struct pool *pool, void *arg), void *arg)
{
	struct pool *pool;

	LIST_FOREACH (pool, &pools, link)
		fn(pool, arg);
}

static void trim_one(struct pool *pool, void *arg)
{
	(void)arg;
	pool_trim(pool);
}

void pool_trim_all(void)
{
	pool_for_each(trim_one, NULL);
}

static void sum_live(struct pool *pool, void *arg)
{
	*(uint64_t *)arg += pool_live(pool);
}

uint64_t pool_live_all(void)
{
	uint64_t n = 0;

	pool_for_each(sum_live, &n);
	return n;
}
