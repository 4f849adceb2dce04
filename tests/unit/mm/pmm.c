/* SPDX-License-Identifier: MIT */
/*
 * pmm.c - tests pmm.c and buddy.c: each frame has one owner
 *
 * The model is one bit a frame, set while the frame is allocated.  Setting a
 * set bit or clearing a clear one is the error that an allocator must not make.
 * The bits are atomic, so several CPUs can allocate at once.
 */
#include "arch/cpu.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"

#define HELD_MAX 200

struct player {
	_Atomic uint64_t *bits; /* the model, frames_end bits       */
	struct rng rng;
	unsigned n, wrong, rounds;
	unsigned max_order;
	struct page *held[HELD_MAX];
};

static unsigned bits_order(void)
{
	unsigned order = 0;

	while (PAGE_SIZE * 8 << order < frames_end)
		order++;
	return order;
}

/*
 * Mark a block as allocated (or free); returns the number of unexpected bits.
 */
static unsigned mark(struct player *p, struct page *page, bool ours)
{
	unsigned wrong = 0;

	for (pfn_t i = pfn_of(page), n = 1u << page_order(page); n--; i++) {
		uint64_t bit = BIT(i % 64);
		uint64_t old = ours ? atomic_fetch_or(&p->bits[i / 64], bit)
				    : atomic_fetch_and(&p->bits[i / 64], ~bit);

		wrong += !!(old & bit) == ours;
	}
	return wrong;
}

static void player_take(struct player *p)
{
	unsigned order = (unsigned)rng_below(&p->rng, p->max_order + 1);
	struct page *page;

	if (rng_below(&p->rng, 4))
		order = 0;
	page = pages_alloc(order);
	if (!page)
		return;
	p->wrong += page_order(page) != order || page_count(page) != PAGE_REF;
	p->wrong += !IS_ALIGNED(pfn_of(page), UINT64_C(1) << order);
	p->wrong += mark(p, page, true);
	p->held[p->n++] = page;
}

static void player_give(struct player *p)
{
	unsigned i = (unsigned)rng_below(&p->rng, p->n);

	p->wrong += mark(p, p->held[i], false);
	page_put(p->held[i]);
	p->held[i] = p->held[--p->n];
}

static void play(void *arg)
{
	struct player *p = arg;

	for (unsigned i = 0; i < p->rounds; i++) {
		if (p->n && (p->n == HELD_MAX || rng_below(&p->rng, 2)))
			player_give(p);
		else
			player_take(p);
	}
	while (p->n)
		player_give(p);
}

/* Run n players, each on its CPU; returns the number of wrong steps. */
static unsigned play_on(unsigned n, unsigned rounds, unsigned max_order)
{
	static struct player players[MAX_CPUS];
	struct thread *threads[MAX_CPUS];
	struct page *bits = pages_alloc(bits_order());
	unsigned wrong = 0;

	if (!bits)
		return 1;
	memset(page_va(bits), 0, PAGE_SIZE << bits_order());
	for (unsigned i = 0; i < n; i++) {
		players[i] = (struct player){
			.bits = page_va(bits),
			.rng = rng_seed(test_seed() + i),
			.rounds = rounds,
			.max_order = max_order,
		};
		threads[i] =
			thread_create_on(BIT(i), "player", play, &players[i]);
		wrong += !threads[i];
	}
	for (unsigned i = 0; i < n; i++) {
		if (threads[i])
			thread_join(threads[i]);
		wrong += players[i].wrong;
	}
	page_put(bits);
	return wrong;
}

TEST(pmm, one_cpu_against_model,
     "no frame is allocated twice, and blocks are aligned")
{
	EXPECT_EQ(play_on(1, 3000, 6), 0);
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, all_cpus_against_model, "no frame is allocated to two CPUs at once")
{
	EXPECT_EQ(play_on(cpu_count(), 3000, 4), 0);
	EXPECT_STR_NULL(pmm_check());
}

/* A chain through page->mapping, for any number of pages. */
static struct page *chain_push(struct page *chain, struct page *page)
{
	page->mapping.next = chain;
	return page;
}

static uint64_t chain_free(struct page *chain)
{
	uint64_t n = 0;

	for (; chain; n++) {
		struct page *next = chain->mapping.next;

		page_put(chain);
		chain = next;
	}
	return n;
}

