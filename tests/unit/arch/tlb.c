/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - which translations are flushed, and which CPUs are interrupted
 *
 * QEMU's TLB keeps an entry until it is flushed, so a store through a stale
 * entry proves that a flush is missing.
 */
#include "arch/smp.h"
#include "arch/tlb.h"
#include "kernel/err.h"
#include "mm/notifier/flush.h"
#include "tests/fixture/mm/mm_fixture.h"

#define MOST (4 * TLB_FLUSH_PAGES)

static struct mm *written(unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), i + 1);
	return mm;
}

TEST(tlb, ranges_of_any_length_are_flushed,
     "a flush of a range reaches its last page, page by page or all at once")
{
	static const unsigned lengths[] = {
		1,    2,   TLB_FLUSH_PAGES - 1, TLB_FLUSH_PAGES,
		MOST, 100, TLB_FLUSH_PAGES + 1,
	};
	struct mm *mm = written(MOST + 1);

	mm_bind(mm);
	for (unsigned l = 0; l < ARRAY_SIZE(lengths); l++) {
		unsigned n = lengths[l], through = 0;

		for (unsigned i = 0; i <= MOST; i++)
			EXPECT_EQ(wr(mm, P(i), i), 0);
		EXPECT_EQ(mm_protect(mm, VA, P(n), PROT_R), 0);
		for (unsigned i = 0; i < n; i++)
			through += wr(mm, P(i), BAD) == 0;
		EXPECT_EQ(through, 0);
		EXPECT_EQ(wr(mm, P(n), n), 0);
		EXPECT_EQ(mm_protect(mm, VA, P(n), RW), 0);
	}
	mm_bind(NULL);
	mm_put(mm);
}

struct guest {
	struct mm *mm;
	_Atomic int there, leave;
};

/* Keep the table loaded on this CPU until released. */
static void stay(void *arg)
{
	struct guest *g = arg;

	mm_bind(g->mm);
	atomic_store(&g->there, 1);
	while (!atomic_load(&g->leave))
		cpu_pause();
	mm_bind(NULL);
}

/* Count the IPI rounds of an unmap of the mm's first 256 pages. */
static uint64_t rounds(struct mm *mm)
{
	uint64_t before = tlb_shootdown_count();

	EXPECT_EQ(mm_unmap(mm, VA, P(256)), 0);
	return tlb_shootdown_count() - before;
}

static void unmap_three(void *arg)
{
	struct guest *g = arg;
	struct mm *nobodys = written(257), *ours = written(257);
	uint64_t flushes;

	EXPECT_EQ(rounds(nobodys), 0);
	mm_bind(ours);
	flushes = tlb_flush_count();
	EXPECT_EQ(rounds(ours), 0);
	EXPECT(tlb_flush_count() > flushes);
	mm_bind(NULL);

	/* The thread that waits for us may still be on its CPU. */
	while (atomic_load(&g->mm->cpus) != BIT(1))
		yield();
	flushes = rounds(g->mm);
	EXPECT(flushes > 0 && flushes <= 256 / 64 + 1);
	mm_put(nobodys);
	mm_put(ours);
}

TEST_SMP(tlb, cpu_without_the_table_gets_no_ipi,
	 "a table loaded on this CPU only costs no IPI, one loaded elsewhere "
	 "costs one IPI a batch",
	 4)
{
	struct guest g = { .mm = written(257) };
	struct thread *t = thread_create_on(BIT(1), "stay", stay, &g);

	REQUIRE(t);
	while (!atomic_load(&g.there))
		yield();
	on_cpu(0, unmap_three, &g);
	atomic_store(&g.leave, 1);
	thread_join(t);
	mm_put(g.mm);
}
