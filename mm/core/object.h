/* SPDX-License-Identifier: MIT */
/*
 * object.h - shared memory: pages that do not belong to one address space
 *
 * An object is an array of places of pages, filled on first use and emptied with
 * the object.  A page that was swapped out (mm/swap/RECLAIM.md) has left the number of its
 * swap slot there.  Regions of any number of address spaces map parts of it.
 *
 * Two counts, like mm_users and mm_count in Linux: users keep the contents, refs
 * keep the structure.  Every page holds one of the refs, so a reference on a page
 * allows a thread to follow page->mapping.
 */
#pragma once

#include "kernel/itree.h"
#include "kernel/list.h"
#include "kernel/lock.h"

struct page;

#define OBJECT_MAX_PAGES (512u * 512u) /* two levels of places */

/* Key: (R) lock, to write   (A) atomic   (I) immutable   (L) objects_lock */
struct object {
	struct rwsem lock;        /* RANK_RMAP                                */
	struct itree regions;     /* (R) that map pages of it, by page number */
	uint64_t pages;           /* (I) length                               */
	_Atomic uint32_t users;   /* (A) creators and regions                 */
	_Atomic uint32_t refs;    /* (A) 1 for all users, 1 for each page     */
	struct page *directory;   /* (I) frame of 512 leaf frame addresses    */
	TAILQ_ENTRY(object) link; /* (L) all that have users                */
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
 * Context: any that may take RANK_OBJECTS.
 */
void object_put(struct object *object);

/*
 * Find the page at index < object->pages, made on first use or read from its swap slot:
 * *page receives it, with a reference for the caller.  Any number of CPUs may call it at
 * once.  While the page is on the way to another frame (mm/rmap/migrate.h) or to its slot
 * the caller sleeps: one that cannot knows that no page of the object moves.
 * Context: any that may take RANK_POOL.
 * Returns 0; -ENOMEM; -EIO if the slot cannot be read: the next call tries again.
 */
must_check int object_page(struct object *object, uint64_t index,
			   struct page **page);

/*
 * Make `to` the frame of the page whose frame was `from`.
 * Context: any; the caller is a user, and has frozen `from`, and `to` has a reference
 * for the object.
 */
void object_page_move(struct object *object, uint64_t index, struct page *from,
		      struct page *to);

/*
 * The content of a page is in slot swp, and the caller's use of that is the object's now:
 * the frame is no page of the object any more, and of kind KERNEL.
 * Context: any; the caller is a user, and has frozen the page.
 */
void object_page_leave(struct object *object, uint64_t index, struct page *page,
		       uint32_t swp);

/*
 * Return the object after this one, NULL: the first, as a user of it; the caller is a
 * user of the one before no more.  NULL at the end.  One that is made meanwhile is met.
 * Context: any that may take RANK_OBJECTS.
 */
struct object *object_next(struct object *object);

/*
 * Bring back all pages of the object that are in swap, and give up the slots of those that
 * have come back.  No slot is given out meanwhile.  Context: may sleep; the caller is
 * a user.  Returns 0, -ENOMEM, -EIO.
 */
must_check int object_swap_off(struct object *object);

/* For checkers: call fn for the slot of each page that is out.  No other thread runs. */
void object_for_each_swapped(void (*fn)(uint32_t swp, void *arg), void *arg);
