/* SPDX-License-Identifier: MIT */
/*
 * object.h - shared memory: pages that do not belong to one address space
 *
 * An object is an array of page slots, filled on first use and emptied with
 * the object.  Regions of any number of address spaces map parts of it.
 *
 * Two counts, like mm_users and mm_count in Linux: users keep the contents, refs
 * keep the structure.  Every page holds one of the refs, so a reference on a page
 * allows a thread to follow page->mapping.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/lock.h"

struct page;

#define OBJECT_MAX_PAGES (512u * 512u) /* two levels of slots */

/* Key: (R) lock, to write   (A) atomic   (I) immutable */
struct object {
	struct rwsem lock;      /* RANK_RMAP                                */
	struct itree regions;   /* (R) that map pages of it, by page number */
	uint64_t pages;         /* (I) length                               */
	_Atomic uint32_t users; /* (A) creators and regions                 */
	_Atomic uint32_t refs;  /* (A) 1 for all users, 1 for each page     */
	struct page *directory; /* (I) frame of 512 leaf frame addresses    */
};

/* Initialise the pool.  Context: boot, once, before the first object_create(). */
void object_init(void);

/*
 * Make an object of that many pages, all zero, with one user.
 * Returns NULL without memory, or if pages is 0 or above OBJECT_MAX_PAGES.
 */
struct object *object_create(uint64_t pages);

/* Add a user; the caller is or has one.  Any context. */
void object_get(struct object *object);

/* Add a user if there is one.  The caller has a reference on one of its pages.  Any
 * context. */
must_check bool object_try_get(struct object *object);

/*
 * Drop a user; the last one frees the contents.
 * Context: any that may take RANK_POOL.
 */
void object_put(struct object *object);

/*
 * Return the page at index < object->pages with a reference for the caller, made
 * on first use; NULL without memory.  Any number of CPUs may call it at once.
 * While the page is on the way to another frame (mm/rmap/migrate.h) the caller sleeps:
 * one that cannot knows that no page of the object moves.
 * Context: any that may take RANK_POOL.
 */
struct page *object_page(struct object *object, uint64_t index);

/*
 * Make `to` the frame of the page whose frame was `from`.
 * Context: any; the caller is a user, and has frozen `from`, and `to` has a reference
 * for the object.
 */
void object_page_move(struct object *object, uint64_t index, struct page *from,
		      struct page *to);
