/* SPDX-License-Identifier: MIT */
/*
 * compact.c - the frames of a block of 2 MiB are emptied (mm/reclaim/compact.h)
 */
#include "mm/reclaim/compact.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/space/pin.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/migrate_fixture.h"

/* Expect that the block is empty: a write to it changes nothing of mm. */
static void expect_emptied(struct page *block, struct page *first)
{
	EXPECT(block == first);
	EXPECT_EQ(page_order(block), BLOCK_ORDER);
	EXPECT_EQ(page_kind(block), PAGE_KERNEL);
	EXPECT_EQ(page_count(block), PAGE_REF);
	memset(page_va(block), 0xee, BLOCK_SIZE);
	EXPECT_STR_NULL(pmm_check());
	page_put(block);
	EXPECT_STR_NULL(mm_check());
	EXPECT_STR_NULL(pmm_check());
}

TEST(compact, block_is_emptied,
     "the pages of a block move to other frames, and its 512 frames are one "
     "block of the caller's")
{
	struct page *first, *block;
	struct mm *mm = huge_halved(&first);
	uint64_t before = free_now();
	struct compact_stat was, now;

	compact_stat(&was);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), 0);
	compact_stat(&now);
	EXPECT_EQ(now.moved - was.moved, N / 2);
	EXPECT_EQ(now.blocks - was.blocks, 1);
	expect_emptied(block, first);
	EXPECT_EQ(huge_halved_wrong(mm), 0);
	EXPECT_EQ(free_now(), before);
	mm_put(mm);
}

TEST(compact, huge_page_moves,
     "a huge page moves as a whole, in two address spaces; without a free "
     "block "
     "it is split, and its 512 pages move")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *first = huge_head(mm), *block;

	EXPECT_EQ(block_evacuate(pfn_of(first), &block), 0);
	EXPECT(entry_huge(entry_at(mm, P(0))));
	EXPECT(huge_head(mm) == huge_head(child));
	expect_emptied(block, first);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	first = huge_head(mm);
	inject_arm(1);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), 0);
	EXPECT(inject_disarm());
	EXPECT(!entry_huge(entry_at(mm, P(0))));
	expect_emptied(block, first);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(huge_wrong(child, 0, N), 0);
	mm_put(child);
	mm_put(mm);
}

TEST(compact, free_block_is_taken,
     "a block that is free, or part of a larger free one, is taken without a "
     "move, and the other part stays free")
{
	struct page *block = pages_alloc(BLOCK_ORDER + 1), *half;
	uint64_t before;

	REQUIRE(block);
	page_put(block);
	before = free_now();
	EXPECT_EQ(block_evacuate(pfn_of(block) + N, &half), 0);
	EXPECT_EQ(free_now(), before - N);
	expect_emptied(half, block + N);
	EXPECT_EQ(free_now(), before);
}

TEST(compact, evicted_and_shared_pages_move,
     "pages of several address spaces move, and those of evicted entries")
{
	struct mm *mm = huge_filled(), *child = fork_of(mm);
	struct page *first = huge_head(mm), *block, *page;

	huge_halve(mm);
	huge_halve(child);
	page = page_at(mm, P(2));
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(wr(child, P(4), 5), 0);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), 0);
	expect_emptied(block, first);
	EXPECT_EQ(huge_halved_wrong(mm), 0);
	EXPECT_EQ(huge_halved_wrong(child), 0);
	mm_put(child);
	mm_put(mm);
}

/* Expect that the block cannot be emptied, and that nothing is lost. */
static void refused(struct mm *mm, struct page *first, int error)
{
	struct page *block = NULL;
	uint64_t before = free_now();

	EXPECT_EQ(block_evacuate(pfn_of(first), &block), error);
	EXPECT(!block);
	EXPECT_EQ(free_now(), before);
	EXPECT_EQ(huge_halved_wrong(mm), 0);
	EXPECT_STR_NULL(mm_check());
	EXPECT_STR_NULL(pmm_check());
}

