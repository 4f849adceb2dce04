/* SPDX-License-Identifier: MIT */
/*
 * page.c - tests page.h: reference counts of a frame
 */
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/core/object.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"
#include "tests/fixture/mm/sync_point.h"

TEST(page, map_moves_both_halves,
     "a mapping counts once in maps and once in refs")
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

TEST(page, last_put_frees, "the last reference frees the frame")
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

TEST(page, last_unmap_frees, "the last unmapping frees the frame")
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

TEST(page, evicted_entry_still_holds,
     "an evicted entry holds a reference but is no mapping")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	page_map_add(page);
	page_put(page);
	EXPECT_EQ(page_map_to_ref(page), PAGE_REF);
	EXPECT_EQ(page_ref_to_map(page), PAGE_MAP);
	EXPECT_EQ(page_map_drop(page), 0);
}

TEST(page, try_get_refuses_unused_frames,
     "a frame without references gives no new one")
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

TEST(page, freeze_takes_every_reference,
     "a frame is frozen only at the expected count; then no reference can be "
     "taken until it is unfrozen")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	page_map_add(page);
	EXPECT(!page_freeze(page, PAGE_MAP));
	EXPECT(!page_freeze(page, PAGE_REF));
	EXPECT(page_try_get(page));
	EXPECT(!page_freeze(page, PAGE_MAP + PAGE_REF));
	page_put(page);
	EXPECT_EQ(page_count(page), PAGE_MAP + PAGE_REF);
	EXPECT(page_freeze(page, PAGE_MAP + PAGE_REF));
	EXPECT_EQ(page_refs(page), 0);
	EXPECT_EQ(page_maps(page), 1);
	EXPECT(!page_try_get(page));
	EXPECT(!page_freeze(page, PAGE_MAP + PAGE_REF));
	page_unfreeze(page, PAGE_MAP + PAGE_REF);
	EXPECT_EQ(page_count(page), PAGE_MAP + PAGE_REF);
	page_map_drop(page);
	page_put(page);
}

static void to_kernel(void *page)
{
	page_change_kind(page, PAGE_POOL, PAGE_KERNEL, NULL, 0);
}

static void to_pool(void *page)
{
	page_change_kind(page, PAGE_KERNEL, PAGE_POOL, (struct pool *)page, 5);
}

TEST(page, kind_changes_without_references,
     "kind, owner and index of a new or frozen frame change together; a wrong "
     "kind, or a frame that is not frozen, panics")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	page_set(page, BIT(31));
	to_pool(page);
	EXPECT_EQ(page_kind(page), PAGE_POOL);
	EXPECT(page->mapping.pool == (struct pool *)page && page->index == 5);
	EXPECT(page_test(page, BIT(31)));
	EXPECT(panic_catch(to_pool, page, words, sizeof(words)));
	EXPECT(panic_catch(to_kernel, page, words, sizeof(words)));
	EXPECT_EQ(page_kind(page), PAGE_POOL);
	EXPECT(page->mapping.pool == (struct pool *)page && page->index == 5);
	EXPECT(page_freeze(page, PAGE_REF));
	to_kernel(page);
	page_unfreeze(page, PAGE_REF);
	EXPECT_EQ(page_kind(page), PAGE_KERNEL);
	EXPECT(!page->mapping.pool && !page->index);
	page_put(page);
}

TEST(page, numbers_lead_to_users_pages_only,
     "a lookup by number returns user frames that are not frozen, and no "
     "others")
{
	struct object *object = object_create(1);
	struct page *page = page_alloc(), *user;

	REQUIRE(page && object);
	EXPECT(!page_try_get_user(page));
	EXPECT(!page_try_get_user(zero_page));
	EXPECT_EQ(page_refs(page), 1);
	page_put(page);
	EXPECT(!page_try_get_user(page));
	REQUIRE(!object_page(object, 0, &user));
	EXPECT(page_try_get_user(user));
	EXPECT_EQ(page_refs(user), 3);
	page_put(user);
	EXPECT(page_freeze(user, 2 * PAGE_REF));
	EXPECT(!page_try_get_user(user));
	page_unfreeze(user, 2 * PAGE_REF);
	page_put(user);
	object_put(object);
}

