/* SPDX-License-Identifier: MIT */
/*
 * pool.h - small objects of one size, cut from single frames
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
	partial;               /* (L) slabs with a free object, the
				    *     emptiest not known: first come   */
	LIST_ENTRY(pool) link; /* (G) */
};

/* Size in bytes, 1 .. POOL_MAX_SIZE; objects are 8-byte aligned. */
void pool_init(struct pool *pool, const char *name, size_t size);

/* Panics when objects are still in use. */
void pool_destroy(struct pool *pool);

/* A zeroed object, or NULL: no memory, or an injected failure. */
must_check void *pool_alloc(struct pool *pool);

/* The checking build panics on a foreign, overrun or already free object. */
void pool_free(struct pool *pool, void *object);

/* Objects in use / frames held, now. */
uint64_t pool_live(struct pool *pool);
uint64_t pool_slabs(struct pool *pool);

/* Give back the frames of empty slabs of every pool: before leak checks. */
void pool_trim_all(void);

/* Call fn for every pool, none created or destroyed meanwhile. */
void pool_for_each(void (*fn)(struct pool *pool, void *arg), void *arg);

/* Objects in use over all pools: one number for leak checks. */
uint64_t pool_live_all(void);
