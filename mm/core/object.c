/* SPDX-License-Identifier: MIT */
/*
 * object.c - the places of an object's pages, filled without a lock
 *
 * A place is a word: 0, a page that was never used; the address of its frame's struct page;
 * or, with bit 0, the swap slot that has the content:
 *
 *   31      17  2    1      0
 *  +----------+---+-------+---+
 *  | swap slot| . |READING| 1 |
 *  +----------+---+-------+---+
 *
 * Two CPUs that need the same fresh page at once both make one, and the loser of the
 * compare-and-swap frees its own: no lock is held over an allocation, and no CPU
 * waits.  Of two that need a page from its slot the one that sets READING reads it, into
 * a frame that no other thread knows before it has the content; the other waits, and
 * tries itself if the read has failed.
 */
#include "mm/core/object.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/waitq.h"
#include "mm/frame/moving.h"
#include "mm/frame/page.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/swap/swap.h"

#define PLACES 512u

/* A place whose page is in swap. */
#define PLACE_SWAPPED BIT(0)
#define PLACE_READING BIT(1) /* a thread brings it in               */
#define PLACE_SWP     GENMASK(31, 17)

static struct pool object_pool;
static TAILQ_HEAD(, object) objects = TAILQ_HEAD_INITIALIZER(objects);
static struct spinlock objects_lock; /* RANK_OBJECTS: the list            */
static struct waitq wake;            /* PLACE_READING is clear            */

/* One user less of the structure; each page is one. */
static void object_unref(struct object *object)
{
	if (atomic_fetch_sub(&object->refs, 1) == 1)
		pool_free(&object_pool, object);
}

/* Destructor of an object's page. */
static void object_page_gone(struct page *page)
{
	object_unref(page->mapping.object);
}

void object_init(void)
{
	pool_init(&object_pool, "object", sizeof(struct object));
	spin_init(&objects_lock, RANK_OBJECTS, "objects");
	waitq_init(&wake);
	page_set_destructor(PAGE_OBJECT, object_page_gone);
}

struct object *object_create(uint64_t pages)
{
	struct object *object;

	if (pages == 0 || pages > OBJECT_MAX_PAGES)
		return NULL;
	object = pool_alloc(&object_pool);
	if (!object)
		return NULL;
	object->directory = page_alloc_zeroed();
	if (!object->directory) {
		pool_free(&object_pool, object);
		return NULL;
	}
	rw_init(&object->lock, RANK_RMAP, "object");
	itree_init(&object->regions);
	object->pages = pages;
	atomic_init(&object->users, 1);
	atomic_init(&object->refs, 1);
	spin_lock(&objects_lock);
	TAILQ_INSERT_TAIL(&objects, object, link);
	spin_unlock(&objects_lock);
	return object;
}

void object_get(struct object *object)
{
	uint32_t old = atomic_fetch_add(&object->users, 1);

	assert(old > 0);
}

bool object_try_get(struct object *object)
{
	uint32_t old = atomic_load(&object->users);

	while (old)
		if (atomic_compare_exchange_weak(&object->users, &old, old + 1))
			return true;
	return false;
}

/* ---- places ---------------------------------------------------------------- */