#define TRIES 16u

static struct {
	struct object *object; /* whose only page was found                 */
	struct page *found, *taken[TRIES];
	unsigned n;
} reuse;

/* The frame is freed and reused by the kernel before the reference is taken. */
static void use_again(uint64_t found, uint64_t kind, void *arg)
{
	if (found != (uint64_t)reuse.found || !reuse.object)
		return;
	object_put(reuse.object);
	reuse.object = NULL;
	while (reuse.n < TRIES) {
		struct page *page = page_alloc();

		reuse.taken[reuse.n++] = page;
		if (page == reuse.found)
			return;
	}
}

TEST(page, object_without_users_gets_none,
     "a page that outlives the users of its object gives it no new one")
{
	struct object *object = object_create(1);
	struct page *page;

	REQUIRE(object && !object_page(object, 0, &page));
	EXPECT(object_try_get(object));
	object_put(object);
	object_put(object);
	EXPECT(!object_try_get(page->mapping.object));
	page_put(page);
}

TEST(page, reused_frame_is_not_taken_for_the_old,
     "a frame that the kernel reuses before the reference is taken is not "
     "returned as the user's")
{
	struct page *page;

	reuse.object = object_create(1);
	reuse.n = 0;
	REQUIRE(reuse.object);
	REQUIRE(!object_page(reuse.object, 0, &page));
	reuse.found = page;
	page_put(page);
	hook("page_found", use_again, NULL);
	EXPECT(!page_try_get_user(page));
	unhook("page_found");
	EXPECT(!reuse.object && reuse.taken[reuse.n - 1] == page);
	EXPECT_EQ(page_refs(page), 1);
	EXPECT_EQ(page_kind(page), PAGE_KERNEL);
	while (reuse.n)
		page_put(reuse.taken[--reuse.n]);
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

TEST(page, underflow_is_caught,
     "one drop too many panics, and the panic names the frame")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	EXPECT(panic_catch(unmap, page, words, sizeof(words)));
	EXPECT(glob_match("*count out of range*", words));
	/* The panic left the count wrong: repair it. */
	atomic_store(&page->count, 0);
	EXPECT(panic_catch(put, page, words, sizeof(words)));
	atomic_store(&page->count, PAGE_REF);
	page_put(page);
}

TEST(page, overflow_is_caught, "an overflow of either half of the count panics")
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

TEST(page, addresses_round_trip,
     "frame, number and address can be converted into each other")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	EXPECT(page_of(pfn_of(page)) == page);
	EXPECT(page_of_va(page_va(page)) == page);
	EXPECT(page_of_pa(page_pa(page) + PAGE_SIZE - 1) == page);
	EXPECT_EQ(page_pa(page) % PAGE_SIZE, 0);
	page_put(page);
}

TEST(page, flags_keep_apart, "setting a kind or a bit changes no other bit")
{
	struct page *page = page_alloc();

	REQUIRE(page);
	page_set(page, PG_EXCLUSIVE | BIT(31));
	page_set_kind(page, PAGE_DMA);
	EXPECT_EQ(page_kind(page), PAGE_DMA);
	EXPECT(page_exclusive(page) && page_test(page, BIT(31)));
	page_clear_exclusive(page);
	EXPECT(!page_exclusive(page) && page_test(page, BIT(31)));
	EXPECT_EQ(page_kind(page), PAGE_DMA);
	page_put(page);
}

TEST(page, zero_page_is_zero, "the shared zero frame holds only zeros")
{
	const uint64_t *words = page_va(zero_page);
	unsigned bad = 0;

	EXPECT_EQ(page_kind(zero_page), PAGE_ZERO);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		bad += words[i] != 0;
	EXPECT_EQ(bad, 0);
}

TEST(page, copy_is_whole,
     "page_copy copies all bytes, and page_zero clears all")
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
