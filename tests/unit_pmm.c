/* SPDX-License-Identifier: MIT */
/*
 * unit_pmm.c - tests pmm.c and buddy.c: whose frame is it?
 *
 * The model is one bit a frame: set while somebody has it.  Setting a set bit
 * or clearing a clear one is the bug that an allocator must not have, and the
 * bits are atomic, so several CPUs can play at once.
 */
#include "arch/cpu.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/pmm.h"
#include "tests/test.h"

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

/* Mark a block as ours (or no more); how many frames were not as expected. */
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

/* Let n players play, each on its CPU; how many steps went wrong. */
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

TEST(pmm, one_cpu_against_model, "no frame is given to two, blocks are aligned")
{
	EXPECT_EQ(play_on(1, 3000, 6), 0);
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, all_cpus_against_model, "no frame is given to two CPUs at once")
{
	EXPECT_EQ(play_on(cpu_count(), 3000, 4), 0);
	EXPECT_STR_NULL(pmm_check());
}

/* A chain through page->mapping, so that any number fits. */
static struct page *chain_push(struct page *chain, struct page *page)
{
	page->mapping = (uintptr_t)chain;
	return page;
}

static uint64_t chain_free(struct page *chain)
{
	uint64_t n = 0;

	for (; chain; n++) {
		struct page *next = (struct page *)chain->mapping;

		page_put(chain);
		chain = next;
	}
	return n;
}

/*
 * The largest blocks that a set of free frames can form are unique, and
 * pmm_check() finds two free buddies that did not unite: so if it is content
 * with empty caches, every block is as large as before.
 */
TEST(pmm, blocks_grow_together_again,
     "after frees in any order, draining restores every large block")
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

TEST(pmm, high_memory_is_used, "frames above 4 GiB are given out and work")
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

TEST(pmm, injected_failure_is_null, "the armed allocation fails, the next not")
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

TEST(pmm, double_free_is_caught, "freeing a free frame panics")
{
	struct page *page = page_alloc();
	char words[200];

	REQUIRE(page);
	page_put(page);
	EXPECT(panic_catch(free_it, page, words, sizeof(words)));
	EXPECT(glob_match("*freed twice*", words));
	EXPECT_STR_NULL(pmm_check());
}

TEST(pmm, freeing_a_used_frame_is_caught,
     "a frame with references, maps or pins is not freed but named")
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

TEST(pmm, freeing_reserved_is_caught, "the first frame is never ours to free")
{
	char words[200];

	EXPECT_EQ(page_kind(page_of(0)), PAGE_RESERVED);
	EXPECT(panic_catch(free_it, page_of(0), words, sizeof(words)));
	EXPECT(glob_match("*reserved*", words));
}

TEST(pmm, freeing_a_tail_is_caught, "a block is freed by its head only")
{
	struct page *block = pages_alloc(2);
	char words[200];

	REQUIRE(block);
	EXPECT(panic_catch(free_it, block + 1, words, sizeof(words)));
	EXPECT(glob_match("*inside a block*", words));
	page_put(block);
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

/* Free, write, allocate: the panic is the wanted end.  A switch to another CPU
 * in between gives a different frame; then nothing is proven and all undone. */
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
     "a frame that was written while free is not given out")
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

	/* The panic came when the frame had left the cache: put it back. */
	page_set_kind(victim, PAGE_KERNEL);
	page_free(victim);
	EXPECT_STR_NULL(pmm_check());
}

/* Last: from here on every free frame is poisoned, and to be looked at. */
TEST(pmm, exhaustion_is_null,
     "the last frame is followed by NULL, and all come back")
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
