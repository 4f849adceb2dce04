/* SPDX-License-Identifier: MIT */
/*
 * frames.c - frames found by their number, while they change
 *
 *   finders   take a reference on the frame of a number, walk its reverse map,
 *             and look whether it is still what it was
 *   scanner   merges and parts 64 pages of an mm with a notifier
 *   owner     makes and drops spaces, forks, objects: their frames come and go
 *
 * Numbers are those of pages that one of the latter two has just had: a frame
 * that is freed is the next to be used again, often as something else.
 */
#include "kernel/rand.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/stress/stress.h"

#define FINDERS 3u
#define PAGES   64u
#define ROUNDS  8u
#define NUMBERS 256u

static struct {
	_Atomic uint64_t number[NUMBERS]; /* of frames; 0: none yet         */
	_Atomic unsigned numbers;
	_Atomic unsigned walks, visits;
	_Atomic bool stop;
	unsigned rounds;
	struct mm *mm; /* the scanner's                                     */
} run;

/* Let the finders know the frames of [0, n) in mm. */
static void tell(struct mm *mm, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_at(mm, P(i));

		if (!page)
			continue;
		atomic_store(&run.number[run.numbers++ % NUMBERS],
			     pfn_of(page));
		page_put(page);
	}
}

/* ---- finders ------------------------------------------------------------- */

static bool look(struct page *page, struct region *region, va_t va, void *arg)
{
	unsigned *found = arg;

	spin_lock(&region->mm->pt_lock);
	*found += rmap_leaf(page, region, va).slot != NULL;
	spin_unlock(&region->mm->pt_lock);
	atomic_fetch_add(&run.visits, 1);
	return true;
}

static void use(struct page *page, unsigned dice)
{
	unsigned found = 0;

	if (dice == 0)
		(void)!try_to_unmap(page); /* -EBUSY is an answer */
	else if (dice == 1)
		page_referenced(page);
	else
		rmap_walk(page, look, &found);
	atomic_fetch_add(&run.walks, 1);
}

static void find(void *arg)
{
	struct rng rng = rng_seed(test_seed() + (uint64_t)arg);

	while (!atomic_load(&run.stop)) {
		pfn_t pfn = run.number[rng_below(&rng, NUMBERS)];
		struct page *page = page_of(pfn);
		enum page_kind kind;
		void *owner;
		uint64_t index;

		if (!pfn || !page_try_get_user(page))
			continue;
		kind = page_kind(page);
		owner = page->mapping.stable_node;
		index = page->index;
		EXPECT(kind_user(kind) && owner);
		use(page, (unsigned)rng_below(&rng, 16));
		EXPECT_EQ(page_kind(page), kind);
		EXPECT_EQ(page->mapping.stable_node, owner);
		EXPECT_EQ(page->index, index);
		page_put(page);
	}
}

/* ---- scanner --------------------------------------------------------------- */

static void scan(void *arg)
{
	for (unsigned round = 0; round < run.rounds; round++) {
		for (unsigned i = 0; i < PAGES; i++)
			EXPECT_EQ(wr(run.mm, P(i), 1 + round % 100 + i / 2), 0);
		tell(run.mm, PAGES);
		for (unsigned i = 0; i < 2; i++)
			EXPECT_EQ(ksm_full_scan(), 0);
		tell(run.mm, PAGES);
		for (unsigned i = 0; i < PAGES; i++)
			EXPECT_EQ(rd(run.mm, P(i)), 1 + round % 100 + i / 2);
	}
	atomic_store(&run.stop, true);
}

/* ---- owner ------------------------------------------------------------------ */

static void private_pages(void)
{
	struct mm *mm = mm_fixture(8), *kid;
	struct page *pinned;

	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(wr(mm, P(i), i), 0);
	tell(mm, 8);
	EXPECT_EQ(pin_pages(mm, P(0), 1, PIN_WRITE, &pinned), 0);
	kid = fork_of(mm);
	unpin_pages(&pinned, 1);
	tell(kid, 1);
	EXPECT_EQ(mm_discard(mm, P(6), P(8)), 0);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(wr(kid, P(i), 10 + i), 0);
	tell(kid, 8);
	mm_put(mm);
	EXPECT_EQ(rd(kid, P(5)), 5);
	mm_put(kid);
}

static void shared_pages(void)
{
	struct object *object = object_create(4);
	struct mm *mm, *kid;

	REQUIRE(object);
	mm = mm_fixture_shared(object, 4);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(wr(mm, P(i), i), 0);
	tell(mm, 4);
	kid = fork_of(mm);
	mm_put(mm);
	EXPECT_EQ(rd(kid, P(3)), 3);
	object_put(object);
	mm_put(kid);
}

static const struct mmu_notifier_ops deaf = { 0 };

TEST_FULL(stress, frames_by_number,
	  "a frame whose reference was taken by its number keeps its kind and "
	  "is found where it is mapped, during merges, forks and frees",
	  1, 300)
{
	struct mmu_notifier mn = { .ops = &deaf };
	struct task scanner, finder[FINDERS];
	uint64_t merged = ksm_now().pages_merged;

	memset(&run, 0, sizeof(run));
	run.rounds = ROUNDS * stress_times();
	run.mm = ksm_fixture(PAGES);
	REQUIRE(mmu_notifier_register(&mn, run.mm) == 0);
	spawn(&scanner, scan, NULL);
	for (unsigned i = 0; i < FINDERS; i++)
		spawn(&finder[i], find, (void *)(uint64_t)i);
	while (!atomic_load(&run.stop)) {
		private_pages();
		shared_pages();
	}
	for (unsigned i = 0; i < FINDERS; i++)
		join(&finder[i]);
	join(&scanner);
	merged = ksm_now().pages_merged - merged;
	test_note("%u walks, %u regions visited, %lu pages merged", run.walks,
		  run.visits, merged);
	EXPECT(run.walks > 0 && merged > 0);
	EXPECT_STR_NULL(mm_check());
	EXPECT_KSM_SOUND();
	mmu_notifier_unregister(&mn);
	mm_put(run.mm);
}
