/* SPDX-License-Identifier: MIT */
/*
 * move.c - a page moves to another frame: experiments 21, 33
 *
 * The content is copied when no MMU can write to it any more.  A device whose
 * entries were flushed too early writes to the frame that is no longer the page.
 */
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/rmap/migrate.h"
#include "mm/space/replace.h"
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

/* ---- 33: an entry is set before the old one is gone ------------------------ */

/* Make A's entry name the frame, and clear and flush nothing first. */
static void set_at_once(struct page *frame)
{
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, A, 0, false);
	pte_write(slot, (pte_read(slot) & ~PTE_ADDR) | page_pa(frame));
	spin_unlock(&mm->pt_lock);
}

static void set_first(void *unused)
{
	page_copy(to, page);
	says("page 1 is copied to page 2");
	set_at_once(to);
	says("PTE A is page 2, and was not cleared");
}

static void clear_first(void *unused)
{
	page_copy(to, page);
	says("page 1 is copied to page 2");
	error = mm_replace_page(mm, A, page, to);
}

static void flush_a(void *unused)
{
	spin_lock(&mm->pt_lock);
	tlb_flush_range(mm, A, B);
	spin_unlock(&mm->pt_lock);
}

/* T0 puts page 2 in the place of page 1; the process then writes 12.  Returns what the
 * device, which has page 1 cached, reads. */
static uint64_t read_after(struct iommu_fixture *s, void (*change)(void *arg))
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	mm = process(1, "P");
	page = name_page(mm, A, "page 1");
	page_get(page);
	to = page_alloc();
	REQUIRE(to);
	error = 0;
	explain_name(EXPLAIN_FRAME, page_pa(to), "page 2");
	client_join(&client, s, 0, mm, &only_range);
	explain_begin();
	device_writes(&client, A, 11);
	done_by(0, "T0", change, NULL);
	EXPECT_EQ(error, 0);
	cpu_writes(mm, A, 12);
	v = device_reads(&client, A);
	if (change == set_first)
		done_by(0, "T0", flush_a, NULL);
	EXPECT_EQ(device_reads(&client, A), 12);
	explain_end();
	if (change == set_first) {
		set_at_once(page); /* whose counts the entry has */
		flush_a(NULL);
	}
	client_leave(&client);
	mm_put(mm);
	page_put(page);
	page_put(to);
	return v;
}

IOMMU_TEST(
	race, entry_set_before_the_clear,
	"if an entry is set to a new frame before the old one was cleared and "
	"flushed, a device reads the old frame after the process has written "
	"the "
	"new one (B9)")
{
	EXPECT_EQ(read_after(s, set_first), 11);
}

IOMMU_TEST(
	race, entry_set_after_the_clear,
	"with clear, flush and set in this order no MMU has the old frame when "
	"another has the new one (B9)")
{
	EXPECT_EQ(read_after(s, clear_first), 12);
}
