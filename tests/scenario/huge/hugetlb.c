/* SPDX-License-Identifier: MIT */
/*
 * hugetlb.c - regions of the fixed pool (mm/frame/huge_pool.h, mm/huge/hugetlb.h)
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/frame/huge_pool.h"
#include "mm/frame/pmm.h"
#include "mm/hmm/migrate_vma.h"
#include "mm/huge/collapse.h"
#include "mm/ksm/ksm.h"
#include "mm/reclaim/compact.h"
#include "mm/reclaim/lazy.h"
#include "mm/rmap/migrate.h"
#include "mm/rmap/rmap.h"
#include "mm/space/pin.h"
#include "mm/space/replace.h"
#include "mm/reclaim/reclaim.h"
#include "mm/swap/swap.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/huge_fixture.h"

#define POOL 3u

static unsigned at_boot; /* blocks, by the word hugepages= */

/* Let the pool have n blocks, or skip the test. */
static void pool(unsigned n)
{
	at_boot = huge_pool_stat().total;
	if (at_boot)
		test_skip("needs a boot without hugepages=");
	if (huge_pool_resize(n) == n)
		return;
	huge_pool_resize(at_boot);
	test_skip("needs memory in blocks of 2 MiB");
}

/* What a test ends with: all blocks are free. */
static void pool_end(unsigned n)
{
	EXPECT_EQ(huge_pool_stat().total, n);
	EXPECT_EQ(huge_pool_stat().free, n);
	EXPECT_EQ(huge_pool_resize(at_boot), at_boot);
}

static unsigned pool_free(void)
{
	return huge_pool_stat().free;
}

static int map_n(struct mm *mm, va_t va, unsigned n)
{
	return mm_map(mm, va, n * BLOCK_SIZE, RW, MAP_HUGETLB, NULL, 0, NULL);
}

/* An mm with n blocks of the pool at VA, i + 1 in page i. */
static struct mm *pooled(unsigned n)
{
	struct mm *mm = mm_create();

