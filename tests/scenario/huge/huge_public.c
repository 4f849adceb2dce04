/* SPDX-License-Identifier: MIT */
/*
 * huge_public.c - bugs of other kernels' huge pages, each by its meaning (mm/huge/HUGE.md)
 */
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "mm/huge/collapse.h"
#include "mm/rmap/rmap.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* ---- a reference that comes while a block is split ---------------------------- */

static struct {
	struct page *head;
	struct anon_vma *owner; /* of all parts                            */
	uint64_t index;         /* of the head                             */
	bool late, identity;
} found;

/* Remember what heads the block of mm. */
static void remember(struct mm *mm)
{
	found.head = huge_head(mm);
	found.owner = found.head->mapping.anon_vma;
	found.index = found.head->index;
}

static bool is_part(struct page *page, unsigned i)
{
	return page_kind(page) == PAGE_ANON &&
	       page->mapping.anon_vma == found.owner &&
	       page->index == found.index + i;
}

/* All frames are pages of their own: one that is found by its number is whole. */
static void take_late(uint64_t head, uint64_t pa, void *unused)
{
	struct page *page = found.head + 9;

	if ((struct page *)head != found.head)
		return;
	found.late = page_try_get_user(page);
	found.identity = found.late && is_part(page, 9);
}

TEST(huge_public, reference_meets_a_split,
     "a frame of a block that is found by its number while the block is split "
     "gives no reference before it is a page of its own, and has its owner and "
     "number then; the reference keeps the frame over the unmap")
{
	struct mm *mm = huge_filled();

	remember(mm);
	EXPECT(!page_try_get_user(found.head + 9));
	hook("block_split", take_late, NULL);
	huge_split_at(mm, P(1));
	unhook("block_split");
	EXPECT(found.late && found.identity);
	EXPECT_EQ(page_count(found.head + 9), PAGE_MAP + PAGE_REF);
	EXPECT_EQ(mm_collapse(mm, P(0)), -EBUSY);
	EXPECT_EQ(mm_unmap(mm, P(9), P(10)), 0);
	EXPECT_EQ(*(uint64_t *)page_va(found.head + 9), 10);
	page_put(found.head + 9);
	EXPECT_EQ(huge_wrong(mm, 0, 9) + huge_wrong(mm, 10, N), 0);
	mm_put(mm);
}

#define ROUNDS 60u

static struct {
	struct mm *mm;
	_Atomic bool stop;
	_Atomic unsigned taken, wrong;
} race;

/* Take a reference on each frame, by its number, again and again. */
static void take_all(void *unused)
{
	while (!atomic_load(&race.stop)) {
		for (unsigned i = 0; i < N; i++) {
			struct page *page = found.head + i;

			if (!page_try_get_user(page))
				continue;
			atomic_fetch_add(&race.taken, 1);
			if (!is_part(page, i))
				atomic_fetch_add(&race.wrong, 1);
			page_put(page);
		}
		yield();
	}
}

TEST_SMP(huge_public, references_beside_splits_and_joins,
	 "a CPU takes references on the frames of a block by their numbers "
	 "while another splits and joins it: each is on a page with its owner "
	 "and number, and no page is lost",
	 2)
{
	struct task t;

	race.mm = huge_filled();
	remember(race.mm);
	atomic_store(&race.stop, false);
	atomic_store(&race.taken, 0);
	atomic_store(&race.wrong, 0);
	spawn(&t, take_all, NULL);
	for (unsigned i = 0; i < ROUNDS && huge_head(race.mm) == found.head;
	     i++) {
		unsigned had = atomic_load(&race.taken);
		int ret;

		huge_split_at(race.mm, P(1));
		while (atomic_load(&race.taken) < had + 8)
			yield();
		ret = mm_collapse(race.mm, P(0));
		EXPECT(ret == 0 || ret == -EBUSY);
	}
	atomic_store(&race.stop, true);
	join(&t);
	EXPECT_EQ(atomic_load(&race.wrong), 0);
	EXPECT_EQ(huge_wrong(race.mm, 0, N), 0);
	mm_put(race.mm);
}

/* ---- parts that nobody references ----------------------------------------------- */

TEST(huge_public, unreferenced_parts_are_free,
     "the frames of a split block that lose their last mapping are free at "
     "once: not found by number, and allocated again, while one stays a page")
{
	struct mm *mm = huge_filled();
	struct page *head = huge_head(mm);
	uint64_t before = free_now();
	unsigned alive = 0;

	EXPECT_EQ(mm_unmap(mm, P(0), P(300)), 0);
	EXPECT_EQ(mm_unmap(mm, P(301), P(N)), 0);
	EXPECT_EQ(free_now(), before + N - 1);
	for (unsigned i = 0; i < N; i++) {
		if (page_is_free(head + i))
			continue;
		alive++;
		EXPECT_EQ(i, 300);
	}
	EXPECT_EQ(alive, 1);
	EXPECT_EQ(page_count(head + 300), PAGE_MAP);
	EXPECT_EQ(rd(mm, P(300)), 301);
	mm_put(mm);
}

/* ---- a move beside a collapse --------------------------------------------------- */

#define AWAY (VA + (UINT64_C(1) << 32))

static void collapse_both(void *unused)
{
	while (!atomic_load(&race.stop)) {
		int here = mm_collapse(race.mm, VA);
		int there = mm_collapse(race.mm, AWAY);

		if (!here || !there)
			atomic_fetch_add(&race.taken, 1);
		yield();
	}
}

static void move(va_t from, va_t to)
{
	EXPECT_EQ(mm_remap(race.mm, from, BLOCK_SIZE, to, BLOCK_SIZE, NULL), 0);
}

TEST_SMP(huge_public, move_beside_a_collapse,
	 "2 MiB are moved to and fro, by one entry or a table, while another "
	 "CPU collapses them at both addresses: no page is lost "
	 "(CVE-2024-50066)",
	 2)
{
	struct task t;

	race.mm = mm_create();
	REQUIRE(race.mm);
	REQUIRE(!mm_map(race.mm, VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	for (unsigned i = 0; i < N; i++)
		REQUIRE(!wr(race.mm, P(i), i + 1));
	atomic_store(&race.stop, false);
	atomic_store(&race.taken, 0);
	spawn(&t, collapse_both, NULL);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned had = atomic_load(&race.taken);

		huge_split_at(race.mm, P(1));
		move(VA, AWAY);
		huge_split_at(race.mm, AWAY + PAGE_SIZE);
		while (atomic_load(&race.taken) == had)
			yield();
		move(AWAY, VA);
	}
	atomic_store(&race.stop, true);
	join(&t);
	EXPECT_EQ(huge_wrong(race.mm, 0, N), 0);
	EXPECT_EQ(rd(race.mm, AWAY), BAD);
	mm_put(race.mm);
}