/* Read a place; pairs with place_change(): the page's contents are visible. */
static uint64_t place_read(const uint64_t *place)
{
	return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

static void place_set(uint64_t *place, uint64_t now)
{
	__atomic_store_n(place, now, __ATOMIC_RELEASE);
}

/* Change a place from `was`.  Returns whether no other thread was faster. */
static bool place_change(uint64_t *place, uint64_t was, uint64_t now)
{
	return __atomic_compare_exchange_n(place, &was, now, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static struct page *place_page(uint64_t was)
{
	return was & PLACE_SWAPPED ? NULL : (struct page *)was;
}

static swp_t place_swp(uint64_t was)
{
	return was & PLACE_SWAPPED ? (swp_t)FIELD_GET(PLACE_SWP, was) : 0;
}

/* Return the leaf frame of a number, NULL if there is none yet. */
static struct page *leaf_of(const struct object *object, uint64_t index)
{
	const uint64_t *leaves = page_va(object->directory);

	return place_page(place_read(&leaves[index / PLACES]));
}

static uint64_t *place_in(struct page *leaf, uint64_t index)
{
	return (uint64_t *)page_va(leaf) + index % PLACES;
}

/* Return the place for index, making its leaf frame; NULL without memory. */
static uint64_t *object_place(struct object *object, uint64_t index)
{
	uint64_t *leaves = page_va(object->directory);
	struct page *leaf = leaf_of(object, index), *fresh;

	if (leaf)
		return place_in(leaf, index);
	fresh = page_alloc_zeroed();
	if (!fresh)
		return NULL;
	if (!place_change(&leaves[index / PLACES], 0, (uint64_t)fresh))
		page_put(fresh);
	return place_in(leaf_of(object, index), index);
}

/* ---- the last user --------------------------------------------------------- */

/* Drop what one leaf frame has: references on pages, uses of slots. */
static void leaf_free(struct page *leaf)
{
	const uint64_t *places = page_va(leaf);

	for (unsigned i = 0; i < PLACES; i++) {
		struct page *page = place_page(places[i]);
		swp_t swp = place_swp(places[i]);

		if (swp)
			swap_drop(swp);
		if (!page)
			continue;
		swap_object_drop(page);
		page_put(page);
	}
	page_put(leaf);
}

void object_put(struct object *object)
{
	require(locks_below(RANK_OBJECTS));
	if (atomic_fetch_sub(&object->users, 1) > 1)
		return;
	assert(itree_empty(&object->regions));
	spin_lock(&objects_lock);
	TAILQ_REMOVE(&objects, object, link);
	spin_unlock(&objects_lock);
	for (unsigned i = 0; i < PLACES; i++) {
		struct page *leaf = leaf_of(object, i * PLACES);

		if (leaf)
			leaf_free(leaf);
	}
	page_put(object->directory);
	object_unref(object);
}

/* ---- the page of a number -------------------------------------------------- */

/* Return the page of a place with a reference, or NULL: *was receives what the place
 * has instead.  A frame that was left between the two reads, or is frozen, is not the page
 * any more. */
static inline struct page *place_get(const uint64_t *place, uint64_t *was)
{
	struct page *page;

	while ((page = place_page(*was = place_read(place)))) {
		if (unlikely(page_moving(page))) {
			moving_wait(page);
			continue;
		}
		if (unlikely(!page_try_get(page)))
			continue;
		if (likely(place_read(place) == *was))
			break;
		page_put(page);
	}
	return page;
}

/* Make page, with the content, the object's page of a place, which is `was`.  The place
 * gets the caller's reference.  Returns false if another thread was faster. */
static bool place_fill(struct object *object, uint64_t index, uint64_t *place,
		       uint64_t was, struct page *page)
{
	atomic_fetch_add(&object->refs, 1);
	page_set_exclusive(page);
	page_change_kind(page, PAGE_KERNEL, PAGE_OBJECT, object, index);
	return place_change(place, was, (uint64_t)page);
}

/* Fill a place that was never used.  Returns 0, also if another thread has done so; or
 * -ENOMEM. */
static int place_fresh(struct object *object, uint64_t index, uint64_t *place)
{
	struct page *page = page_alloc_zeroed();

	if (!page)
		return err(ENOMEM);
	if (!place_fill(object, index, place, 0, page))
		page_put(page);
	return 0;
}

/* Bring a page in from its slot.  Returns 0, also if another thread has done so; -ENOMEM,
 * or -EIO, with the place as it was. */
static noinline int place_swapped(struct object *object, uint64_t index,
				  uint64_t *place, uint64_t was)
{
	struct page *page;
	int ret;

	require(may_sleep());
	if (was & PLACE_READING) {
		PROBE(object_wait, object, index);
		wait_event(&wake, !(place_read(place) & PLACE_READING));
		return 0;
	}
	page = page_alloc();
	if (!page)
		return err(ENOMEM);
	if (!place_change(place, was, was | PLACE_READING)) {
		page_put(page);
		return 0;
	}
	ret = swap_object_read(place_swp(was), page);
	if (ret) {
		place_set(place, was);
		page_put(page);
	} else if (!place_fill(object, index, place, was | PLACE_READING,
			       page)) {
		panic("object: the place of page %lu was changed", index);
	}
	wake_all(&wake);
	return ret;
}

int object_page(struct object *object, uint64_t index, struct page **page)
{
	uint64_t *place, was;
	int ret;

	require(locks_below(RANK_POOL));
	assert(index < object->pages);
	place = object_place(object, index);
	if (!place)
		return err(ENOMEM);
	while (!(*page = place_get(place, &was))) {
		ret = was ? place_swapped(object, index, place, was)
			  : place_fresh(object, index, place);
		if (unlikely(ret))
			return ret;
	}
	return 0;
}

void object_page_move(struct object *object, uint64_t index, struct page *from,
		      struct page *to)
{
	uint64_t *place = object_place(object, index);

	assert(place && place_read(place) == (uint64_t)from &&
	       !page_refs(from));
	place_set(place, (uint64_t)to);
}

void object_page_leave(struct object *object, uint64_t index, struct page *page,
		       uint32_t swp)
{
	uint64_t *place = object_place(object, index);

	assert(place && place_read(place) == (uint64_t)page &&
	       !page_refs(page));
	place_set(place, FIELD_PREP(PLACE_SWP, swp) | PLACE_SWAPPED);
	page_change_kind(page, PAGE_OBJECT, PAGE_KERNEL, (struct page *)NULL,
			 0);
	page_clear(page, PG_EXCLUSIVE | PG_DIRTY);
	object_unref(object);
}

/* ---- all objects ----------------------------------------------------------- */

struct object *object_next(struct object *object)
{
	struct object *next;

	require(locks_below(RANK_OBJECTS));
	spin_lock(&objects_lock);
	next = object ? TAILQ_NEXT(object, link) : TAILQ_FIRST(&objects);
	while (next && !object_try_get(next))
		next = TAILQ_NEXT(next, link);
	spin_unlock(&objects_lock);
	if (object)
		object_put(object);
	return next;
}

/* Bring the page in, if it is in swap, and give its slot up.  Returns 0, -ENOMEM, -EIO. */
static int give_slot_up(struct object *object, uint64_t index)
{
	struct page *page;
	int ret = object_page(object, index, &page);

	if (ret)
		return ret;
	while (!moving_begin(page))
		moving_wait(page);
	swap_object_drop(page);
	moving_end(page);
	page_put(page);
	return 0;
}

int object_swap_off(struct object *object)
{
	int ret = 0;

	require(may_sleep());
	for (uint64_t i = 0; !ret && i < object->pages; i++) {
		struct page *leaf = leaf_of(object, i);

		if (!leaf)
			i |= PLACES - 1;
		else if (place_read(place_in(leaf, i)))
			ret = give_slot_up(object, i);
	}
	return ret;
}

void object_for_each_swapped(void (*fn)(uint32_t swp, void *arg), void *arg)
{
	struct object *object;

	TAILQ_FOREACH (object, &objects, link)
		for (uint64_t i = 0; i < object->pages; i++) {
			struct page *leaf = leaf_of(object, i);
			swp_t swp;

			if (!leaf) {
				i |= PLACES - 1;
				continue;
			}
			swp = place_swp(place_read(place_in(leaf, i)));
			if (swp)
				fn(swp, arg);
		}
}