	REQUIRE(mm && !map_n(mm, VA, n));
	mm_bind(mm);
	for (unsigned i = 0; i < n * N; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	return mm;
}

TEST(hugetlb, mapped_blocks_stay_in_the_pool,
     "a pool that is made smaller keeps the blocks that are mapped")
{
	struct mm *mm;

	pool(2);
	mm = pooled(2);
	EXPECT_EQ(huge_pool_resize(0), 2);
	EXPECT_EQ(mm_unmap(mm, Q(0), R(0)), 0);
	EXPECT_EQ(huge_pool_resize(0), 1);
	mm_put(mm);
	pool_end(1);
}

TEST(hugetlb, pool_grows_and_shrinks,
     "the pool takes whole blocks from free memory, gives free ones back, and "
     "leaves memory for all else: one that is larger than memory has fewer "
     "than were asked for")
{
	uint64_t before;
	unsigned most;

	pool(POOL); /* or skip */
	huge_pool_resize(0);
	before = free_now();
	EXPECT_EQ(huge_pool_resize(POOL), POOL);
	EXPECT_EQ(before - pmm_free_pages(), POOL * N);
	EXPECT_EQ(huge_pool_resize(1), 1);
	EXPECT_EQ(before - pmm_free_pages(), N);
	most = huge_pool_resize(1000000);
	EXPECT(most < 1000000);
	EXPECT(pmm_free_pages() >= HUGE_POOL_LEAVES);
	EXPECT_EQ(pool_free(), most);
	EXPECT_EQ(huge_pool_resize(0), 0);
	EXPECT_EQ(pmm_free_pages(), before);
	pool_end(0);
}

TEST(hugetlb, map_takes_all_blocks,
     "a region has all its entries when it is mapped: zeroes, by one entry of "
     "2 MiB each, writable without a fault; unmapped they are free again")
{
	struct mm *mm;
	uint64_t e;

	pool(POOL);
	mm = mm_create();
	REQUIRE(mm && !map_n(mm, VA, 2));
	EXPECT_EQ(pool_free(), POOL - 2);
	e = entry_at(mm, Q(0));
	EXPECT(entry_huge(e) && (e & PTE_W));
	EXPECT_EQ(page_kind(entry_page(e)), PAGE_HUGETLB);
	EXPECT_EQ(page_count(entry_page(e)), PAGE_MAP);
	EXPECT_EQ(mm->mapped, 0);
	for (unsigned i = 0; i < 2 * N; i++)
		EXPECT_EQ(rd(mm, P(i)), 0);
	EXPECT_EQ(wr(mm, Q(511), 5), 0);
	EXPECT_EQ(mm_unmap(mm, VA, R(0)), 0);
	EXPECT_EQ(pool_free(), POOL);
	REQUIRE(!map_n(mm, VA, POOL));
	for (unsigned i = 0; i < POOL * N; i++)
		EXPECT_EQ(rd(mm, P(i)), 0); /* cleared again */
	mm_put(mm);
	pool_end(POOL);
}

TEST(hugetlb, short_pool_fails_at_map_time,
     "a map for which the pool has too few free blocks fails, and takes none; "
     "what is mapped needs no memory afterwards, not of a CPU's access")
{
	struct mm *mm;

	pool(POOL);
	mm = mm_create();
	REQUIRE(mm);
	EXPECT_EQ(map_n(mm, VA, POOL + 1), -ENOMEM);
	EXPECT_EQ(pool_free(), POOL);
	EXPECT_EQ(map_n(mm, VA, 2), 0);
	EXPECT_EQ(map_n(mm, R(0), 2), -ENOMEM);
	EXPECT_EQ(rd(mm, R(0)), BAD);
	EXPECT_EQ(map_n(mm, R(0), 1), 0);
	inject_arm(1);
	for (unsigned i = 0; i < POOL * N; i += 64)
		EXPECT_EQ(wr(mm, P(i), i), 0);
	EXPECT(!inject_disarm());
	mm_put(mm);
	pool_end(POOL);
}

TEST(hugetlb, no_memory_for_tables,
     "a map or a fork whose n-th allocation fails changes nothing and keeps no "
     "block")
{
	pool(POOL);
	for (unsigned n = 1, failed = 1; failed && n < 20; n++) {
		struct mm *mm = mm_create();
		int ret;

		inject_arm(n);
		ret = map_n(mm, VA + (n << 30), 2);
		failed = inject_disarm();
		EXPECT_EQ(ret, failed ? -ENOMEM : 0);
		EXPECT_EQ(pool_free(), failed ? POOL : POOL - 2);
		mm_put(mm);
	}
	for (unsigned n = 1, failed = 1; failed && n < 30; n++) {
		struct mm *mm = pooled(1), *child = NULL;
		int ret;

		inject_arm(n);
		ret = mm_fork(mm, &child);
		failed = inject_disarm();
		EXPECT_EQ(ret, failed ? -ENOMEM : 0);
		EXPECT_EQ(huge_wrong(mm, 0, N), 0);
		EXPECT_EQ(pool_free(), failed ? POOL - 1 : POOL - 2);
		if (!failed)
			mm_put(child);
		mm_put(mm);
	}
	pool_end(POOL);
}

TEST(hugetlb, bad_maps_are_refused,
     "a map that is not aligned to 2 MiB, has an object, replaces, or also "
     "wants pages of its own is refused; without an address it gets an aligned "
     "one")
{
	struct object *o;
	struct mm *mm;
	va_t va;

	pool(POOL);
	o = object_create(N);
	mm = mm_create();
	REQUIRE(o && mm);
	EXPECT_EQ(map_n(mm, P(1), 1), -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, BLOCK_SIZE + PAGE_SIZE, RW, MAP_HUGETLB, NULL,
			 0, NULL),
		  -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGETLB, o, 0, NULL),
		  -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGETLB | MAP_REPLACE,
			 NULL, 0, NULL),
		  -EINVAL);
	EXPECT_EQ(mm_map(mm, VA, BLOCK_SIZE, RW, MAP_HUGETLB | MAP_HUGE, NULL,
			 0, NULL),
		  -EINVAL);
	EXPECT_EQ(pool_free(), POOL);
	EXPECT_EQ(map_n(mm, VA, 1), 0);
	EXPECT_EQ(map_n(mm, VA, 1), -EEXIST);
	EXPECT_EQ(mm_map(mm, 0, BLOCK_SIZE, RW, MAP_HUGETLB, NULL, 0, &va), 0);
	EXPECT(IS_ALIGNED(va, BLOCK_SIZE) && va != VA);
	EXPECT_EQ(wr(mm, va, 1), 0);
	mm_put(mm);
	object_put(o);
	pool_end(POOL);
}

