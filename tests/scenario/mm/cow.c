/* SPDX-License-Identifier: MIT */
/*
 * cow.c - fork, copy-on-write, reuse: semantics C26, C27, C29, C30, H31
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/sync_point.h"

TEST(cow, parent_and_child_keep_their_own_writes,
     "after a fork neither parent nor child reads what the other writes")
{
	struct mm *parent = mm_fixture(2), *child;

	wr(parent, P(0), 'A');
	wr(parent, P(1), 'B');
	child = fork_of(parent);
	EXPECT_EQ(rd(child, P(0)), 'A');
	wr(parent, P(0), 'P');
	wr(child, P(1), 'C');
	EXPECT_EQ(rd(child, P(0)), 'A');
	EXPECT_EQ(rd(parent, P(1)), 'B');
	EXPECT_EQ(rd(parent, P(0)), 'P');
	EXPECT_EQ(rd(child, P(1)), 'C');
	mm_put(parent);
	EXPECT_EQ(rd(child, P(0)), 'A');
	mm_put(child);
}

TEST(cow, fork_shares_frames, "a fork copies no page")
{
	struct mm *parent = mm_fixture(8), *child;
	struct page *a, *b;

	for (unsigned i = 0; i < 8; i++)
		wr(parent, P(i), i);
	child = fork_of(parent);
	for (unsigned i = 0; i < 8; i++) {
		a = page_at(parent, P(i));
		b = page_at(child, P(i));
		EXPECT(a && a == b);
		EXPECT_EQ(page_maps(a), 2);
		page_put(a);
		page_put(b);
	}
	mm_put(child);
	mm_put(parent);
}

TEST(cow, last_owner_reuses,
     "the last owner of a shared page writes to it in place (C30)")
{
	struct mm *parent = mm_fixture(1), *child;
	struct page *before, *after;

	wr(parent, VA, 1);
	child = fork_of(parent);
	before = page_at(parent, VA);
	page_put(before);
	mm_put(child);
	EXPECT_EQ(wr(parent, VA, 2), 0);
	after = page_at(parent, VA);
	EXPECT(before == after);
	EXPECT(page_exclusive(after));
	page_put(after);
	mm_put(parent);
}

TEST(cow, extra_reference_forces_copy,
     "a page with a reference besides its mapping is copied, not reused (H31)")
{
	struct mm *parent = mm_fixture(1), *child;
	struct page *held, *after;

	wr(parent, VA, 1);
	child = fork_of(parent);
	held = page_at(parent, VA);
	mm_put(child);
	EXPECT_EQ(page_maps(held), 1);
	wr(parent, VA, 2);
	after = page_at(parent, VA);
	EXPECT(held != after);
	EXPECT_EQ(*(uint64_t *)page_va(held), 1);
	page_put(after);
	page_put(held);
	mm_put(parent);
}

TEST(cow, read_pin_does_not_leak,
     "a child that pins a page for reading never reads what the parent writes "
     "later (C26)")
{
	struct mm *parent = mm_fixture(1), *child;
	struct page *pinned;

	wr(parent, VA, 'o');
	child = fork_of(parent);
	REQUIRE(pin_pages(child, VA, 1, 0, &pinned) == 0);
	REQUIRE(mm_unmap(child, VA, P(1)) == 0);
	wr(parent, VA, 's');
	EXPECT_EQ(*(uint64_t *)page_va(pinned), 'o');
	unpin_pages(&pinned, 1);
	mm_put(child);
	mm_put(parent);
}

TEST(cow, pinned_page_is_copied_by_fork,
     "a fork copies a pinned page for the child, and the owner keeps its own "
     "(B41)")
{
	struct mm *parent = mm_fixture(1), *child;
	struct page *pinned, *mine, *theirs;

	wr(parent, VA, 1);
	REQUIRE(pin_pages(parent, VA, 1, PIN_WRITE, &pinned) == 0);
	child = fork_of(parent);
	mine = page_at(parent, VA);
	theirs = page_at(child, VA);
	EXPECT(mine == pinned);
	EXPECT(theirs && theirs != pinned);
	*(uint64_t *)page_va(pinned) = 2; /* the device writes */
	EXPECT_EQ(rd(parent, VA), 2);
	EXPECT_EQ(rd(child, VA), 1);
	wr(parent, VA, 3);
	EXPECT_EQ(*(uint64_t *)page_va(pinned), 3);
	page_put(mine);
	page_put(theirs);
	unpin_pages(&pinned, 1);
	mm_put(child);
	mm_put(parent);
}

