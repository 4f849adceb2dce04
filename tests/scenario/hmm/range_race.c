/* SPDX-License-Identifier: MIT */
/*
 * range_race.c - hmm_range_fault() while the range changes (C60), and without memory
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/sweep.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/scenario/hmm/ask.h"

/* ---- collisions (C60) ------------------------------------------------------------ */

/* An invalidation of page 6 when the walk has stopped at page 5. */
static void discard_at_5(uint64_t mm, uint64_t va, void *times)
{
	if (va == P(5) && *(unsigned *)times) {
		--*(unsigned *)times;
		change((struct mm *)mm, 6, 7);
	}
}

TEST(hmm, invalidation_inside_the_call_is_seen,
     "an invalidation of the second half, when the first half is reported, "
     "ends the call with -EBUSY; the second call reports every page as it is "
     "(C60)")
{
	struct mm *mm = written(8);
	unsigned times = 1;

	change(mm, 5, 6);
	ask_begin(mm, 0, 8, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	hook("hmm_walked", discard_at_5, &times);
	EXPECT_EQ(ask_once(), -EBUSY);
	EXPECT_EQ(times, 0);
	EXPECT_EQ(ask_once(), 0);
	unhook("hmm_walked");
	for (unsigned i = 0; i < 8; i++)
		EXPECT(ask_flags(i) == VW && ask_same_frame(mm, i, i));
	EXPECT_EQ(rd(mm, P(4)), 104);
	EXPECT_EQ(rd(mm, P(6)), 0);
	ask_end();
	mm_put(mm);
}

/* Take the right to write from the page that is about to be faulted in, once. */
static void protect_now(uint64_t mm, uint64_t va, void *times)
{
	if (*(unsigned *)times) {
		--*(unsigned *)times;
		EXPECT_EQ(
			mm_protect((struct mm *)mm, va, va + PAGE_SIZE, PROT_R),
			0);
	}
}

TEST(hmm, right_lost_before_the_fault_is_a_collision,
     "a region that loses the right to write between walk and fault ends the "
     "call with -EBUSY; the second call says -EPERM")
{
	struct mm *mm = written(2);
	unsigned times = 1;

	change(mm, 1, 2);
	ask_begin(mm, 0, 2, VW);
	hook("hmm_fault", protect_now, &times);
	EXPECT_EQ(ask_once(), -EBUSY);
	EXPECT_EQ(times, 0);
	unhook("hmm_fault");
	EXPECT_EQ(ask_once(), -EPERM);
	ask_end();
	mm_put(mm);
}

TEST(hmm, own_copy_on_write_is_a_collision,
     "a page that the call itself copies to make it writable invalidates the "
     "interval: -EBUSY once for each such page, then the copy is reported")
{
	struct mm *mm = written(3), *child = fork_of(mm);
	uint64_t before = entry_at(mm, P(1)) & PTE_ADDR;

	ask_begin(mm, 0, 3, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(ask_once(), -EBUSY);
	EXPECT_EQ(ask_once(), 0);
	EXPECT(ask_flags(1) == VW && ask_same_frame(mm, 1, 1));
	EXPECT(hmm_pfn(ask_pfns[1]) << PAGE_SHIFT != before);
	EXPECT_EQ(rd(child, P(1)), 101);
	ask_end();
	mm_put(child);
	mm_put(mm);
}

TEST(hmm, old_sequence_is_busy_at_once,
     "a call with a sequence from before an invalidation reports nothing")
{
	struct mm *mm = written(2);

	ask_begin(mm, 0, 2, 0);
	ask_range.notifier_seq = mmu_interval_read_begin(&ask_watch.mni);
	change(mm, 1, 2);
	ask_pfns[0] = 77;
	EXPECT_EQ(hmm_range_fault(&ask_range), -EBUSY);
	EXPECT_EQ(ask_pfns[0], 77);
	ask_end();
	mm_put(mm);
}

/* ---- a table of reports while the mm changes ---------------------------------------- */

#define SPAN   8u
#define ROUNDS 40u

static struct mm *shared_mm;
static _Atomic unsigned allowed, changes; /* how many may be made, were made */

/* Discard, write or fork, once for each change that is allowed, up to ROUNDS. */
static void change_all(void *unused)
{
	struct rng rng = rng_seed(test_seed());

	for (unsigned n = 0; n < ROUNDS; n++) {
		unsigned i = (unsigned)rng_below(&rng, SPAN);

		while (atomic_load(&allowed) <= n)
			cpu_pause();
		switch (rng_below(&rng, 3)) {
		case 0:
			change(shared_mm, i, i + 1);
			break;
		case 1:
			EXPECT_EQ(wr(shared_mm, P(i), i), 0);
			break;
		default:
			mm_put(fork_of(shared_mm));
		}
		atomic_store(&changes, n + 1);
	}
}

/* Expect that every report is what the CPU's entry says.  Context: the client's lock,
 * read_retry() false, so that no invalidation of the range has passed its start. */
static void compare(struct mm *mm)
{
	for (unsigned i = 0; i < SPAN; i++) {
		uint64_t *slot, e;

		slot = pt_slot(&mm->pt, P(i), 0, false);
		e = slot ? pte_read(slot) : 0;
		if (ask_pfns[i] & V)
			EXPECT(e & PTE_P && (e & PTE_ADDR) >> PAGE_SHIFT ==
						    hmm_pfn(ask_pfns[i]));
		if (ask_pfns[i] & HMM_PFN_WRITE)
			EXPECT(e & PTE_W);
	}
}

TEST_SMP(hmm, reports_are_true_until_the_sequence_moves,
	 "while another CPU discards, writes and forks, each report that "
	 "read_retry() lets pass names the frame and the rights of the CPU's "
	 "entry",
	 2)
{
	struct task t;
	unsigned passed = 0, late = 0;

	shared_mm = mm_fixture(SPAN);
	atomic_store(&allowed, 0);
	atomic_store(&changes, 0);
	ask_begin(shared_mm, 0, SPAN, HMM_PFN_REQ_FAULT);
	spawn_on(&t, BIT(1), change_all, NULL);
	for (unsigned n = 0; n < ROUNDS; n++) {
		int ret;

		/* One change a round: beside the call, after it, or after the
		 * comparison. */
		if (n % 4 == 2)
			atomic_store(&allowed, n + 1);
		ret = ask_once();
		EXPECT(ret == 0 || ret == -EBUSY);
		if (n % 2) {
			atomic_store(&allowed, n + 1);
			while (atomic_load(&changes) <= n)
				cpu_pause();
		}
		spin_lock(&ask_watch.lock);
		if (ret || mmu_interval_read_retry(&ask_watch.mni,
						   ask_range.notifier_seq)) {
			late++;
		} else {
			compare(shared_mm);
			passed++;
		}
		spin_unlock(&ask_watch.lock);
		atomic_store(&allowed, n + 1);
	}
	join(&t);
	EXPECT_EQ(ask_until_done(0), 0);
	test_note("%u reports were true, %u too late", passed, late);
	EXPECT(passed && late);
	ask_end();
	mm_put(shared_mm);
}

/* ---- no memory ----------------------------------------------------------------------- */

static int fault_eight(struct mm *mm)
{
	int ret = mmu_interval_notifier_insert(&ask_watch.mni, mm, P(0),
					       8 * PAGE_SIZE, &watch_ops);

	if (ret)
		return ret;
	ask_range.notifier = &ask_watch.mni;
	ask_range.start = P(0);
	ask_range.end = P(8);
	ask_range.default_flags = VW;
	ret = ask_until_done(8);
	ask_end();
	return ret;
}

/* Discard four pages. */
static void forget_four(struct mm *mm)
{
	change(mm, 0, 4);
}

TEST(hmm, no_memory_is_reported,
     "whichever allocation fails, the call returns -ENOMEM, the contents "
     "stay, and the next call succeeds")
{
	spin_init(&ask_watch.lock, RANK_DOMAIN, "watch");
	sweep(forget_four, fault_eight, SNAP_CONTENTS, 4);
}
