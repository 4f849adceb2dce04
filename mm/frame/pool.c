/* SPDX-License-Identifier: MIT */
/*
 * pool.c - allocate small objects of one size, cut from single frames
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
 * Locks: pool->lock (RANK_POOL, one at a time; RANK_PMM inside).  pools_lock, of
 * the same rank, is held alone, to link and unlink a pool; pool_for_each() walks
 * the list without it, while no pool is created or destroyed.
 */
#include "mm/frame/pool.h"
#include "kernel/inject.h"
#include "kernel/san/san.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"

#define POOL_POISON 0x5a5a5a5a5a5a5a5aull
#define POOL_LIVE   0x11feb0b011feb0b0ull
#define POOL_DEAD   0xdeadb0b0deadb0b0ull

/* The header at the start of a slab's frame.  All of it under pool->lock. */
struct slab {
	struct pool *pool;
	LIST_ENTRY(slab) link; /* in pool->partial                         */
	uint64_t *free;        /* first free object; its first word: next  */
	uint64_t used;         /* objects in use                           */
};

static LIST_HEAD(, pool) pools = LIST_HEAD_INITIALIZER(pools);
static struct spinlock pools_lock = SPINLOCK_INIT(RANK_POOL, "pools");

/* Return the slab that holds the object. */
static struct slab *slab_of(const void *object)
{
	return (struct slab *)((uintptr_t)object & PAGE_MASK);
}

/* Return the word after an object.  Checking build only. */
static uint64_t *redzone(const struct pool *pool, void *object)
{
	return (uint64_t *)((char *)object + pool->stride) - 1;
}

/* Store word in each of bytes / 8 words from to on. */
static void fill(uint64_t *to, uint64_t word, uint64_t bytes)
{
	uint64_t n = bytes / 8;

	san_touch(to, bytes, true);
	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(n)
			 : "a"(word)
			 : "memory");
}

/* ------------------------------------------------------ checking build */

/* Return the bytes of an object that carry poison: its size in whole words. */
static uint64_t body_bytes(const struct pool *pool)
{
	return ALIGN_UP(pool->size, 8u);
}

/* Poison an object that becomes free. */
static void object_dead(const struct pool *pool, uint64_t *object)
{
	fill(object, POOL_POISON, body_bytes(pool));
	*redzone(pool, object) = POOL_DEAD;
}

/* Check the poison of an object that becomes live; panic if it was written. */
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

/* Check an object that is being freed, then poison it. */
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

/* Make a slab, all its objects free; NULL without memory.
 * Context: pool->lock held. */
static struct slab *slab_make(struct pool *pool)
{
	struct page *page;
	struct slab *slab;
	char *object;

	require(spin_held(&pool->lock));
	page = page_alloc();
	if (!page)
		return NULL;
	page_change_kind(page, PAGE_KERNEL, PAGE_POOL, pool, 0);
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
	san_poison(slab + 1, PAGE_SIZE - sizeof(*slab), SAN_REDZONE);
	WRITE_ONCE(pool->slabs, pool->slabs + 1);
	return slab;
}

/* Free the frame of an empty slab.  Context: pool->lock held. */
static void slab_release(struct pool *pool, struct slab *slab)
{
	require(spin_held(&pool->lock));
	assert(!slab->used);
	LIST_REMOVE(slab, link);
	WRITE_ONCE(pool->slabs, pool->slabs - 1);
	page_put(page_of_va(slab));
}

/* Free a slab that has become empty, unless it is the only one on the list: a
 * single object that comes and goes must not cost a frame each time.
 * Context: pool->lock held. */
static void slab_emptied(struct pool *pool, struct slab *slab)
{
	require(spin_held(&pool->lock));
	if (LIST_FIRST(&pool->partial) != slab || LIST_NEXT(slab, link))
		slab_release(pool, slab);
}

/* ------------------------------------------------------------ interface */

void pool_init(struct pool *pool, const char *name, size_t size)
{
	require(locks_below(RANK_POOL));
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

/* Give back the frames of all empty slabs. */
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

/* Take a free object, from a new slab if there is none; NULL without memory.
 * Context: pool->lock held. */
static uint64_t *take(struct pool *pool)
{
	struct slab *slab = LIST_FIRST(&pool->partial);
	uint64_t *object;

	require(spin_held(&pool->lock));
	if (unlikely(!slab)) {
		slab = slab_make(pool);
		if (!slab)
			return NULL;
		LIST_INSERT_HEAD(&pool->partial, slab, link);
	}
	object = slab->free;
	slab->free = *(uint64_t **)object;
	slab->used++;
	WRITE_ONCE(pool->live, pool->live + 1);
	if (unlikely(!slab->free))
		LIST_REMOVE(slab, link);
	return object;
}

void *pool_alloc(struct pool *pool)
{
	uint64_t *object;

	require(!cpu_irq_depth() && locks_below(RANK_POOL));
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
	san_unpoison(object, pool->size);
	return object;
}

void pool_free(struct pool *pool, void *object)
{
	struct slab *slab = slab_of(object);

	require(!cpu_irq_depth() && locks_below(RANK_POOL));
	require(page_kind(page_of_va(object)) == PAGE_POOL);
	if (unlikely(slab->pool != pool))
		panic("pool %s: %p is of pool %s", pool->name, object,
		      slab->pool->name);
	if (CONFIG_CHECK)
		object_dies(pool, object);
	san_poison(object, pool->size, SAN_FREED);
	spin_lock(&pool->lock);
	if (unlikely(!slab->free))
		LIST_INSERT_HEAD(&pool->partial, slab, link);
	*(uint64_t **)object = slab->free;
	slab->free = object;
	WRITE_ONCE(pool->live, pool->live - 1);
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