TEST(cow, copy_of_a_pinned_page_is_dirty,
     "the copy that a fork makes of a pinned page is dirty, because its "
     "content exists nowhere else")
{
	struct mm *parent = mm_fixture(1), *child;
	struct page *pinned;

	wr(parent, VA, 1);
	REQUIRE(pin_pages(parent, VA, 1, 0, &pinned) == 0);
	child = fork_of(parent);
	EXPECT(entry_at(child, VA) & PTE_D);
	EXPECT(!(entry_at(child, VA) & PTE_A));
	EXPECT_EQ(rd(child, VA), 1);
	unpin_pages(&pinned, 1);
	mm_put(child);
	mm_put(parent);
}

static void pin_inside(uint64_t mm, uint64_t va, void *arg)
{
	struct page **pages = arg;

	/* In the middle of a fork: only what needs no mm->lock. */
	if (va == P(0) && !pages[0])
		pages[0] = page_at((struct mm *)mm, P(0));
}

TEST(cow, pin_after_share_gets_a_copy,
     "a page that a fork shares is copied before it is pinned (C27, H34)")
{
	struct mm *parent = mm_fixture(1), *child;
	struct page *shared = NULL, *pinned;

	wr(parent, VA, 1);
	hook("fork_shared", pin_inside, &shared);
	child = fork_of(parent);
	unhook("fork_shared");
	REQUIRE(shared);
	EXPECT(!page_exclusive(shared));
	REQUIRE(pin_pages(parent, VA, 1, 0, &pinned) == 0);
	EXPECT(pinned != shared);
	EXPECT(page_exclusive(pinned));
	unpin_pages(&pinned, 1);
	page_put(shared);
	mm_put(child);
	mm_put(parent);
}

struct racer {
	struct mm *mm;
	_Atomic unsigned *go;
	unsigned word;
};

static void race_write(void *arg)
{
	struct racer *r = arg;

	atomic_fetch_add(r->go, 1);
	wr(r->mm, VA + 8 * r->word, 100 + r->word);
}

static struct mm *loser_mm;
static bool loser_done;

static void write_first(uint64_t mm, uint64_t va, void *arg)
{
	struct thread *t;
	static struct racer r;
	static _Atomic unsigned go;

	if (loser_done || (struct mm *)mm != loser_mm)
		return;
	loser_done = true;
	r = (struct racer){ loser_mm, &go, 1 };
	t = thread_create("winner", race_write, &r);
	if (t)
		thread_join(t);
}

TEST(cow, two_copies_one_wins,
     "of two threads that copy the same page one installs its copy, and no "
     "store is lost (C29)")
{
	struct mm *parent = mm_fixture(1), *child;

	wr(parent, VA + 24, 7);
	child = fork_of(parent);
	loser_mm = parent;
	loser_done = false;
	/* Stopped after its copy, before the lock: the other thread finishes. */
	hook("cow_copied", write_first, NULL);
	EXPECT_EQ(wr(parent, VA, 100), 0);
	unhook("cow_copied");
	EXPECT(loser_done);
	EXPECT_EQ(rd(parent, VA), 100);
	EXPECT_EQ(rd(parent, VA + 8), 101);
	EXPECT_EQ(rd(parent, VA + 24), 7);
	EXPECT_EQ(rd(child, VA + 8), 0);
	mm_put(child);
	mm_put(parent);
}

TEST(fault, two_fresh_pages_one_wins,
     "of two threads that fault the same hole one installs its page, and no "
     "store is lost (B44)")
{
	struct mm *mm = mm_fixture(2);

	wr(mm, P(1), 1); /* the table is there */
	loser_mm = mm;
	loser_done = false;
	/* Stopped with its page allocated, before the lock. */
	hook("fault_fresh", write_first, NULL);
	EXPECT_EQ(wr(mm, VA, 100), 0);
	unhook("fault_fresh");
	EXPECT(loser_done);
	EXPECT_EQ(rd(mm, VA), 100);
	EXPECT_EQ(rd(mm, VA + 8), 101);
	EXPECT_EQ(mm->mapped, 2);
	mm_put(mm);
}

