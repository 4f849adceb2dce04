/* SPDX-License-Identifier: MIT */
/*
 * pmm_list.c - tests page_alloc_list() and page_free_list() of pmm.c
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"

#define MANY 200u /* more than a CPU's cache holds */

static uint64_t free_now(void)
{
	pmm_drain();
	return pmm_free_pages();
}

/* Return the number of frames on the list, each of kind TABLE with one reference. */
static unsigned length(struct page *list)
{
	unsigned n = 0;

	for (; list; list = list->mapping.next, n++)
		if (page_kind(list) != PAGE_TABLE ||
		    page_count(list) != PAGE_REF || n == 2 * MANY)
			return 0;
	return n;
}

TEST(pmm, list_is_extended_and_freed,
     "frames are pushed onto a list, each of the wanted kind with one "
     "reference, and a list of more frames than a cache holds is freed")
{
	uint64_t before = free_now();
	struct page *list = NULL, *first;

	EXPECT_EQ(page_alloc_list(&list, 3, PAGE_TABLE), 0);
	EXPECT_EQ(length(list), 3);
	first = list;
	EXPECT_EQ(page_alloc_list(&list, MANY, PAGE_TABLE), 0);
	EXPECT_EQ(length(list), MANY + 3);
	EXPECT_EQ(length(first), 3);
	EXPECT_EQ(free_now(), before - MANY - 3);
	page_free_list(list, PAGE_REF);
	page_free_list(NULL, PAGE_REF);
	EXPECT_EQ(free_now(), before);
	EXPECT_STR_NULL(pmm_check());
}

/* Link the frames of a block of 2^7, which are single ones, by step, and free them. */
static void free_linked(struct page *block, int from, int step)
{
	struct page *list = NULL;

	for (int i = 0; i < 128; i++) {
		struct page *page = block + ((from + i * step) & 127);

		page->mapping.next = list;
		list = page;
	}
	page_free_list(list, PAGE_REF);
}

TEST(pmm, list_of_neighbours,
     "frames that lie side by side on a list, upwards, downwards, or neither, "
     "are free once each when it is freed")
{
	static const int steps[] = { 1, -1, 3, 64 + 1 };
	uint64_t before = free_now();

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct page *block = pages_alloc(7);

		REQUIRE(block);
		for (unsigned j = 0; j < 128; j++) {
			page_clear(block + j, PG_TAIL | PG_ORDER);
			atomic_store(&block[j].count, PAGE_REF);
		}
		free_linked(block, 5, steps[i]);
		EXPECT_EQ(free_now(), before);
		EXPECT_STR_NULL(pmm_check());
	}
}

TEST(pmm, list_without_memory_is_unchanged,
     "a list of more frames than there are, or whose allocation is made to "
     "fail, is as it was, and no frame is lost")
{
	struct page *list = NULL, *old;
	uint64_t before;

	if (pmm_free_pages() > BIT(17))
		SKIP("taking every frame takes long with more than 512 MiB");
	REQUIRE(!page_alloc_list(&list, 2, PAGE_TABLE));
	old = list;
	before = free_now();
	EXPECT_EQ(page_alloc_list(&list, (unsigned)before + 1, PAGE_TABLE),
		  -ENOMEM);
	EXPECT(list == old);
	EXPECT_EQ(free_now(), before);
	inject_arm(1);
	EXPECT_EQ(page_alloc_list(&list, 1, PAGE_TABLE), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT(list == old);
	EXPECT_EQ(length(list), 2);
	page_free_list(list, PAGE_REF);
	EXPECT_STR_NULL(pmm_check());
}