/*
 * The largest blocks that a set of free frames can form are unique, and
 * pmm_check() finds two free buddies that did not unite.  So if it finds none
 * with empty caches, every block is as large as before.
 */
TEST(pmm, blocks_grow_together_again,
     "after frees in any order, draining the caches restores every large block")
{
	struct rng rng = rng_seed(test_seed());
	struct page *keep = NULL, *drop = NULL, *page;

	for (unsigned i = 0; i < 3000; i++) {
		page = page_alloc();
		REQUIRE(page);
		if (rng_below(&rng, 2))
			keep = chain_push(keep, page);
		else
			drop = chain_push(drop, page);
	}
	chain_free(drop);
	chain_free(keep);
	pmm_drain();
	EXPECT_EQ(pmm_cached_pages(), 0);
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, high_memory_is_used, "frames above 4 GiB are allocated and usable")
{
	struct page *chain = NULL, *page;
	bool high = false;

	if (memmap_top(pmm_map()) <= BIT(32))
		SKIP("this machine has no memory above 4 GiB");
	for (unsigned i = 0; i < 2 * PMM_BATCH && !high; i++) {
		page = pages_alloc(PMM_ORDERS - 1);
		REQUIRE(page);
		chain = chain_push(chain, page);
		high = page_pa(page) >= BIT(32);
		if (high)
			*(uint64_t *)page_va(page) = 0;
	}
	EXPECT(high);
	chain_free(chain);
}

TEST(pmm, injected_failure_is_null,
     "the allocation that injection selects fails, and the next does not")
{
	uint64_t before = pmm_free_pages();
	struct page *page;

	inject_arm(1);
	EXPECT(!page_alloc());
	inject_arm(1);
	EXPECT(!pages_alloc(2));
	page = page_alloc();
	REQUIRE(page);
	page_put(page);
	EXPECT_EQ(pmm_free_pages(), before);
}

/* ------------------------------------------------------- what must panic */

static void free_it(void *page)
{
	page_free(page);
}

/* The stack of the thread that panics may be the frame that was freed last. */
static void free_it_twice(void *page)
{
	page_put(page);
	page_free(page);
}

TEST(pmm, double_free_is_caught, "freeing a free frame panics")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	EXPECT(panic_catch(free_it_twice, page, words, sizeof(words)));
	EXPECT(glob_match("*freed twice*", words));
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, freeing_a_used_frame_is_caught,
     "freeing a frame with references, maps or pins panics with its number")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	EXPECT(panic_catch(free_it, page, words, sizeof(words)));
	EXPECT(glob_match("*1 refs, 0 maps*", words));
	page_map_add(page);
	page_put(page);
	EXPECT(panic_catch(free_it, page, words, sizeof(words)));
	EXPECT(glob_match("*1 refs, 1 maps*", words));
	page_map_drop(page);
}

TEST(pmm, freeing_reserved_is_caught, "freeing the first frame panics")
{
	char words[200];

	EXPECT_EQ(page_kind(page_of(0)), PAGE_RESERVED);
	EXPECT(panic_catch(free_it, page_of(0), words, sizeof(words)));
	EXPECT(glob_match("*reserved*", words));
}

TEST(pmm, freeing_a_tail_is_caught,
     "freeing a page of a block other than its head panics")
{
	struct page *block = pages_alloc(2);
	char words[200];

	REQUIRE(block);
	EXPECT(panic_catch(free_it, block + 1, words, sizeof(words)));
	EXPECT(glob_match("*inside a block*", words));
	page_put(block);
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, bare_block_is_one_page,
     "the tails of a bare block look free, their head is found, freeing one "
     "panics, and the block is free after one put")
{
	struct page *block = pages_alloc_bare(3);
	uint64_t before;
	char words[200];

	REQUIRE(block);
	EXPECT_EQ(page_kind(block + 5), PAGE_FREE);
	EXPECT(page_head(block + 5) == block);
	EXPECT(!page_is_free(block + 5));
	EXPECT(!page_try_get_user(block + 5));
	EXPECT_STR_NULL(pmm_check());
	EXPECT(panic_catch(free_it, block + 5, words, sizeof(words)));
	EXPECT(glob_match("*inside a block*", words));
	before = pmm_free_pages(); /* the catch keeps a stack */
	page_put(block);
	EXPECT_EQ(pmm_free_pages(), before + 8);
	EXPECT(page_is_free(block + 5));
	EXPECT(page_head(block + 5) == block + 5);
	EXPECT_STR_NULL(pmm_check());
	EXPECT(panic_catch(free_it, block, words, sizeof(words)));
	EXPECT(glob_match("*freed twice*", words));
}