TEST(cow, copy_clears_flushes_sets,
     "a copy clears the entry, flushes it, and then sets the new one (B9)")
{
	struct mm *parent = mm_fixture(1), *child;
	uint64_t since;

	wr(parent, VA, 1);
	child = fork_of(parent);
	since = probes_begin();
	wr(parent, VA, 2);
	EXPECT(probes_in_order(since, parent,
			       "cow_copied pte_clear tlb_flush pte_set"));
	mm_put(child);
	mm_put(parent);
}

TEST(cow, stale_writer_is_stopped,
     "after a fork the parent's CPU does not write through a stale translation")
{
	struct mm *parent = mm_fixture(1), *child;

	mm_bind(parent);
	wr(parent, VA, 1);
	child = fork_of(parent);
	wr(parent, VA, 2);
	mm_bind(NULL);
	EXPECT_EQ(rd(child, VA), 1);
	EXPECT_EQ(rd(parent, VA), 2);
	mm_put(child);
	mm_put(parent);
}

TEST(cow, stale_reader_sees_the_copy,
     "after a copy the CPU reads the new page, not the old one")
{
	struct mm *parent = mm_fixture(1), *child;

	wr(parent, VA, 1);
	child = fork_of(parent);
	mm_bind(child);
	EXPECT_EQ(rd(child, VA), 1);
	wr(child, VA, 2);
	EXPECT_EQ(rd(child, VA), 2);
	mm_bind(NULL);
	EXPECT_EQ(rd(parent, VA), 1);
	mm_put(child);
	mm_put(parent);
}

TEST(cow, ten_generations_keep_their_values,
     "ten generations of forked processes each keep their own value")
{
	struct mm *mm[10];

	mm[0] = mm_fixture(1);
	for (unsigned i = 0; i < 10; i++) {
		if (i)
			mm[i] = fork_of(mm[i - 1]);
		wr(mm[i], VA, i + 1);
	}
	for (unsigned i = 0; i < 10; i++)
		EXPECT_EQ(rd(mm[i], VA), i + 1);
	for (unsigned i = 0; i < 10; i++)
		mm_put(mm[(i * 7) % 10]);
}

TEST(cow, many_children_exit_in_any_order,
     "64 children that share a page exit in any order, and the page keeps its "
     "content until the last (C76)")
{
	static struct mm *child[64];
	struct rng rng = rng_seed(test_seed());
	struct mm *parent = mm_fixture(4);
	struct page *page;

	wr(parent, VA, 42);
	for (unsigned i = 0; i < 64; i++)
		child[i] = fork_of(parent);
	page = page_at(parent, VA);
	EXPECT_EQ(page_maps(page), 65);
	EXPECT_EQ(mappings(page), 65);
	for (unsigned n = 64; n; n--) {
		unsigned i = (unsigned)rng_below(&rng, n);

		EXPECT_EQ(rd(child[i], VA), 42);
		if (n % 2)
			wr(child[i], VA, n);
		mm_put(child[i]);
		child[i] = child[n - 1];
		EXPECT_EQ(page_maps(page), mappings(page));
	}
	EXPECT_EQ(page_maps(page), 1);
	page_put(page);
	mm_put(parent);
}

struct stale {
	struct mm *mm;
	_Atomic unsigned stop;
	_Atomic uint64_t last; /* highest value whose store has returned    */
};

static void keep_writing(void *arg)
{
	struct stale *s = arg;

	mm_bind(s->mm); /* for good: its translations go stale */
	for (uint64_t v = 1; !atomic_load(&s->stop); v++) {
		wr(s->mm, VA, v);
		atomic_store(&s->last, v);
		cpu_pause(); /* one virtual CPU at a time under icount */
	}
}

TEST_SMP(cow, fork_stops_writes_of_other_cpus,
	 "a write of another CPU of the parent after a fork never reaches the "
	 "child",
	 2)
{
	struct stale s = { .mm = mm_fixture(1) };
	struct thread *t;

	wr(s.mm, VA, 1);
	t = thread_create_on(BIT(1), "writer", keep_writing, &s);
	REQUIRE(t);
	for (unsigned i = 0; i < 200; i++) {
		struct mm *child = fork_of(s.mm);
		uint64_t first = rd(child, VA), seen;

		seen = atomic_load(&s.last);
		while (atomic_load(&s.last) < seen + 2)
			yield();
		EXPECT_EQ(rd(child, VA), first);
		mm_put(child);
	}
	atomic_store(&s.stop, 1);
	thread_join(t);
	mm_put(s.mm);
}
