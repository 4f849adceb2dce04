/* SPDX-License-Identifier: MIT */
/*
 * object.h - shared memory: pages that belong to no address space
 *
 * An object is an array of page slots, filled on first use and emptied with
 * the object.  Regions of any number of address spaces map parts of it.
 *
 * Two counts, as mm_users and mm_count in Linux: users keep the contents,
 * refs keep the structure.  Every page holds one of the refs, so whoever holds
 * a reference on a page may follow page->mapping.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/lock.h"

struct page;

#define OBJECT_MAX_PAGES (512u * 512u) /* two levels of slots */

/* Key: (R) lock, to write   (A) atomic   (I) immutable */
struct object {
	struct rwsem lock;      /* RANK_RMAP                                */
	struct itree regions;   /* (R) by page number: who maps what        */
	uint64_t pages;         /* (I) length                               */
	_Atomic uint32_t users; /* (A) creators and regions                 */
	_Atomic uint32_t refs;  /* (A) all users together, and each page    */
	struct page *directory; /* (I) frame of 512 leaf frame addresses    */
};

/* Must run once before the first object_create(). */
void object_init(void);

/*
 * An object of length pages, all zero.
 * Returns NULL without memory, or if pages is 0 or above OBJECT_MAX_PAGES.
 */
struct object *object_create(uint64_t pages);

/* One more user; one less, the last of which frees the contents. */
void object_get(struct object *object);
void object_put(struct object *object);

/*
 * The page at index < object->pages, made on first use; NULL without memory.
 * The caller gets a reference of its own.  Any number of CPUs at once.
 */
struct page *object_page(struct object *object, uint64_t index);

/* The page holds a reference on the structure no longer (it is being freed). */
void object_unref(struct object *object);
