/* SPDX-License-Identifier: MIT */
/*
 * order.c - what must not happen before the flush: B2, B3, B12, B39
 *
 * Every flush of an address space hits the probe tlb_flush, under pt_lock.  At
 * that moment the tests look at the page: as long as one CPU may hold an old
 * translation the page counts it as a mapping, and has no other owner.
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/mm/swap_fixture.h"

static struct {
	struct mm *mm;
	struct page *page;
	unsigned flushes, unlocked;
	uint32_t maps; /* of page, at the first flush of mm */
	bool freed;
} seen;

static void at_flush(uint64_t mm, uint64_t start, void *arg)
{
	if (mm != (uint64_t)seen.mm)
		return;
	seen.unlocked += !spin_held(&seen.mm->pt_lock);
	if (seen.flushes++)
		return; /* the tables' */
	seen.maps = page_maps(seen.page);
	seen.freed = page_kind(seen.page) != PAGE_ANON;
}

/* Watch the page at VA of mm, which is loaded here from now on. */
static void watch(struct mm *mm)
{
	seen.mm = mm;
	seen.page = page_at(mm, VA);
	REQUIRE(seen.page);
	/* No reference of ours: it may be freed, and we want to know when. */
	page_put(seen.page);
	seen.flushes = seen.unlocked = 0;
	mm_bind(mm);
	rd(mm, VA);
	hook("tlb_flush", at_flush, NULL);
}

/* There was a flush, and before it the page was mapped maps times. */
static void unwatch(uint32_t maps)
{
	unhook("tlb_flush");
	EXPECT(seen.flushes > 0);
	EXPECT_EQ(seen.unlocked, 0);
	EXPECT_EQ(seen.maps, maps);
	EXPECT(!seen.freed);
	mm_bind(NULL);
}

static struct mm *written(void)
{
	struct mm *mm = mm_fixture(2);

	wr(mm, VA, 1);
	return mm;
}

TEST(order, unmap_counts_after_the_flush,
     "a page that is unmapped or discarded counts as mapped until the flush "
     "(B2, B12, B39)")
{
	struct mm *mm = written();

	watch(mm);
	EXPECT_EQ(mm_discard(mm, VA, P(1)), 0);
	unwatch(1);

	wr(mm, VA, 2);
	watch(mm);
	EXPECT_EQ(mm_unmap(mm, VA, P(1)), 0);
	unwatch(1);
	mm_put(mm);
}

TEST(order, copy_counts_after_the_flush,
     "a page that was copied counts as mapped until the flush (B9, B39)")
{
	struct mm *mm = written(), *child = fork_of(mm);

	watch(mm);
	EXPECT_EQ(wr(mm, VA, 2), 0);
	unwatch(2);
	EXPECT_EQ(page_maps(seen.page), 1);
	mm_put(child);
	mm_put(mm);
}

TEST(order, eviction_counts_after_the_flush,
     "an evicted page counts as mapped until the flush (B39)")
{
	struct mm *mm = written();
	struct page *page;

	page = page_at(mm, VA);
	watch(mm);
	EXPECT_EQ(try_to_unmap(page), 0);
	unwatch(1);
	EXPECT_EQ(page_maps(page), 0);
	page_put(page);
	mm_put(mm);
}

TEST(order, tables_go_after_the_flush,
     "a page-table page is freed after a flush of all that it translated (B3)")
{
	struct mm *mm = written();
	uint64_t since;

	mm_bind(mm);
	since = probes_begin();
	EXPECT_EQ(mm_unmap(mm, VA, P(2)), 0);
	/* One flush for the pages and for what the walker keeps of tables. */
	EXPECT(probes_in_order(since, mm, "pte_clear tlb_flush table_free"));
	mm_bind(NULL);
	mm_put(mm);
}

TEST(order, move_flushes_after_its_entries,
     "a move of pages flushes their old place after the entries have moved")
{
	struct mm *mm = written();
	va_t to;
	uint64_t since;

	mm_bind(mm);
	since = probes_begin();
	EXPECT_EQ(mm_remap(mm, VA, P(2) - VA, P(40), P(2) - VA, &to), 0);
	EXPECT(probes_in_order(since, mm, "pte_move tlb_flush"));
	mm_bind(NULL);
	mm_put(mm);
}

TEST(order, refusal_changes_nothing,
     "an access that is refused allocates no frame and changes no entry (B52)")
{
	struct mm *mm = mm_create();
	uint64_t entry, free;

	REQUIRE(mm);
	REQUIRE(mm_map(mm, VA, 2 * PAGE_SIZE, PROT_R, 0, NULL, 0, NULL) == 0);
	EXPECT_EQ(rd(mm, VA), 0);
	entry = entry_at(mm, VA) & ~(PTE_A | PTE_D);
	free = pmm_free_pages();
	EXPECT(wr(mm, VA, 1) && wr(mm, P(1), 1) && wr(mm, P(2), 1));
	EXPECT_EQ(entry_at(mm, VA) & ~(PTE_A | PTE_D), entry);
	EXPECT_EQ(entry_at(mm, P(1)), 0);
	EXPECT_EQ(pmm_free_pages(), free);
	EXPECT_EQ(mm->mapped, 0);
	mm_put(mm);
}

/* ---- between clear and flush -------------------------------------------- */

#define PATIENCE 20000u /* turns; another CPU needs a few hundred            */

