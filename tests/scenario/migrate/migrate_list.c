/* SPDX-License-Identifier: MIT */
/*
 * migrate_list.c - a list of pages moves with one flush: C70, C71, C72
 */
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/move/migrate_pages.h"
#include "mm/notifier/flush.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define PAGES (MOVE_BATCH + 8)

static struct page_move list[PAGES];

/* Put the page at va into the list, with a new frame; returns it. */
static struct page_move *list_at(unsigned i, struct mm *mm, va_t va)
{
	list[i] = (struct page_move){ .page = page_at(mm, va),
				      .to = page_alloc(),
				      .ret = 1 };
	REQUIRE(list[i].page && list[i].to);
	return &list[i];
}

/* Put the references of n pages, after the old frames of those that moved were
 * overwritten. */
static void list_put(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		EXPECT(!page_moving(list[i].page) && !page_moving(list[i].to));
		if (!list[i].ret)
			page_zero(list[i].page);
		page_put(list[i].page);
		page_put(list[i].to);
	}
}

static void list_of(struct mm *mm, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		list_at(i, mm, P(i));
}

TEST(migrate_list, pages_move_with_one_flush,
     "a list of pages moves with their content, D and A, and each batch of "
     "them has one flush")
{
	struct mm *mm = mm_fixture(PAGES);
	uint64_t flushes, entry[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	list_of(mm, PAGES);
	page_referenced(list[7].page);
	for (unsigned i = 0; i < PAGES; i++)
		entry[i] = entry_at(mm, P(i)) & ~PTE_ADDR;
	EXPECT(!(entry[7] & PTE_A) && (entry[8] & PTE_A));
	mm_bind(mm);
	flushes = tlb_flush_count();
	EXPECT_EQ(migrate_pages(list, PAGES), PAGES);
	EXPECT_EQ(tlb_flush_count() - flushes, 2);
	mm_bind(NULL);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(list[i].ret, 0);
		EXPECT_EQ(entry_at(mm, P(i)), entry[i] | page_pa(list[i].to));
		EXPECT_EQ(page_count(list[i].to), PAGE_MAP + PAGE_REF);
		EXPECT_EQ(page_count(list[i].page), PAGE_REF);
		EXPECT_EQ(page_kind(list[i].page), PAGE_KERNEL);
		EXPECT(page_test(list[i].to, PG_DIRTY));
	}
	list_put(PAGES);
	EXPECT_STR_NULL(mm_check());
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
}

TEST(migrate_list, owners_are_mixed,
     "private, shared, merged and evicted pages, and pages of a huge entry, of "
     "several address spaces and far apart, move in one list")
{
	struct object *object = object_create(4);
	struct mm *mm = mm_fixture(2 * N), *child, *a, *b, *huge, *ksm;
	struct page *page;

	REQUIRE(object);
	a = mm_fixture_shared(object, 4);
	b = mm_fixture_shared(object, 4);
	object_put(object);
	huge = huge_filled();
	ksm = ksm_equal(2, 'E');
	ksm_scans(2);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
		EXPECT_EQ(wr(a, P(i), i + 10), 0);
		EXPECT_EQ(rd(b, P(i)), i + 10);
	}
	EXPECT_EQ(wr(mm, P(2 * N - 1), 4), 0);
	child = fork_of(mm);
	page = page_at(mm, P(1));
	list_at(0, mm, P(1));
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(rd(child, P(1)), 2);
	list_at(1, mm, P(0));
	list_at(2, mm, P(2 * N - 1));
	list_at(3, a, P(2));
	list_at(4, b, P(0));
	list_at(5, ksm, P(0));
	page = huge_head(huge);
	EXPECT_EQ(mm_discard(huge, P(1), P(2)), 0); /* splits it */
	list_at(6, huge, P(0));
	list_at(7, huge, P(N - 1));
	EXPECT_EQ(migrate_pages(list, 8), 8);
	EXPECT_EQ(page_count(list[0].to), 2 * PAGE_MAP + PAGE_REF);
	EXPECT_EQ(page_count(list[4].to), 2 * PAGE_REF);
	list_put(8);
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(rd(mm, P(2 * N - 1)), 4);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(rd(mm, P(i)), i + 1);
		EXPECT_EQ(wr(child, P(i), 0), 0);
		EXPECT_EQ(rd(mm, P(i)), i + 1);
		EXPECT_EQ(rd(b, P(i)), i + 10);
	}
	EXPECT_EQ(rd(huge, P(0)), 1);
	EXPECT_EQ(rd(huge, P(N - 1)), N);
	EXPECT_EQ(rd(ksm, P(1)), 'E');
	mm_put(mm);
	mm_put(child);
	mm_put(a);
	mm_put(b);
	mm_put(huge);
	mm_put(ksm);
}

TEST(migrate_list, frame_of_a_huge_entry_moves,
     "a frame that another address space still maps by a huge entry moves: "
     "that "
     "entry is split")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);

	EXPECT_EQ(wr(child, P(3), 77), 0); /* its entry is split */
	REQUIRE(entry_huge(entry_at(mm, P(0))));
	list_at(0, child, P(4));
	list_at(1, child, P(5));
	EXPECT_EQ(migrate_pages(list, 2), 2);
	EXPECT(!entry_huge(entry_at(mm, P(0))));
	list_put(2);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 4, N), 0);
	mm_put(child);
	mm_put(mm);
	EXPECT_STR_NULL(mm_check());
}

/* ---- refused ------------------------------------------------------------- */

static struct page *held;

