/* SPDX-License-Identifier: MIT */
/*
 * device.c - give numbers to the memory of devices, and keep lists of its free pages
 */
#include "mm/core/device.h"
#include "kernel/err.h"
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"

#define CHUNKS (DEVICE_PAGES / DEVICE_CHUNK)

static struct spinlock device_lock;

/* Whose chunk it is.  Written under device_lock; a reader without it has a page of
 * the chunk that is in use, so its device stays. */
static struct device_memory *owners[CHUNKS];

static void list_add(struct device_memory *dm, struct page *page)
{
	require(spin_held(&device_lock));
	page->mapping.next = dm->free;
	dm->free = page;
	dm->n_free++;
}

/* Put a page whose count has reached 0 back on its device's list. */
static void page_back(struct page *page)
{
	struct device_memory *dm = device_memory_of(page);

	PROBE(device_page_free, page, dm);
	assert(!page_count(page) && !page_test(page, PG_MOVING));
	spin_lock(&device_lock);
	page_clear(page, PG_EXCLUSIVE | PG_DIRTY);
	page_set_kind(page, PAGE_VRAM);
	list_add(dm, page);
	spin_unlock(&device_lock);
}

void device_memory_init(void)
{
	pmm_set_device_free(page_back);
	spin_init(&device_lock, RANK_PMM, "device");
}

static unsigned chunks_of(const struct device_memory *dm)
{
	return (dm->pages + DEVICE_CHUNK - 1) / DEVICE_CHUNK;
}

/* Return the first of n free chunks in a row, CHUNKS if there are none.
 * Context: device_lock held. */
static unsigned find_chunks(unsigned n)
{
	unsigned run = 0;

	require(spin_held(&device_lock));
	for (unsigned i = 0; i < CHUNKS; i++) {
		run = owners[i] ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return CHUNKS;
}

int device_memory_add(struct device_memory *dm)
{
	unsigned n = chunks_of(dm), at;

	require(may_sleep());
	assert(dm->pages);
	spin_lock(&device_lock);
	at = find_chunks(n);
	if (at < CHUNKS) {
		for (unsigned i = at; i < at + n; i++)
			WRITE_ONCE(owners[i], dm);
		dm->first = &frames[device_first + at * DEVICE_CHUNK];
		dm->free = NULL;
		dm->n_free = 0;
		dm->closed = false;
		for (unsigned i = dm->pages; i--;) {
			page_set_kind(dm->first + i, PAGE_VRAM);
			list_add(dm, dm->first + i);
		}
	}
	spin_unlock(&device_lock);
	return at < CHUNKS ? 0 : err(ENOSPC);
}

void device_memory_close(struct device_memory *dm)
{
	spin_lock(&device_lock);
	dm->closed = true;
	spin_unlock(&device_lock);
}

int device_memory_remove(struct device_memory *dm)
{
	bool busy;

	require(may_sleep());
	spin_lock(&device_lock);
	busy = dm->n_free != dm->pages;
	for (unsigned i = 0; i < CHUNKS && !busy; i++)
		if (owners[i] == dm)
			WRITE_ONCE(owners[i], NULL);
	for (unsigned i = 0; i < dm->pages && !busy; i++)
		page_set_kind(dm->first + i, PAGE_RESERVED);
	spin_unlock(&device_lock);
	return busy ? err(EBUSY) : 0;
}

struct page *device_page_alloc(struct device_memory *dm)
{
	struct page *page;

	require(locks_below(RANK_PMM));
	spin_lock(&device_lock);
	page = dm->closed ? NULL : dm->free;
	if (page) {
		dm->free = page->mapping.next;
		dm->n_free--;
		page->mapping.next = NULL;
		assert(page_kind(page) == PAGE_VRAM && !page_count(page));
		page_count_add(page, PAGE_REF);
	}
	spin_unlock(&device_lock);
	return page;
}

struct device_memory *device_memory_of(const struct page *page)
{
	pfn_t n = pfn_of(page) - device_first;
	struct device_memory *dm;

	assert(page_is_device(page));
	dm = READ_ONCE(owners[n / DEVICE_CHUNK]);
	assert(dm);
	return dm;
}

unsigned device_memory_used(struct device_memory *dm)
{
	unsigned used;

	spin_lock(&device_lock);
	used = dm->pages - dm->n_free;
	spin_unlock(&device_lock);
	return used;
}

/* Check one device.  Context: device_lock held. */
static const char *check_one(const struct device_memory *dm)
{
	unsigned listed = 0, idle = 0;

	require(spin_held(&device_lock));
	for (struct page *p = dm->free; p; p = p->mapping.next, listed++)
		if (page_count(p) || page_kind(p) != PAGE_VRAM ||
		    page_test(p, PG_MOVING | PG_EXCLUSIVE | PG_DIRTY))
			return "device: a free page is in use";
	for (unsigned i = 0; i < dm->pages; i++)
		idle += !page_count(dm->first + i);
	return listed == idle && listed == dm->n_free
		       ? NULL
		       : "device: free pages and the list differ";
}

const char *device_memory_check(void)
{
	const char *wrong = NULL;

	spin_lock(&device_lock);
	for (unsigned i = 0; i < CHUNKS && !wrong; i++)
		if (owners[i])
			wrong = check_one(owners[i]);
	spin_unlock(&device_lock);
	return wrong;
}
