/* SPDX-License-Identifier: MIT */
/*
 * memory.c - pages that leave their frames while a stress uses them
 */
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/migrate.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/stress/stress.h"

#define SLOTS 512u

static _Atomic unsigned out, moved;
static struct huge_stat before;

void stress_memory_begin(void)
{
	swap_fixture_begin(SLOTS);
	huge_stat(&before);
	out = moved = 0;
}

void stress_memory_end(void)
{
	struct huge_stat huge;

	huge_stat(&huge);
	test_note("%lu huge entries were made, %lu were split, %lu collapsed",
		  huge.faults - before.faults, huge.splits - before.splits,
		  huge.collapses - before.collapses);
	test_note("%u pages were swapped out, %u moved to other frames", out,
		  moved);
	if (!stress_planned()) {
		EXPECT(out > 0 && moved > 0);
		/* A round begins with one.  A small memory may have no block. */
		EXPECT(huge.faults + huge.fallbacks >
		       before.faults + before.fallbacks);
	}
	swap_fixture_end();
}

static void move(struct page *page)
{
	struct page *to = page_alloc();

	if (!to)
		return;
	moved += !migrate_page(page, to);
	page_put(to);
}

struct page *stress_page(struct mm *mm, va_t va)
{
	struct page *page = page_at(mm, va), *head;
	uint64_t e;

	if (page)
		return page;
	e = entry_at(mm, va);
	if (!(e & PTE_PS))
		return NULL;
	/* It may have been split meanwhile, and the frame may be another's page. */
	head = page_head(entry_page(e));
	return page_try_get_user(head) ? head : NULL;
}

void stress_take(struct page *page, unsigned dice)
{
	if (page == zero_page)
		return;
	switch (dice >> 1 & 3) {
	case 0:
		out += !swap_out(page);
		break;
	case 1:
		move(page);
		break;
	default:
		/* -EBUSY: another thread has pinned it, or just mapped it. */
		(void)!try_to_unmap(page);
	}
	if (dice & 1)
		page_referenced(page);
}
