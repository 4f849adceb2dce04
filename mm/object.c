/* SPDX-License-Identifier: MIT */
/*
 * object.c - slots of shared memory, filled without a lock
 *
 * Two CPUs that need the same page at once both make one and the loser of the
 * compare-and-swap frees its own: no lock is held over an allocation and
 * nobody waits.
 */
#include "mm/object.h"
#include "kernel/panic.h"
#include "mm/page.h"
#include "mm/pmm.h"
#include "mm/pool.h"

#define SLOTS 512u

static struct pool object_pool;

void object_init(void)
{
	pool_init(&object_pool, "object", sizeof(struct object));
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

void object_unref(struct object *object)
{
	if (atomic_fetch_sub(&object->refs, 1) == 1)
		pool_free(&object_pool, object);
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
 * Publish page in an empty slot; if somebody was faster, take theirs and put
 * ours.  Release and acquire: what is in the page precedes its publication.
 */
static struct page *slot_fill(struct page **slot, struct page *page)
{
	struct page *theirs = NULL;

	if (__atomic_compare_exchange_n(slot, &theirs, page, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return page;
	page_put(page);
	return theirs;
}

static struct page *slot_read(struct page **slot)
{
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

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

struct page *object_page(struct object *object, uint64_t index)
{
	struct page **slot, *page;

	assert(index < object->pages);
	slot = object_slot(object, index);
	if (!slot)
		return NULL;
	page = slot_read(slot);
	if (!page) {
		page = page_alloc_zeroed();
		if (!page)
			return NULL;
		atomic_fetch_add(&object->refs, 1);
		page->mapping = (uintptr_t)object;
		page->index = index;
		page_set_user(page, PAGE_OBJECT);
		page = slot_fill(slot, page);
	}
	page_get(page);
	return page;
}
