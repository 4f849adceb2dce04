/* SPDX-License-Identifier: MIT */
/*
 * unit_tlb.c - who is made to forget what, and who is left alone
 *
 * QEMU's TLB holds what was used until it is flushed, so a store that a stale
 * entry lets through is the proof that a flush is missing.
 */
#include "arch/smp.h"
#include "arch/tlb.h"
#include "kernel/err.h"
#include "mm/gather.h"
#include "tests/world.h"

#define MOST (4 * TLB_FLUSH_PAGES)

static struct mm *written(unsigned n)
{
	struct mm *mm = world(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), i + 1);
	return mm;
}

TEST(tlb, ranges_of_any_length_go,
     "page by page or all at once, a range is forgotten to its last page")
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

/* Has the table loaded on its CPU, until it may leave. */
static void stay(void *arg)
{
	struct guest *g = arg;

	mm_bind(g->mm);
	atomic_store(&g->there, 1);
	while (!atomic_load(&g->leave))
		cpu_pause();
	mm_bind(NULL);
}

/* IPI rounds that an unmap of the mm's first 256 pages takes. */
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

	/* Who waits for us may still be on its CPU. */
	while (atomic_load(&g->mm->cpus) != BIT(1))
		yield();
	flushes = rounds(g->mm);
	EXPECT(flushes > 0 && flushes <= 256 / 64 + 1);
	mm_put(nobodys);
	mm_put(ours);
}

TEST_SMP(tlb, who_never_loaded_is_not_interrupted,
	 "no IPI for a table that only we have, one a batch for another's", 4)
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
