/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - a page moves to another frame, or is refused: C70, C71, H45
 */
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/huge.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

TEST(migrate, page_moves,
     "a page moves to another frame with its content, rights, owner and dirty "
     "bit, and its old frame is the caller's (B33, H45)")
{
	struct mm *mm = mm_fixture(1);
	struct page *page, *to = page_alloc();
	uint64_t before;

	REQUIRE(to);
	EXPECT_EQ(wr(mm, VA, 7), 0);
	page = page_at(mm, VA);
	before = entry_at(mm, VA) & ~PTE_ADDR;
	EXPECT_EQ(migrate_page(page, to), 0);
	EXPECT_EQ(entry_at(mm, VA), before | page_pa(to));
	EXPECT_EQ(page_count(page), PAGE_REF);
	EXPECT_EQ(page_kind(page), PAGE_KERNEL);
	EXPECT_EQ(page_count(to), PAGE_MAP + PAGE_REF);
	EXPECT(page_exclusive(to) && page_test(to, PG_DIRTY));
	EXPECT(!page_test(to, PG_MOVING) && !page_test(page, PG_MOVING));
	EXPECT(!page_exclusive(page) && !page_test(page, PG_DIRTY));
	page_zero(page);
	page_put(page);
	page_put(to);
	EXPECT_EQ(rd(mm, VA), 7);
	EXPECT_EQ(wr(mm, VA, 8), 0);
	EXPECT_EQ(rd(mm, VA), 8);
	mm_put(mm);
}

TEST(migrate, unused_page_stays_unused,
     "the accessed bit of an entry is as it was: a page that was not used is "
     "not young after a move")
{
	struct mm *mm = mm_fixture(2);
	struct page *page;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(wr(mm, P(1), 1), 0);
	page = page_at(mm, P(0));
	page_referenced(page);
	page_put(page);
	EXPECT_EQ(migrate_at(mm, P(0)), 0);
	EXPECT_EQ(migrate_at(mm, P(1)), 0);
	EXPECT(!(entry_at(mm, P(0)) & PTE_A));
	EXPECT(entry_at(mm, P(1)) & PTE_A);
	mm_put(mm);
}

TEST(migrate, every_mapping_moves,
     "a page of five address spaces moves in all of them, an evicted entry and "
     "one without access too, and each has its own after a write")
{
	struct mm *mm[5];
	struct page *page;

	mm[0] = mm_fixture(1);
	EXPECT_EQ(wr(mm[0], VA, 11), 0);
	for (unsigned i = 1; i < 5; i++)
		mm[i] = fork_of(mm[i - 1]);
	EXPECT_EQ(mm_protect(mm[3], VA, P(1), 0), 0);
	page = page_at(mm[0], VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(rd(mm[1], VA), 11);
	EXPECT_EQ(migrate_at(mm[1], VA), 0);
	page = page_at(mm[0], VA);
	REQUIRE(page);
	EXPECT_EQ(page_count(page), 5 * PAGE_MAP + PAGE_REF);
	EXPECT_EQ(mappings(page), 5);
	page_put(page);
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(rd(mm[3], VA), BAD);
	EXPECT_EQ(mm_protect(mm[3], VA, P(1), RW), 0);
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_EQ(rd(mm[i], VA), 11);
		EXPECT_EQ(wr(mm[i], VA, i), 0);
	}
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_EQ(rd(mm[i], VA), i);
		mm_put(mm[i]);
	}
}

TEST(migrate, shared_page_moves,
     "an object's page moves, and every address space finds the new frame")
{
	struct object *object = object_create(1);
	struct page *page, *now;
	struct mm *a, *b;

	REQUIRE(object);
	a = mm_fixture_shared(object, 1);
	b = mm_fixture_shared(object, 1);
	object_put(object);
	EXPECT_EQ(wr(a, VA, 5), 0);
	EXPECT_EQ(rd(b, VA), 5);
	page = page_at(a, VA);
	now = page_alloc();
	REQUIRE(page && now);
	EXPECT_EQ(migrate_page(page, now), 0);
	page_zero(page);
	page_put(page);
	EXPECT_EQ(rd(b, VA), 5);
	EXPECT_EQ(wr(b, VA, 6), 0);
	EXPECT_EQ(rd(a, VA), 6);
	EXPECT_EQ(mappings(now), 2);
	EXPECT_EQ(page_count(now), 2 * PAGE_MAP + 2 * PAGE_REF);
	page_put(now);
	EXPECT_STR_NULL(mm_check());
	mm_put(a);
	mm_put(b);
}

