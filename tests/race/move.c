/* SPDX-License-Identifier: MIT */
/*
 * move.c - a page moves to another frame: experiment 14
 *
 * The content is copied when no MMU can write to it any more.  A device whose
 * entries were flushed too early writes to the frame that is no longer the page.
 */
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client;
static struct mm *mm;
static struct page *page, *to; /* the frame of A, before and after           */
static struct task t0;
static int error;

static void move(void *unused)
{
	mm_bind(mm);
	error = migrate_page(page, to);
}

static void device_caches(uint64_t of, uint64_t va, void *unused)
{
	device_reads(&client, A);
}

static void copied(uint64_t from, uint64_t into, void *unused)
{
	says("page 1 is copied to page 2");
}

/* Move A.  The device has it cached, reads it when the invalidation has begun, and
 * writes to it afterwards.  Returns what the process then reads. */
static uint64_t moved(struct iommu_fixture *s,
		      const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	to = page_alloc();
	REQUIRE(to);
	explain_name(EXPLAIN_FRAME, page_pa(to), "page 2");
	page_get(page);
	client_join(&client, s, 0, mm, ops);
	explain_begin();
	device_writes(&client, A, 11);
	hook("range_started", device_caches, NULL);
	hook("migrate_copied", copied, NULL);
	go(&t0, 0, "T0", move, NULL);
	join(&t0);
	unhook("migrate_copied");
	unhook("range_started");
	EXPECT_EQ(error, 0);
	device_writes(&client, A, 66);
	v = cpu_reads(mm, A);
	explain_end();
	client_leave(&client);
	/* Not freed before the client has left: it may write to it. */
	EXPECT_EQ(fixture_word(page), v == 66 ? 11 : 66);
	page_put(page);
	page_put(to);
	mm_put(mm);
	return v;
}

IOMMU_TEST(race, moved_page_loses_a_write,
	   "with a flush only in start a device writes to the frame from which "
	   "a page has moved, and the process never reads it")
{
	EXPECT_EQ(moved(s, &only_start), 11);
}

IOMMU_TEST(
	race, moved_page_keeps_every_write,
	"with a flush in invalidate_range no translation is left when a page "
	"is copied, and the device writes to its new frame")
{
	EXPECT_EQ(moved(s, SVA), 66);
}