static struct {
	struct mm *mm;
	int (*op)(struct mm *mm);
	_Atomic bool begun, done;
	_Atomic unsigned looks;
	struct thread
		*clears; /* until the flush of what it cleared first     */
	unsigned early;
} second;

/* None of these needs the lock of the anon_vma root, which the eviction holds. */
static int op_protect(struct mm *mm)
{
	return mm_protect(mm, VA, P(2), PROT_R);
}

static int op_discard(struct mm *mm)
{
	return mm_discard(mm, VA, P(1));
}

static int op_fault(struct mm *mm)
{
	return mm_fault(mm, VA, PROT_W);
}

static void second_comes(void *unused)
{
	atomic_store(&second.begun, true);
	EXPECT_EQ(second.op(second.mm), 0);
	atomic_store(&second.done, true);
}

/* The entry is empty, pt_lock is held; the flush comes next.  A second thread that
 * arrives now must not return before it. */
static void let_second_try(uint64_t mm, uint64_t va, void *unused)
{
	if (mm != (uint64_t)second.mm || atomic_fetch_add(&second.looks, 1))
		return;
	second.clears = current();
	while (!atomic_load(&second.begun))
		cpu_pause();
	for (unsigned i = 0; i < PATIENCE; i++) {
		cpu_pause();
		if (atomic_load(&second.done))
			break;
	}
	second.early += atomic_load(&second.done);
}

/* The fault of the second thread may map the page again before the eviction looks
 * whether all mappings are gone. */
static void evict_it(void *page)
{
	int error = try_to_unmap(page);

	EXPECT(!error || error == -EBUSY);
}

TEST(order, each_step_leaves_its_mark,
     "each fault that fills an entry, and the free of its frame, is a row of a "
     "timeline: a zero page, a new page, one that was evicted")
{
	struct page *page;
	uint64_t since;
	struct mm *mm;
	pa_t pa;

	CHECKED_ONLY("marks each freed frame");
	mm = mm_fixture(2);
	since = probes_begin();
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT(probes_in_order(since, mm, "pte_set"));
	since = probes_begin();
	EXPECT_EQ(wr(mm, P(1), 1), 0);
	EXPECT(probes_in_order(since, mm, "pte_set"));
	page = page_at(mm, P(1));
	pa = page_pa(page);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	since = probes_begin();
	EXPECT_EQ(rd(mm, P(1)), 1);
	EXPECT(probes_in_order(since, mm, "pte_set"));
	since = probes_begin();
	mm_put(mm);
	EXPECT(probes_in_order(since, (void *)pa, "frame_free"));
}

TEST_SMP(order, gone_means_flushed,
	 "while a page is being evicted, no other operation finds its entry "
	 "cleared and returns before the flush (B17, C31, H39, H40)",
	 2)
{
	static int (*const ops[])(struct mm *) = { op_protect, op_discard,
						   op_fault };

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		struct mm *mm = written();
		struct page *page = page_at(mm, VA);
		struct task first, other;

		second.mm = mm;
		second.op = ops[i];
		second.early = 0;
		second.clears = NULL;
		atomic_store(&second.looks, 0);
		atomic_store(&second.begun, false);
		atomic_store(&second.done, false);
		hook("pte_clear", let_second_try, NULL);
		spawn_on(&first, BIT(0), evict_it, page);
		while (!atomic_load(&second.looks))
			yield();
		spawn_on(&other, BIT(1), second_comes, NULL);
		join(&first);
		join(&other);
		unhook("pte_clear");
		EXPECT_EQ(second.early, 0);
		page_put(page);
		mm_put(mm);
	}
}

/* ---- between the clears and the flush of a batch -------------------------- */

/* The lock is held, and was since the clears: the second thread is still waiting.  It may
 * return after this flush, so flushes of later batches say nothing. */
static void second_waits(uint64_t mm, uint64_t start, void *unused)
{
	if (mm != (uint64_t)second.mm || READ_ONCE(second.clears) != current())
		return;
	second.clears = NULL;
	for (unsigned i = 0; i < PATIENCE && !atomic_load(&second.done); i++)
		cpu_pause();
	second.early += atomic_load(&second.done);
}

static void reclaim_it(void *mm)
{
	mm_bind(mm);                   /* so that there is a CPU to flush */
	EXPECT(mm_reclaim(mm, 2) > 0); /* op_fault takes one back */
	mm_bind(NULL);
}

TEST_SMP(order, batch_is_flushed_under_the_lock,
	 "while a batch of pages is being evicted, no other operation finds an "
	 "entry cleared and returns before the flush (B17, C31, C78, H39, H40)",
	 2)
{
	static int (*const ops[])(struct mm *) = { op_protect, op_discard,
						   op_fault };

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		struct mm *mm = swap_fixture(4, 2);
		struct task first, other;

		make_old(mm, 2);
		second.mm = mm;
		second.op = ops[i];
		second.early = 0;
		second.clears = NULL;
		atomic_store(&second.looks, 0);
		atomic_store(&second.begun, false);
		atomic_store(&second.done, false);
		hook("pte_clear", let_second_try, NULL);
		hook("tlb_flush", second_waits, NULL);
		spawn_on(&first, BIT(0), reclaim_it, mm);
		while (!atomic_load(&second.looks))
			yield();
		spawn_on(&other, BIT(1), second_comes, NULL);
		join(&first);
		join(&other);
		unhook("tlb_flush");
		unhook("pte_clear");
		EXPECT_EQ(second.early, 0);
		mm_put(mm);
		swap_fixture_end();
	}
}