TEST(migrate, huge_page_is_split_first,
     "the first frame of a huge page moves alone, after a split")
{
	struct mm *mm = mm_create();
	va_t va = ALIGN_UP(VA, BLOCK_SIZE);
	struct page *head, *to;

	REQUIRE(mm && !mm_map(mm, va, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, va, 3), 0);
	EXPECT_EQ(wr(mm, va + PAGE_SIZE, 4), 0);
	REQUIRE(entry_huge(entry_at(mm, va)));
	head = page_of_pa(entry_at(mm, va) & PTE_ADDR);
	to = page_alloc();
	REQUIRE(to && page_try_get(head));
	EXPECT_EQ(migrate_page(head, to), 0);
	EXPECT_EQ(entry_at(mm, va) & PTE_ADDR, page_pa(to));
	page_put(head);
	page_put(to);
	EXPECT_EQ(rd(mm, va), 3);
	EXPECT_EQ(rd(mm, va + PAGE_SIZE), 4);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(migrate, unmapped_block_is_refused,
     "the first frame of a block of 2 MiB that no entry maps any more does not "
     "move alone")
{
	struct mm *mm = mm_create();
	va_t va = ALIGN_UP(VA, BLOCK_SIZE);
	struct page *head, *to;

	REQUIRE(mm && !mm_map(mm, va, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	EXPECT_EQ(wr(mm, va, 3), 0);
	REQUIRE(entry_huge(entry_at(mm, va)));
	head = page_of_pa(entry_at(mm, va) & PTE_ADDR);
	to = page_alloc();
	REQUIRE(to && page_try_get(head));
	mm_put(mm);
	EXPECT_EQ(migrate_page(head, to), -EBUSY);
	page_put(head);
	page_put(to);
}

/* ---- refused ------------------------------------------------------------ */

/* Expect that the page at P(0) does not move, and that nothing has changed. */
static void refused(struct mm *mm)
{
	struct page *page = page_at(mm, P(0));
	uint64_t entry = entry_at(mm, P(0)), count = page_count(page);
	uint32_t flags = page_flags(page);

	EXPECT_EQ(migrate_at(mm, P(0)), -EBUSY);
	EXPECT_EQ(entry_at(mm, P(0)), entry);
	EXPECT_EQ(page_count(page), count);
	EXPECT_EQ(page_flags(page) & ~PG_DIRTY, flags & ~PG_DIRTY);
	page_put(page);
}

TEST(migrate, used_page_is_refused,
     "a page with another reference, a pin, or in a locked region stays where "
     "it is, mapped as before (C71)")
{
	struct mm *mm = mm_fixture(1), *locked = mm_create(), *child;
	struct page *page;

	EXPECT_EQ(wr(mm, VA, 1), 0);
	refused(mm); /* it has a reference of its own */
	REQUIRE(!pin_pages(mm, VA, 1, PIN_WRITE, &page));
	EXPECT_EQ(migrate_at(mm, VA), -EBUSY);
	EXPECT_EQ(entry_at(mm, VA) & PTE_ADDR, page_pa(page));
	unpin_pages(&page, 1);
	child = fork_of(mm);
	refused(mm);
	refused(child);
	EXPECT_EQ(migrate_at(mm, VA), 0);
	REQUIRE(locked &&
		!mm_map(locked, VA, PAGE_SIZE, RW, MAP_LOCKED, NULL, 0, NULL));
	EXPECT_EQ(wr(locked, VA, 1), 0);
	EXPECT_EQ(migrate_at(locked, VA), -EBUSY);
	mm_put(child);
	mm_put(mm);
	mm_put(locked);
}

TEST(migrate, other_frames_are_refused,
     "the zero page and a frame of the kernel do not move, and a page in the "
     "swap cache is busy")
{
	struct mm *mm = swap_fixture(4, 1);
	struct page *page, *to = page_alloc();

	REQUIRE(to);
	EXPECT_EQ(migrate_page(zero_page, to), -EINVAL);
	page = page_at(mm, P(0));
	swap_fixture_fail(0, 1);
	EXPECT_EQ(swap_out(page), -EIO);
	EXPECT(page_swp(page));
	EXPECT_EQ(migrate_page(page, to), -EBUSY);
	EXPECT_EQ(page_count(to), PAGE_REF);
	page_put(page);
	page_put(to);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_put(mm);
	swap_fixture_end();
}

static struct page *held;

/* Hook: take a reference on the page that moves. */
static void hold(uint64_t page, uint64_t b, void *arg)
{
	held = (struct page *)page;
	page_get(held);
}

TEST(migrate, reference_in_the_middle_refuses,
     "a reference that is taken when no entry maps the page any more refuses "
     "the move: every entry maps it again (C71)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct page *page;

	EXPECT_EQ(wr(mm, VA, 1), 0);
	child = fork_of(mm);
	page = page_at(mm, VA);
	page_put(page);
	hook("migrate_unmapped", hold, NULL);
	EXPECT_EQ(migrate_at(mm, VA), -EBUSY);
	unhook("migrate_unmapped");
	EXPECT(held == page);
	EXPECT_EQ(entry_at(mm, VA) & PTE_ADDR, page_pa(page));
	EXPECT_EQ(entry_at(child, VA) & PTE_ADDR, page_pa(page));
	EXPECT_EQ(page_count(page), 2 * PAGE_MAP + PAGE_REF);
	EXPECT(!page_moving(page));
	page_put(held);
	EXPECT_EQ(wr(child, VA, 2), 0);
	EXPECT_EQ(rd(mm, VA), 1);
	EXPECT_EQ(migrate_at(mm, VA), 0);
	EXPECT_EQ(rd(mm, VA), 1);
	mm_put(child);
	mm_put(mm);
}
