/* SPDX-License-Identifier: MIT */
/*
 * world.c - what scenarios are made of
 */
#include "tests/world.h"
#include "arch/uaccess.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/entry.h"

/* Loading a table drops the CPU's translations: a test that is bound stays so,
 * or it would hide the flush that it is there to miss. */
uint64_t rd(struct mm *mm, va_t va)
{
	bool bound = current()->mm == mm;
	uint64_t v;
	int ret;

	if (!bound)
		mm_bind(mm);
	ret = user_load64(va, &v);
	if (!bound)
		mm_bind(NULL);
	return ret ? BAD : v;
}

int wr(struct mm *mm, va_t va, uint64_t v)
{
	bool bound = current()->mm == mm;
	int ret;

	if (!bound)
		mm_bind(mm);
	ret = user_store64(va, v);
	if (!bound)
		mm_bind(NULL);
	return ret;
}

struct mm *world(unsigned n)
{
	struct mm *mm = mm_create();

	REQUIRE(mm);
	REQUIRE(mm_map(mm, VA, n * PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
	return mm;
}

struct mm *world_shared(struct object *object, unsigned n)
{
	struct mm *mm = mm_create();

	REQUIRE(mm);
	REQUIRE(mm_map(mm, VA, n * PAGE_SIZE, RW, 0, object, 0, NULL) == 0);
	return mm;
}

struct mm *fork_of(struct mm *mm)
{
	struct mm *child = NULL;

	REQUIRE(mm_fork(mm, &child) == 0);
	return child;
}

uint64_t entry_at(struct mm *mm, va_t va)
{
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	e = slot ? pte_read(slot) : 0;
	spin_unlock(&mm->pt_lock);
	return e;
}

struct page *page_at(struct mm *mm, va_t va)
{
	struct page *page = NULL;
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	if (slot && entry_mapped(pte_read(slot))) {
		page = entry_page(pte_read(slot));
		page_get(page);
	}
	spin_unlock(&mm->pt_lock);
	return page;
}

struct count {
	unsigned visits, found;
};

static bool count_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	struct count *c = arg;

	spin_lock(&region->mm->pt_lock);
	c->found += rmap_entry(page, region, va) != NULL;
	spin_unlock(&region->mm->pt_lock);
	c->visits++;
	return true;
}

unsigned visits(struct page *page)
{
	struct count c = { 0, 0 };

	rmap_walk(page, count_visit, &c);
	return c.visits;
}

unsigned mappings(struct page *page)
{
	struct count c = { 0, 0 };

	rmap_walk(page, count_visit, &c);
	return c.found;
}

void on_cpu(unsigned n, void (*fn)(void *arg), void *arg)
{
	struct thread *t = thread_create_on(BIT(n), "on_cpu", fn, arg);

	REQUIRE(t);
	thread_join(t);
}

uint64_t probes_begin(void)
{
	WRITE_ONCE(probe_on, true);
	return rdtsc();
}

bool probes_in_order(uint64_t since, const void *a, const char *names)
{
	static struct probe_hit hits[256];
	size_t n = probe_collect(hits, ARRAY_SIZE(hits), since, (uint64_t)a);
	size_t len;

	for (size_t i = 0; i < n && *names; i++) {
		len = strlen(hits[i].point->name);
		if (strncmp(names, hits[i].point->name, len) ||
		    (names[len] && names[len] != ' '))
			continue;
		names += len;
		while (*names == ' ')
			names++;
	}
	return !*names;
}