TEST(pmm, bare_block_forgets_what_was_dirty,
     "a tail of a bare block that was marked dirty is not dirty when the block "
     "is allocated again")
{
	struct page *block = pages_alloc_bare(3), *again;

	REQUIRE(block);
	page_part_set_dirty(block + 5);
	EXPECT(page_test(block + 5, PG_DIRTY));
	page_put(block);
	again = pages_alloc_bare(3);
	REQUIRE(again);
	EXPECT(again == block);
	EXPECT(!page_test(block + 5, PG_DIRTY));
	page_put(again);
}

static void write_into_tail_after_free(void *arg)
{
	struct page **victim = arg, *block = pages_alloc_bare(3);

	REQUIRE(block);
	*victim = block;
	page_put(block);
	*(uint64_t *)page_va(block + 5) = 1;
	block = pages_alloc_bare(3);
	*(uint64_t *)page_va(*victim + 5) = PMM_POISON;
	page_put(block);
}

TEST(pmm, bare_allocation_checks_poison,
     "a block of which a tail was written while it was free is not allocated")
{
	struct page *victim;
	char words[200];

	CHECKED_ONLY("poisons");
	REQUIRE(panic_catch(write_into_tail_after_free, &victim, words,
			    sizeof(words)));
	EXPECT(glob_match("*was written after it was freed*", words));

	/* The block had left the lists when the panic came: put it back. */
	*(uint64_t *)page_va(victim + 5) = PMM_POISON;
	for (unsigned i = 0; i < 8; i++) {
		page_set_kind(victim + i, PAGE_KERNEL);
		page_free(victim + i);
	}
	pmm_drain();
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, write_after_free_is_seen, "a write into a free frame is found")
{
	struct page *page;
	uint64_t *words;
	pfn_t pfn = 0;

	CHECKED_ONLY("poisons");
	page = page_alloc();
	REQUIRE(page);
	words = page_va(page);
	page_put(page);
	words[77] = 1;
	EXPECT_EQ(pmm_check_poison(true, &pfn), 1);
	EXPECT_EQ(pfn, pfn_of(page));
	words[77] = PMM_POISON;
	EXPECT_EQ(pmm_check_poison(true, &pfn), 0);
}

/*
 * Free, write, allocate; the expected end is a panic.  After a switch to
 * another CPU the frame is another one; then nothing is proven and everything
 * is undone.
 */
static void write_after_free(void *arg)
{
	struct page **victim = arg, *page = page_alloc();
	uint64_t *word;

	REQUIRE(page);
	*victim = page;
	word = page_va(page);
	page_put(page);
	*word = 1;
	page = page_alloc();
	*word = PMM_POISON;
	page_put(page);
}

TEST(pmm, allocation_checks_poison,
     "a frame that was written while it was free is not allocated")
{
	struct page *victim;
	bool caught = false;
	char words[200];

	CHECKED_ONLY("poisons");
	for (unsigned tries = 0; !caught && tries < 10; tries++)
		caught = panic_catch(write_after_free, &victim, words,
				     sizeof(words));
	REQUIRE(caught);
	EXPECT(glob_match("*was written after it was freed*", words));

	/* The frame had left the cache when the panic came: put it back. */
	page_set_kind(victim, PAGE_KERNEL);
	page_free(victim);
	EXPECT_STR_NULL(pmm_check());
}

/*
 * The last test: from here on every free frame is poisoned, and each is
 * checked.
 */
TEST(pmm, exhaustion_is_null,
     "after the last frame an allocation returns NULL, and all frames come "
     "back")
{
	uint64_t before = pmm_free_pages(), n = 0;
	struct page *chain = NULL, *page;

	if (before > BIT(17))
		SKIP("taking every frame takes long with more than 512 MiB");
	while ((page = page_alloc())) {
		chain = chain_push(chain, page);
		n++;
	}
	EXPECT(!page_alloc_zeroed() && !pages_alloc(3));
	EXPECT(before - n <= 2 * PMM_BATCH * (cpu_count() - 1));
	EXPECT_EQ(chain_free(chain), n);
	EXPECT_EQ(pmm_free_pages(), before);
	EXPECT_STR_NULL(pmm_check());
}
