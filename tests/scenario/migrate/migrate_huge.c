/* SPDX-License-Identifier: MIT */
/*
 * migrate_huge.c - a page of 2 MiB moves as a whole: C70, C71, C72
 */
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/moving.h"
#include "mm/frame/pmm.h"
#include "mm/move/migrate_block.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* The block that moves, and where to, with references. */
static struct page *head, *to;
static int result;

static void block_of(struct mm *mm)
{
	head = huge_head(mm);
	to = pages_alloc_bare(BLOCK_ORDER);
	REQUIRE(to && page_try_get(head));
}

static void block_put(void)
{
	EXPECT(!page_moving(head) && !page_moving(to));
	page_put(head);
	page_put(to);
}

static void expect_moved(struct mm *mm, uint64_t entry)
{
	EXPECT_EQ(entry_at(mm, P(0)), (entry & ~PTE_ADDR) | page_pa(to));
	EXPECT(entry_huge(entry_at(mm, P(0))));
}

TEST(migrate_huge, page_moves_whole,
     "a page of 2 MiB moves with content, rights, D and A, stays one entry and "
     "exclusive, and its old frames are a block of the caller's")
{
	struct mm *mm = huge_filled();
	uint64_t splits = huge_splits(), entry = entry_at(mm, P(0));

	block_of(mm);
	EXPECT_EQ(migrate_block(head, to), 0);
	expect_moved(mm, entry);
	EXPECT_EQ(page_count(to), PAGE_MAP + PAGE_REF);
	EXPECT(page_exclusive(to));
	EXPECT_EQ(page_count(head), PAGE_REF);
	EXPECT_EQ(page_kind(head), PAGE_KERNEL);
	EXPECT_EQ(page_order(head), BLOCK_ORDER);
	memset(page_va(head), 0xee, BLOCK_SIZE);
	block_put();
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(wr(mm, P(3), 4), 0);
	EXPECT_EQ(huge_splits(), splits);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	EXPECT_STR_NULL(pmm_check());
}

TEST(migrate_huge, every_entry_moves,
     "a page of 2 MiB that three address spaces share moves in all of them, "
     "also where it has no access, and a later write is seen by none else")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm), *third;
	uint64_t entry[2];

	third = fork_of(child);
	EXPECT_EQ(mm_protect(third, P(0), P(N), 0), 0);
	entry[0] = entry_at(mm, P(0));
	entry[1] = entry_at(child, P(0));
	block_of(mm);
	EXPECT_EQ(migrate_block(head, to), 0);
	expect_moved(mm, entry[0]);
	expect_moved(child, entry[1]);
	EXPECT(!(entry_at(third, P(0)) & PTE_P));
	EXPECT_EQ(page_count(to), 3 * PAGE_MAP + PAGE_REF);
	block_put();
	EXPECT_EQ(mm_protect(third, P(0), P(N), RW), 0);
	EXPECT_EQ(wr(child, P(1), 0), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 2, N), 0);
	EXPECT_EQ(huge_wrong(third, 0, N), 0);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	mm_put(child);
	mm_put(third);
}

/* ---- refused ------------------------------------------------------------- */

static void expect_stays(struct mm *mm)
{
	uint64_t entry = entry_at(mm, P(0));

	EXPECT_EQ(migrate_block(head, to), -EBUSY);
	EXPECT_EQ(entry_at(mm, P(0)), entry);
}

/* Hook: take a reference on the block that moves. */
static void hold(uint64_t page, uint64_t b, void *arg)
{
	page_get((struct page *)page);
}

