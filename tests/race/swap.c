/* SPDX-License-Identifier: MIT */
/*
 * swap.c - a page is written to a swap store, and comes back: experiments 26, 28
 *
 * What is stored is the page only if no MMU can write to its frame any more.  A device
 * whose entries were flushed too early writes to a frame that is free.
 */
#include "kernel/string.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/space/replace.h"
#include "mm/swap/swap.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client;
static struct victim victim;
static struct mm *mm;
static struct page *page; /* the frame of A, before                          */
static struct task t0, t1;
static struct sync_point t1_turn;
static int error;

static void swap(void *unused)
{
	mm_bind(mm);
	page_get(page);
	error = swap_out(page);
	page_put(page);
}

static void take_page(void *unused)
{
	sync_point_enter(&t1_turn);
	take(&victim, page);
}

static void device_caches(uint64_t of, uint64_t va, void *unused)
{
	device_reads(&client, A);
}

static void stored(uint64_t from, uint64_t swp, void *unused)
{
	says("page 1 is in the store");
}

/* Swap A out.  The device has it cached, reads it when the invalidation has begun, and
 * writes to it afterwards.  Returns what the frame's next owner reads. */
static uint64_t swapped(struct iommu_fixture *s,
			const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	swap_fixture_begin(8);
	victim_begin(&victim);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	client_join(&client, s, 0, mm, ops);
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	device_writes(&client, A, 11);
	hook("range_started", device_caches, NULL);
	hook("swap_written", stored, NULL);
	go(&t0, 0, "T0", swap, NULL);
	join(&t0);
	unhook("swap_written");
	unhook("range_started");
	EXPECT_EQ(error, 0);
	sync_point_release(&t1_turn);
	join(&t1);
	device_writes(&client, A, 66);
	v = victim_reads(&victim);
	EXPECT_EQ(cpu_reads(mm, A), 11);
	explain_end();
	client_leave(&client);
	victim_end(&victim);
	mm_put(mm);
	swap_fixture_end();
	return v;
}

IOMMU_TEST(
	race, swapped_page_is_still_written,
	"with a flush only in start a device writes to a frame that is free "
	"since its page was swapped out, and the write is not in the page that "
	"comes back")
{
	EXPECT_EQ(swapped(s, &only_start), 66);
}

IOMMU_TEST(
	race, swapped_page_is_not_reached,
	"with a flush in invalidate_range no translation is left when the page "
	"is stored, and the device does not reach the frame")
{
	EXPECT_EQ(swapped(s, SVA), 77);
}

/* ---- 28: two threads bring one page back ---------------------------------- */

static struct sync_point has_read;

/* What a swap-in without a cache does: T1 reads A's slot into a page of its own, and maps
 * that when it has the content. */
static void bring_a_copy(void *unused)
{
	struct page *own = page_alloc();

	REQUIRE(own);
	REQUIRE(entry_swapped(entry_at(mm, A)));
	memset(page_va(own), 0, PAGE_SIZE);
	*(uint64_t *)page_va(own) = 10; /* as the store has it */
	says("reads the slot into page 2");
	sync_point_enter(&has_read);
	says("maps page 2");
	page = page_at(mm, A);
	REQUIRE(page && !mm_replace_page(mm, A, page, own));
	page_put(page);
	page_put(own);
}

static void load_a(void *unused)
{
	cpu_reads(mm, A);
}

static void store_11(void *unused)
{
	cpu_writes(mm, A, 11);
}

/* A is in swap. */
static void in_swap_begin(struct iommu_fixture *s)
{
	FIXTURE_NEEDS(s, caches);
	swap_fixture_begin(8);
	mm = process(1, "P");
	client_join(&client, s, 0, mm, SVA);
	swap_out_pages(mm, 0, 1);
	sync_point_set(&has_read, NULL, NULL);
	explain_begin();
}

/* Return what A holds for a CPU, and expect the same for the device. */
static uint64_t in_swap_end(void)
{
	uint64_t v = cpu_reads(mm, A);

	EXPECT_EQ(device_reads(&client, A), v);
	explain_end();
	client_leave(&client);
	mm_put(mm);
	swap_fixture_end();
	return v;
}

IOMMU_TEST(race, two_that_bring_a_page_back_lose_a_write,
	   "if two threads each read a swapped page into a page of their own, "
	   "what "
	   "one has written is lost (C73, H47)")
{
	in_swap_begin(s);
	go(&t1, 1, "T1", bring_a_copy, NULL);
	sync_point_await(&has_read);
	done_by(0, "T0", store_11, NULL);
	sync_point_release(&has_read);
	join(&t1);
	EXPECT_EQ(in_swap_end(), 10);
}

IOMMU_TEST(race, two_that_bring_a_page_back_meet,
	   "two threads that bring one page back meet in the swap cache: the "
	   "second "
	   "waits for the read of the first, and no write is lost (C73, H47)")
{
	in_swap_begin(s);
	swap_fixture_stop(&has_read, NULL);
	go(&t1, 1, "T1", load_a, NULL);
	sync_point_await(&has_read);
	swap_fixture_stop(NULL, NULL);
	go(&t0, 0, "T0", store_11, NULL);
	still_waits(&t0);
	says("the read of the slot ends");
	sync_point_release(&has_read);
	join(&t1);
	join(&t0);
	EXPECT_EQ(swap_fixture_reads(), 1);
	EXPECT_EQ(in_swap_end(), 11);
}
