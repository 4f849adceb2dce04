/* SPDX-License-Identifier: MIT */
/*
 * memory.c - pages that leave their frames while a stress uses them
 */
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/stress/stress.h"

#define SLOTS 512u

static _Atomic unsigned out, moved;

void stress_memory_begin(void)
{
	swap_fixture_begin(SLOTS);
	out = moved = 0;
}

void stress_memory_end(void)
{
	test_note("%u pages were swapped out, %u moved to other frames", out,
		  moved);
	if (!stress_planned())
		EXPECT(out > 0 && moved > 0);
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