TEST(migrate_huge, used_block_stays,
     "a block with another reference, or that gets one before or during the "
     "copy, or is moved by another thread keeps its entry; a pinned one is no "
     "whole page (C71)")
{
	static const char *const steps[] = { "migrate_unmapped",
					     "migrate_copied" };
	struct mm *mm = huge_filled();
	struct page *pin;

	block_of(mm);
	page_get(head);
	expect_stays(mm);
	page_put(head);
	REQUIRE(moving_begin(head));
	expect_stays(mm);
	moving_end(head);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		page_put(to);
		to = pages_alloc_bare(BLOCK_ORDER);
		REQUIRE(to);
		hook(steps[i], hold, NULL);
		expect_stays(mm);
		unhook(steps[i]);
		page_put(head);
		EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	}
	page_put(to);
	to = pages_alloc_bare(BLOCK_ORDER);
	REQUIRE(to && !pin_pages(mm, P(1), 1, PIN_WRITE, &pin));
	EXPECT_EQ(migrate_block(head, to), -EINVAL);
	unpin_pages(&pin, 1);
	block_put();
	mm_put(mm);
	EXPECT_STR_NULL(pmm_check());
}

TEST(migrate_huge, shared_or_locked_block_stays,
     "a block that two address spaces share and a third user reads stays in "
     "both, and one in a locked region stays (C71)")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm), *locked;

	block_of(mm);
	page_get(head);
	expect_stays(mm);
	expect_stays(child);
	page_put(head);
	block_put();
	locked = mm_create();
	REQUIRE(locked && !mm_map(locked, VA, BLOCK_SIZE, RW,
				  MAP_HUGE | MAP_LOCKED, NULL, 0, NULL));
	EXPECT_EQ(wr(locked, VA, 1), 0);
	REQUIRE(entry_huge(entry_at(locked, VA)));
	block_of(locked);
	expect_stays(locked);
	block_put();
	mm_put(locked);
	mm_put(child);
	mm_put(mm);
	EXPECT_STR_NULL(mm_check());
}

/* ---- others meanwhile -------------------------------------------------------- */

static void move(void *arg)
{
	result = migrate_block(head, to);
}

static void write_one(void *mm)
{
	EXPECT_EQ(wr(mm, P(7) + 8, 'B'), 0);
}

static void protect_all(void *mm)
{
	EXPECT_EQ(mm_protect(mm, P(0), P(3 * N), PROT_R), 0);
}

/* Let a thread run fn(mm) while the block is on its way: it waits for the end. */
static void expect_wait(struct mm *mm, void (*fn)(void *mm))
{
	struct task mover, other;
	struct sync_point at;

	block_of(mm);
	sync_point_set(&at, "migrate_copied", head);
	spawn(&mover, move, NULL);
	sync_point_await(&at);
	spawn(&other, fn, mm);
	EXPECT(still_waits(&other));
	sync_point_release(&at);
	join(&mover);
	join(&other);
	EXPECT_EQ(result, 0);
	EXPECT_EQ(entry_at(mm, P(0)) & PTE_ADDR, page_pa(to));
	block_put();
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
}

TEST(migrate_huge, fault_and_protect_wait,
     "a write to a block that is copied waits and goes to the new one; so does "
     "a protect, which would give access back (C72)")
{
	struct mm *mm = huge_filled();

	expect_wait(mm, write_one);
	EXPECT_EQ(rd(mm, P(7) + 8), 'B');
	expect_wait(mm, protect_all);
	EXPECT(wr(mm, P(0), 1) != 0);
	mm_put(mm);
}

static void forks(struct mm *mm)
{
	struct mm *child = fork_of(mm);

	EXPECT(!(entry_at(child, P(0)) & PTE_P));
	mm_put(child);
}

static void unmaps(struct mm *mm)
{
	EXPECT_EQ(mm_unmap(mm, P(0), P(3 * N)), 0);
}

static void splits(struct mm *mm)
{
	EXPECT_EQ(mm_discard(mm, P(N - 1), P(N)), 0);
}

static void moves(struct mm *mm)
{
	EXPECT_EQ(mm_remap(mm, P(0), BLOCK_SIZE, P(4 * N), BLOCK_SIZE, NULL),
		  0);
	EXPECT_EQ(mm_remap(mm, P(4 * N), BLOCK_SIZE, P(0), BLOCK_SIZE, NULL),
		  0);
}

