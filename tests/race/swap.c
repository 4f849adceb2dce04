/* SPDX-License-Identifier: MIT */
/*
 * swap.c - a page is written to a swap store: experiment 26
 *
 * What is stored is the page only if no MMU can write to its frame any more.  A device
 * whose entries were flushed too early writes to a frame that is free.
 */
#include "mm/frame/pmm.h"
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