TEST(compact, what_stays_is_refused,
     "a pinned page, a frame of the kernel, and numbers that are no block: the "
     "free frames are free afterwards, and every page is found (C71)")
{
	struct page *first, *pin, *block;
	struct mm *mm = huge_halved(&first);

	REQUIRE(!pin_pages(mm, P(200), 1, PIN_WRITE, &pin));
	refused(mm, first, -EBUSY);
	unpin_pages(&pin, 1);
	EXPECT_EQ(mm_discard(mm, P(300), P(301)), 0);
	pmm_drain();
	REQUIRE(page_take(first + 300));
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), -EBUSY);
	page_put(first + 300);
	EXPECT_EQ(block_evacuate(pfn_of(first) + 1, &block), -EINVAL);
	EXPECT_EQ(block_evacuate(ALIGN_UP(frames_end, BLOCK_PAGES), &block),
		  -EINVAL);
	EXPECT_EQ(block_evacuate(ALIGN_DOWN(UINT64_MAX, BLOCK_PAGES), &block),
		  -EINVAL); /* its end wraps around */
	EXPECT_EQ(block_evacuate(0, &block), -EBUSY);
	mm_put(mm);
}

TEST(compact, needs_frames_elsewhere,
     "the first or third allocation of an evacuation fails: -ENOMEM, and "
     "nothing is lost")
{
	struct page *first, *block;
	struct mm *mm = huge_halved(&first);

	inject_arm(1);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(huge_halved_wrong(mm), 0);
	inject_arm(3);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(huge_halved_wrong(mm), 0);
	refused(mm, page_of(0), -EBUSY);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), 0);
	expect_emptied(block, first);
	mm_put(mm);
}

/* ---- all of memory ------------------------------------------------------- */

/* Blocks that were taken, linked by mapping.next. */
static struct page *chain_blocks(struct page *chain, unsigned order)
{
	struct page *page;

	while ((page = pages_alloc_bare(order))) {
		page->mapping.next = chain;
		chain = page;
	}
	return chain;
}

static void chain_put(struct page *chain)
{
	while (chain) {
		struct page *next = chain->mapping.next;

		page_put(chain);
		chain = next;
	}
}

/* Take every free block of 2 MiB; half of the frames of one of them stay free. */
static struct page *memory_in_fragments(void)
{
	struct page *chain = chain_blocks(NULL, PMM_ORDERS - 1), *last;

	REQUIRE(chain);
	last = chain;
	chain = last->mapping.next;
	page_put(last); /* at least two blocks of 2 MiB */
	last = chain_blocks(chain, BLOCK_ORDER);
	REQUIRE(page_order(last) == BLOCK_ORDER);
	chain = last->mapping.next;
	page_put(last);
	for (unsigned i = 0; i < N; i += 2) {
		REQUIRE(page_take(last + i));
		last[i].mapping.next = chain;
		chain = last + i;
	}
	pmm_drain();
	return chain;
}

TEST(compact, fragments_become_a_block,
     "when no block of 2 MiB is free, one is made from two that are half used, "
     "and a first write into a region that wants huge pages gets it")
{
	struct page *first, *chain, *block;
	struct compact_stat was, now;
	struct mm *mm, *other;

	if (pmm_free_pages() > BIT(17))
		SKIP("taking every frame takes long with more than 512 MiB");
	other = huge_fixture();
	EXPECT_EQ(mm_fault(other, R(0), PROT_W), 0); /* it has its tables */
	mm = huge_halved(&first);
	chain = memory_in_fragments();
	compact_stat(&was);
	EXPECT(!pages_alloc_bare(BLOCK_ORDER));
	EXPECT_EQ(wr(other, P(0), 9), 0);
	compact_stat(&now);
	EXPECT_EQ(now.blocks - was.blocks, 1);
	EXPECT(entry_huge(entry_at(other, P(0))));
	EXPECT_EQ(huge_halved_wrong(mm), 0);
	EXPECT_EQ(rd(other, P(N - 1)), 0);
	mm_put(other);
	block = block_obtain();
	EXPECT(block);
	if (block)
		page_put(block);
	chain_put(chain);
	mm_put(mm);
	EXPECT_STR_NULL(pmm_check());
}