TEST(migrate_huge, changes_meet_the_entry,
     "fork, unmap, discard of a part, and move of a block on its way do what "
     "they do to any other; only a split refuses the migration (C71)")
{
	static void (*const changes[])(struct mm * mm) = { forks, moves, splits,
							   unmaps };

	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		struct mm *mm = huge_filled();
		struct sync_point at;
		struct task mover;

		block_of(mm);
		sync_point_set(&at, "migrate_copied", head);
		spawn(&mover, move, NULL);
		sync_point_await(&at);
		changes[i](mm);
		sync_point_release(&at);
		join(&mover);
		EXPECT_EQ(result, changes[i] == splits ? -EBUSY : 0);
		block_put();
		if (changes[i] != unmaps)
			EXPECT_EQ(huge_wrong(mm, 0, N - 1), 0);
		EXPECT_STR_NULL(mm_check());
		mm_put(mm);
		EXPECT_STR_NULL(pmm_check());
	}
}

static struct mm *born;

/* Hook at the end of the hold: the mover has visited all regions. */
static void fork_now(uint64_t a, uint64_t b, void *mm)
{
	born = fork_of(mm);
}

TEST(migrate_huge, fork_after_the_hold,
     "a child that is born when all access is gone has none before the end, "
     "and then the new block")
{
	struct mm *mm = huge_filled();

	block_of(mm);
	hook("migrate_unmapped", fork_now, mm);
	EXPECT_EQ(migrate_block(head, to), 0);
	unhook("migrate_unmapped");
	EXPECT_EQ(page_count(to), 2 * PAGE_MAP + PAGE_REF);
	EXPECT(!page_exclusive(to));
	block_put();
	EXPECT_EQ(wr(mm, P(0), 99), 0);
	EXPECT_EQ(huge_wrong(born, 0, N), 0);
	mm_put(born);
	mm_put(mm);
	EXPECT_STR_NULL(mm_check());
}

/* ---- a device -------------------------------------------------------------- */

#define HUGE_VA ALIGN_UP(VA + BLOCK_SIZE, BLOCK_SIZE)
#define WORD    (HUGE_VA + 5 * PAGE_SIZE + 64)

static struct {
	struct iommu_fixture *s;
	uint64_t version; /* the last that reached memory                    */
	unsigned written, blocked;
} dma;

static void dma_at_step(uint64_t a, uint64_t b, void *arg)
{
	fixture_write(dma.s, 0, WORD, dma.version + 1);
	if (fixture_read(dma.s, 0, WORD) == dma.version + 1) {
		dma.version++;
		dma.written++;
	} else {
		dma.blocked++;
	}
}

USER_TEST(migrate_huge_device, no_write_is_lost,
	  "a device writes a page of 2 MiB at each step of its move: the last "
	  "write that reached memory is found, and none goes to the old frames "
	  "(C70, B43)")
{
	static const char *const steps[] = { "rmap_walk", "pte_protect",
					     "migrate_unmapped",
					     "migrate_copied" };
	struct mm *mm = fixture_mm(s, 1);

	REQUIRE(!mm_map(mm, HUGE_VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	memset(&dma, 0, sizeof(dma));
	dma.s = s;
	EXPECT_EQ(wr(mm, HUGE_VA, 1), 0);
	REQUIRE(entry_huge(entry_at(mm, HUGE_VA)));
	head = entry_page(entry_at(mm, HUGE_VA));
	to = pages_alloc_bare(BLOCK_ORDER);
	REQUIRE(to && page_try_get(head));
	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_store(s, 0, WORD, ++dma.version), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		hook(steps[i], dma_at_step, NULL);
	EXPECT_EQ(migrate_block(head, to), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		unhook(steps[i]);
	EXPECT(dma.written > 0 && dma.blocked > 0);
	EXPECT(entry_huge(entry_at(mm, HUGE_VA)));
	memset(page_va(head), 0, BLOCK_SIZE);
	EXPECT_EQ(rd(mm, WORD), dma.version);
	EXPECT_EQ(fixture_store(s, 0, WORD, 77), 0);
	EXPECT_EQ(rd(mm, WORD), 77);
	for (uint64_t i = 0; i < BLOCK_SIZE / 8; i++)
		REQUIRE(!((uint64_t *)page_va(head))[i]);
	block_put();
}
