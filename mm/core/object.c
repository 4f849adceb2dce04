/* SPDX-License-Identifier: MIT */
/*
 * object.c - the slots of an object, filled without a lock
 *
 * Two CPUs that need the same page at once both make one, and the loser of the
 * compare-and-swap frees its own: no lock is held over an allocation, and no CPU
 * waits.
 */
#include "mm/core/object.h"
#include "kernel/panic.h"
#include "mm/frame/moving.h"
#include "mm/frame/page.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"

#define SLOTS 512u

static struct pool object_pool;

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

/* Drop the cache's reference on every page of one leaf frame. */
static void leaf_free(struct page *leaf)
{
	struct page **slots = page_va(leaf);

	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i])
			page_put(slots[i]);
	page_put(leaf);
}

void object_put(struct object *object)
{
	struct page **leaves = page_va(object->directory);

	require(locks_below(RANK_POOL));
	if (atomic_fetch_sub(&object->users, 1) > 1)
		return;
	assert(itree_empty(&object->regions));
	for (unsigned i = 0; i < SLOTS; i++)
		if (leaves[i])
			leaf_free(leaves[i]);
	page_put(object->directory);
	object_unref(object);
}

/*
 * Store page in an empty slot.  If another CPU was faster, put page and return the
 * other one.  Release and acquire: the page's contents are visible before it.
 */
static struct page *slot_fill(struct page **slot, struct page *page)
{
	struct page *other = NULL;

	if (__atomic_compare_exchange_n(slot, &other, page, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return page;
	page_put(page);
	return other;
}

/* Read a slot; pairs with slot_fill(). */
static struct page *slot_read(struct page **slot)
{
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

/* Return the slot for index, making its leaf frame; NULL without memory. */
static struct page **object_slot(struct object *object, uint64_t index)
{
	struct page **leaf = page_va(object->directory);
	struct page *frame;

	leaf += index / SLOTS;
	frame = slot_read(leaf);
	if (!frame) {
		frame = page_alloc_zeroed();
		if (!frame)
			return NULL;
		frame = slot_fill(leaf, frame);
	}
	return (struct page **)page_va(frame) + index % SLOTS;
}

/* Return the page of a slot with a reference, NULL if it has none.  A frame that was
 * left between the two reads, or is frozen, is not the page any more. */
static inline struct page *slot_get(struct page **slot)
{
	struct page *page;

	while ((page = slot_read(slot))) {
		if (unlikely(page_moving(page))) {
			moving_wait(page);
			continue;
		}
		if (unlikely(!page_try_get(page)))
			continue;
		if (likely(slot_read(slot) == page))
			break;
		page_put(page);
	}
	return page;
}

struct page *object_page(struct object *object, uint64_t index)
{
	struct page **slot, *page;

	require(locks_below(RANK_POOL));
	assert(index < object->pages);
	slot = object_slot(object, index);
	if (!slot)
		return NULL;
	while (!(page = slot_get(slot))) {
		page = page_alloc_zeroed();
		if (!page)
			return NULL;
		atomic_fetch_add(&object->refs, 1);
		page_set_exclusive(page);
		page_change_kind(page, PAGE_KERNEL, PAGE_OBJECT, object, index);
		slot_fill(slot, page);
	}
	return page;
}

void object_page_move(struct object *object, uint64_t index, struct page *from,
		      struct page *to)
{
	struct page **slot = object_slot(object, index);

	assert(slot && slot_read(slot) == from && !page_refs(from));
	__atomic_store_n(slot, to, __ATOMIC_RELEASE);
}