TEST(hugetlb, cut_only_at_blocks,
     "unmap, protect and replace of a part work at multiples of 2 MiB; "
     "elsewhere, and for a discard and a move, they are refused, and change "
     "nothing")
{
	struct mm *mm;

	pool(POOL);
	mm = pooled(POOL);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), -EINVAL);
	EXPECT_EQ(mm_unmap(mm, P(1), Q(0)), -EINVAL);
	EXPECT_EQ(mm_unmap(mm, Q(0), R(1)), -EINVAL);
	EXPECT_EQ(mm_protect(mm, P(3), P(4), PROT_R), -EINVAL);
	EXPECT_EQ(mm_advise_huge(mm, P(3), P(4), true), -EINVAL);
	EXPECT_EQ(mm_map(mm, P(3), PAGE_SIZE, RW, MAP_REPLACE, NULL, 0, NULL),
		  -EINVAL);
	EXPECT_EQ(mm_discard(mm, P(0), Q(0)), -EINVAL);
	EXPECT_EQ(mm_remap(mm, P(0), BLOCK_SIZE, P(8 * N), BLOCK_SIZE, NULL),
		  -EINVAL);
	EXPECT_EQ(huge_wrong(mm, 0, POOL * N), 0);
	EXPECT_EQ(mm_protect(mm, Q(0), R(0), PROT_R), 0);
	EXPECT_EQ(wr(mm, Q(9), 1), -EFAULT);
	EXPECT_EQ(mm_protect(mm, Q(0), R(0), RW), 0);
	EXPECT_EQ(wr(mm, Q(9), N + 10), 0);
	EXPECT_EQ(mm_unmap(mm, Q(0), R(0)), 0);
	EXPECT_EQ(pool_free(), 1);
	EXPECT_EQ(huge_wrong(mm, 0, N) + huge_wrong(mm, 2 * N, 3 * N), 0);
	EXPECT_EQ(rd(mm, Q(9)), BAD);
	mm_put(mm);
	pool_end(POOL);
}

TEST(hugetlb, fork_copies,
     "a child has blocks of its own with the parent's content, so that neither "
     "needs one at a write; with too few free blocks the fork fails")
{
	struct mm *mm, *child, *other;

	pool(POOL);
	mm = pooled(1);
	REQUIRE(!mm_fork(mm, &child));
	EXPECT_EQ(pool_free(), POOL - 2);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	EXPECT(huge_head(child) != huge_head(mm));
	EXPECT(entry_at(child, VA) & PTE_W);
	EXPECT_EQ(wr(child, P(5), 77), 0);
	EXPECT_EQ(wr(mm, P(6), 78), 0);
	EXPECT_EQ(rd(mm, P(5)), 6);
	EXPECT_EQ(rd(child, P(6)), 7);
	REQUIRE(!map_n(mm, Q(0), 1));
	EXPECT_EQ(mm_fork(mm, &other), -ENOMEM);
	EXPECT_EQ(pool_free(), 0);
	mm_put(child);
	EXPECT_EQ(mm_fork(mm, &other), -ENOMEM); /* two are needed */
	EXPECT_EQ(pool_free(), 1);
	EXPECT_EQ(rd(mm, P(5)), 6);
	mm_put(mm);
	pool_end(POOL);
}

TEST(hugetlb, nothing_takes_a_part,
     "a block is not pinned, swapped out, evicted, moved, merged, collapsed "
     "or given to a device, and an out-of-memory reaper leaves it")
{
	struct page *page, *head;
	struct mm *mm;

	pool(POOL);
	mm = pooled(1);
	head = huge_head(mm);
	EXPECT_EQ(pin_pages(mm, P(3), 1, PIN_WRITE, &page), -EINVAL);
	EXPECT_EQ(pin_pages(mm, P(3), 1, 0, &page), -EINVAL);
	EXPECT(!page_try_get_user(head));
	EXPECT(!page_try_get_user(head + 9));
	EXPECT_EQ(block_evacuate(pfn_of(head), &page), -EBUSY);
	EXPECT_EQ(mm_free_lazily(mm, P(0), P(3)), 0);
	page = page_alloc();
	REQUIRE(page);
	EXPECT_EQ(mm_replace_page(mm, P(3), head + 3, page), -EINVAL);
	page_put(page);
	rw_read_lock(&mm->lock);
	EXPECT_EQ(migrate_vma_setup(&(struct migrate_vma){
			  .mm = mm, .start = P(0), .end = P(1) }),
		  -EINVAL);
	rw_read_unlock(&mm->lock);
	EXPECT_EQ(ksm_mergeable(mm, P(0), P(N)), 0);
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(wr(mm, P(i), 1), 0); /* all pages are alike */
	REQUIRE(!ksm_full_scan());
	EXPECT_EQ(mm_collapse(mm, P(0)), 0);
	mm_set_limit(mm, 2);
	EXPECT_EQ(rd(mm, P(0)), 1);
	mm_set_limit(mm, 0);
	EXPECT_EQ(mm_reap(mm), 0);
	EXPECT(huge_head(mm) == head);
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(rd(mm, P(i)), 1);
	mm_put(mm);
	pool_end(POOL);
}

TEST(hugetlb, unmap_flushes_what_it_frees,
     "what loses its mapping is what is flushed: an unmap of one block is "
     "announced and flushed for its 2 MiB, and the block is not free before")
{
	struct recorder r;
	struct mm *mm;

	pool(POOL);
	mm = pooled(2);
	record(&r, mm);
	EXPECT_EQ(mm_unmap(mm, Q(0), R(0)), 0);
	EXPECT_RECORDED(&r, "start unmap 512-1024; range 512-1024; "
			    "end 512-1024");
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	record_end(&r);
	mm_put(mm);
	pool_end(POOL);
}
