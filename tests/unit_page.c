/* SPDX-License-Identifier: MIT */
/*
 * unit_page.c - tests page.h: counting the users of a frame
 */
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/test.h"

TEST(page, map_moves_both_halves, "a mapping counts once in maps and in refs")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	EXPECT_EQ(page_count(page), PAGE_REF);
	EXPECT_EQ(page_map_add(page), PAGE_REF + PAGE_MAP);
	EXPECT_EQ(page_refs(page), 2);
	EXPECT_EQ(page_maps(page), 1);

	EXPECT_EQ(page_map_drop(page), PAGE_REF);
	page_put(page);
}

TEST(page, last_put_frees, "the last reference gives the frame back")
{
	uint64_t before = pmm_free_pages();
	struct page *page = page_alloc();

	REQUIRE(page);
	page_get(page);
	page_put(page);
	EXPECT_EQ(pmm_free_pages(), before - 1);
	page_put(page);
	EXPECT_EQ(pmm_free_pages(), before);
	EXPECT_EQ(page_kind(page), PAGE_FREE);
}

TEST(page, last_unmap_frees, "an unmapping that is the last user frees too")
{
	uint64_t before = pmm_free_pages();
	struct page *page = page_alloc();

	REQUIRE(page);
	page_map_add(page);
	page_put(page);
	EXPECT_EQ(page_count(page), PAGE_MAP);
	EXPECT_EQ(page_map_drop(page), 0);
	EXPECT_EQ(pmm_free_pages(), before);
}

TEST(page, parked_entry_still_holds, "a parked entry is no map but a reference")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	page_map_add(page);
	page_put(page);
	EXPECT_EQ(page_map_to_ref(page), PAGE_REF);
	EXPECT_EQ(page_ref_to_map(page), PAGE_MAP);
	EXPECT_EQ(page_map_drop(page), 0);
}

TEST(page, try_get_refuses_the_dead, "a frame without users gains none")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	EXPECT(page_try_get(page));
	EXPECT_EQ(page_refs(page), 2);
	page_put(page);
	page_put(page);
	EXPECT(!page_try_get(page));
	EXPECT_EQ(page_count(page), 0);
}

static void put(void *page)
{
	page_put(page);
}

static void unmap(void *page)
{
	page_map_drop(page);
}

static void get(void *page)
{
	page_get(page);
}

static void map(void *page)
{
	page_map_add(page);
}

TEST(page, underflow_is_caught, "one drop too many panics and names the frame")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	EXPECT(panic_catch(unmap, page, words, sizeof(words)));
	EXPECT(glob_match("*count out of range*", words));
	/* The panic left the count as it found it wrong: mend it. */
	atomic_store(&page->count, 0);
	EXPECT(panic_catch(put, page, words, sizeof(words)));
	atomic_store(&page->count, PAGE_REF);
	page_put(page);
}

TEST(page, overflow_is_caught, "either half panics before it spills")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	atomic_store(&page->count, INT32_MAX);
	EXPECT(panic_catch(get, page, words, sizeof(words)));
	atomic_store(&page->count, BIT(63) - BIT(32) + PAGE_REF);
	EXPECT_EQ(page_maps(page), INT32_MAX);
	EXPECT(panic_catch(map, page, words, sizeof(words)));
	atomic_store(&page->count, PAGE_REF);
	page_put(page);
}

TEST(page, addresses_round_trip, "frame, number and address name each other")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	EXPECT(page_of(pfn_of(page)) == page);
	EXPECT(page_of_va(page_va(page)) == page);
	EXPECT(page_of_pa(page_pa(page) + PAGE_SIZE - 1) == page);
	EXPECT_EQ(page_pa(page) % PAGE_SIZE, 0);
	page_put(page);
}

TEST(page, flags_keep_apart, "setting a kind or a bit leaves the others alone")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	page_set(page, PG_EXCLUSIVE | BIT(31));
	page_set_kind(page, PAGE_ANON);
	EXPECT_EQ(page_kind(page), PAGE_ANON);
	EXPECT(page_exclusive(page) && page_test(page, BIT(31)));
	page_clear_exclusive(page);
	EXPECT(!page_exclusive(page) && page_test(page, BIT(31)));
	EXPECT_EQ(page_kind(page), PAGE_ANON);
	page_put(page);
}

TEST(page, zero_page_is_zero, "the shared zero frame holds nothing but zeros")
{
	const uint64_t *words = page_va(zero_page);
	unsigned bad = 0;

	EXPECT_EQ(page_kind(zero_page), PAGE_ZERO);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		bad += words[i] != 0;
	EXPECT_EQ(bad, 0);
}

TEST(page, copy_is_whole, "page_copy copies all bytes, page_zero clears all")
{
	struct page *from = page_alloc(), *to = page_alloc();
	uint64_t *a, *b;

	REQUIRE(from && to);
	a = page_va(from);
	b = page_va(to);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		a[i] = i * UINT64_C(0x9e3779b97f4a7c15);
	page_copy(to, from);
	EXPECT_EQ(memcmp(a, b, PAGE_SIZE), 0);
	page_zero(from);
	EXPECT(a[0] == 0 && a[511] == 0 && b[511] != 0);
	page_put(from);
	page_put(to);
}