static unsigned looks;

static void count_look(uint64_t most, uint64_t b, void *arg)
{
	looks++;
}

TEST(compact, failure_is_not_repeated_at_once,
     "when no block can be emptied the next calls do not look at all of memory "
     "again: 2, then 4 of them")
{
	struct page *first, *chain, *pin, *block;
	struct mm *mm;

	if (pmm_free_pages() > BIT(17))
		SKIP("taking every frame takes long with more than 512 MiB");
	mm = huge_halved(&first);
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &pin));
	chain = memory_in_fragments();
	looks = 0;
	hook("compact_begin", count_look, NULL);
	for (unsigned i = 0; i < 8; i++)
		EXPECT(!block_obtain());
	unhook("compact_begin");
	EXPECT_EQ(looks, 2 * 2); /* calls 0 and 3, two looks each           */
	unpin_pages(&pin, 1);
	block = block_compact();
	EXPECT(block == first);
	if (block)
		page_put(block);
	chain_put(chain);
	block = block_obtain();
	REQUIRE(block);
	page_put(block);
	mm_put(mm);
}

/* ---- a device ------------------------------------------------------------ */

#define HUGE_VA ALIGN_UP(VA + BLOCK_SIZE, BLOCK_SIZE)

static struct {
	struct iommu_fixture *s;
	unsigned hits, written;
	uint64_t version[N]; /* of page i: the last that reached memory      */
} dma;

static va_t word(unsigned i)
{
	return HUGE_VA + i * PAGE_SIZE + 64;
}

/* Hook: at every 16th step let the device write a page, one of those to come or one
 * that has moved; it counts if the device then reads it back. */
static void dma_at_step(uint64_t a, uint64_t b, void *arg)
{
	unsigned i = dma.hits++ % 512;

	if (i % 16)
		return;
	fixture_write(dma.s, 0, word(i), dma.version[i] + 1);
	if (fixture_read(dma.s, 0, word(i)) != dma.version[i] + 1)
		return;
	dma.version[i]++;
	dma.written++;
}

USER_TEST(compact_device, block_is_emptied_under_dma,
	  "a block is taken from under a device that writes its pages at many "
	  "steps of the evacuation: every write that reached memory is found, "
	  "and "
	  "none goes to the old frames afterwards (C70)")
{
	static const char *const steps[] = { "pte_clear", "migrate_unmapped",
					     "migrate_copied" };
	struct mm *mm = fixture_mm(s, 1);
	struct page *first, *block;

	REQUIRE(!mm_map(mm, HUGE_VA, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	dma.s = s;
	dma.written = 0;
	EXPECT_EQ(wr(mm, HUGE_VA, 1), 0);
	REQUIRE(entry_huge(entry_at(mm, HUGE_VA)));
	first = entry_page(entry_at(mm, HUGE_VA));
	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	memset(dma.version, 0, sizeof(dma.version));
	EXPECT_EQ(fixture_store(s, 0, word(0), ++dma.version[0]), 0);
	REQUIRE(!pin_pages(mm, HUGE_VA, 1, PIN_WRITE, &block)); /* splits it */
	unpin_pages(&block, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		hook(steps[i], dma_at_step, NULL);
	EXPECT_EQ(block_evacuate(pfn_of(first), &block), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		unhook(steps[i]);
	EXPECT(dma.written > 8);
	memset(page_va(block), 0, BLOCK_SIZE);
	for (unsigned i = 0; i < N; i += 16) {
		EXPECT_EQ(rd(mm, word(i)), dma.version[i]);
		EXPECT_EQ(fixture_store(s, 0, word(i), 77), 0);
		EXPECT_EQ(rd(mm, word(i)), 77);
	}
	for (uint64_t i = 0; i < BLOCK_SIZE / 8; i++)
		REQUIRE(!((uint64_t *)page_va(block))[i]);
	page_put(block);
}
