/* SPDX-License-Identifier: MIT */
/*
 * pool.h - allocate small objects of one size, cut from single frames
 *
 *	static struct pool regions;
 *	pool_init(&regions, "region", sizeof(struct region));
 *	struct region *r = pool_alloc(&regions);
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"
#include "kernel/list.h"
#include "kernel/lock.h"

#define POOL_MAX_SIZE 1024

struct slab;

/* Key: (I) immutable after pool_init()  (L) lock  (G) the list of all pools */
struct pool {
	struct spinlock lock; /* RANK_POOL; never two at a time          */
	const char *name;     /* (I) for reports                         */
	uint32_t size;        /* (I) what the user asked for, bytes      */
	uint32_t stride;      /* (I) from object to object, with redzone */
	uint32_t per_slab;    /* (I) objects in a frame                  */
	uint32_t slabs;       /* (L) frames held                         */
	uint64_t live;        /* (L) objects in use                      */
	LIST_HEAD(, slab)
	partial;               /* (L) slabs with a free object, in no order */
	LIST_ENTRY(pool) link; /* (G) */
};

/*
 * Initialise a pool of objects of size bytes, 1 .. POOL_MAX_SIZE, aligned to 8
 * bytes.  name lives as long as the pool.
 * Context: any that may take RANK_POOL, also the boot CPU before threads.
 */
void pool_init(struct pool *pool, const char *name, size_t size);

/* Free the pool's frames.  Panics when objects are still in use. */
void pool_destroy(struct pool *pool);

/*
 * Allocate a zeroed object.  Returns NULL without memory, or if a failure is
 * injected.  Context: any that may take RANK_POOL; no interrupt handler.
 */
must_check void *pool_alloc(struct pool *pool);

/*
 * Free an object of this pool.  The checking build panics if the object is not
 * the pool's, was overrun or is free already.  Context: as pool_alloc().
 */
void pool_free(struct pool *pool, void *object);

/* Return the number of objects in use now. */
uint64_t pool_live(struct pool *pool);

/* Return the number of frames held now. */
uint64_t pool_slabs(struct pool *pool);

/*
 * Give back the frames of the empty slabs of every pool, before leak checks.
 * Context: no pool is created or destroyed meanwhile.
 */
void pool_trim_all(void);

/* Call fn for every pool.  Context: none is created or destroyed meanwhile. */
void pool_for_each(void (*fn)(struct pool *pool, void *arg), void *arg);

/* Count the objects in use over all pools, for leak checks. */
uint64_t pool_live_all(void);