/* Hook: take a reference on the page that moves, if it is the chosen one. */
static void hold(uint64_t page, uint64_t to, void *arg)
{
	if (page != (uint64_t)arg || held)
		return;
	held = (struct page *)page;
	page_get(held);
}

TEST(migrate_list, some_stay,
     "of a list the pages with a pin, another reference, in a locked region, "
     "or with a reference taken after the flush stay as they were, and the "
     "others move (C71)")
{
	struct mm *mm = mm_fixture(8), *locked = mm_create();
	uint64_t entry[8];
	struct page *pin;

	REQUIRE(locked &&
		!mm_map(locked, VA, PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	EXPECT_EQ(wr(locked, P(0), 9), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	REQUIRE(!pin_pages(mm, P(1), 1, PIN_WRITE, &pin));
	list_of(mm, 8);
	page_get(list[3].page);
	for (unsigned i = 0; i < 8; i++)
		entry[i] = entry_at(mm, P(i));
	list_at(8, locked, P(0));
	held = NULL;
	hook("migrate_unmapped", hold, list[5].page);
	EXPECT_EQ(migrate_pages(list, 9), 5);
	unhook("migrate_unmapped");
	EXPECT(held == list[5].page);
	for (unsigned i = 0; i < 8; i++) {
		bool stays = i == 1 || i == 3 || i == 5;

		EXPECT_EQ(list[i].ret, stays ? -EBUSY : 0);
		EXPECT_EQ(entry_at(mm, P(i)),
			  stays ? entry[i]
				: (entry[i] & ~PTE_ADDR) | page_pa(list[i].to));
		if (stays)
			EXPECT_EQ(page_count(list[i].to), PAGE_REF);
	}
	EXPECT_EQ(list[8].ret, -EBUSY);
	page_put(list[3].page);
	page_put(held);
	unpin_pages(&pin, 1);
	list_put(9);
	EXPECT_STR_NULL(mm_check());
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_EQ(rd(locked, P(0)), 9);
	mm_put(locked);
	mm_put(mm);
}

static void write_last(void *mm)
{
	EXPECT_EQ(wr(mm, P(3) + 8, 'B'), 0);
}

static void list_move(void *arg)
{
	EXPECT_EQ(migrate_pages(list, 4), 4);
}

TEST(migrate_list, fault_waits_for_the_list,
     "a write to the last page of a list, when the first one is copied, waits, "
     "and goes to the new frame; a second list does not take the page (C72)")
{
	struct mm *mm = mm_fixture(4);
	struct page_move again;
	struct sync_point at;
	struct task mover, writer;

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(wr(mm, P(i), 'A'), 0);
	list_of(mm, 4);
	sync_point_set(&at, "migrate_copied", list[0].page);
	spawn(&mover, list_move, NULL);
	sync_point_await(&at);
	spawn(&writer, write_last, mm);
	EXPECT(still_waits(&writer));
	again = (struct page_move){ list[3].page, page_alloc(), 0 };
	REQUIRE(again.to);
	EXPECT_EQ(migrate_pages(&again, 1), 0);
	EXPECT_EQ(again.ret, -EBUSY);
	page_put(again.to);
	sync_point_release(&at);
	join(&mover);
	join(&writer);
	list_put(4);
	EXPECT_EQ(rd(mm, P(3)), 'A');
	EXPECT_EQ(rd(mm, P(3) + 8), 'B');
	mm_put(mm);
}

/* ---- a device -------------------------------------------------------------- */

#define DMA_PAGES 6

static struct {
	struct iommu_fixture *s;
	unsigned hits, written, blocked;
	uint64_t version[DMA_PAGES]; /* the last that reached page i         */
} dma;

static va_t word(unsigned i)
{
	return P(i) + 64;
}

/* Hook: let the device write a page; it counts if the device reads it back. */
static void dma_at_step(uint64_t a, uint64_t b, void *arg)
{
	unsigned i = dma.hits++ % DMA_PAGES;

	fixture_write(dma.s, 0, word(i), dma.version[i] + 1);
	if (fixture_read(dma.s, 0, word(i)) != dma.version[i] + 1) {
		dma.blocked++;
		return;
	}
	dma.version[i]++;
	dma.written++;
}

USER_TEST(migrate_list_device, no_write_is_lost,
	  "a device writes the pages of a list at each step: the last write "
	  "that reached memory is found, and none goes to an old frame (C70)")
{
	static const char *const steps[] = { "rmap_walk", "pte_clear",
					     "pte_set", "migrate_unmapped",
					     "migrate_copied" };
	struct mm *mm = fixture_mm(s, DMA_PAGES);

	memset(&dma, 0, sizeof(dma));
	dma.s = s;
	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	for (unsigned i = 0; i < DMA_PAGES; i++)
		EXPECT_EQ(fixture_store(s, 0, word(i), ++dma.version[i]), 0);
	list_of(mm, DMA_PAGES);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		hook(steps[i], dma_at_step, NULL);
	EXPECT_EQ(migrate_pages(list, DMA_PAGES), DMA_PAGES);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		unhook(steps[i]);
	EXPECT(dma.written > 0 && dma.blocked > 0);
	for (unsigned i = 0; i < DMA_PAGES; i++) {
		page_zero(list[i].page);
		EXPECT_EQ(rd(mm, word(i)), dma.version[i]);
		EXPECT_EQ(fixture_store(s, 0, word(i), 77), 0);
		EXPECT_EQ(rd(mm, word(i)), 77);
		EXPECT_EQ(READ_ONCE(*(uint64_t *)(page_va(list[i].page) + 64)),
			  0);
	}
	list_put(DMA_PAGES);
}
