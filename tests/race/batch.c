/* SPDX-License-Identifier: MIT */
/*
 * batch.c - one flush for many evictions: experiment 27
 *
 * Reclaim clears the entries of a batch, and flushes once.  A thread that comes between
 * the two finds nothing mapped, and so has nothing to flush itself.  mprotect, munmap and
 * fork need mm->lock to write, and come after the batch; a discard and a fault do not.
 */
#include "mm/reclaim/reclaim.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client;
static struct mm *mm;
static struct task t0;
static struct sync_point before_end;
static _Atomic bool pending; /* T0 has not come to its flush yet              */

/* The flush of the batch is made after pt_lock has been dropped, and T does not look
 * whether there is one. */
static void end_of_batch(struct mmu_notifier *mn,
			 const struct mmu_notifier_range *range)
{
	if (!atomic_load(&pending))
		client_flush(container_of(mn, struct client, mn), range->start,
			     range->end);
}

static const struct mmu_notifier_ops pending_flush = { .invalidate_range_end =
							       end_of_batch };

static void reclaim(void *unused)
{
	mm_bind(mm);
	EXPECT_EQ(mm_reclaim(mm, 2), 2);
}

/* After the aging, which flushes; before the clear. */
static void device_caches(uint64_t of, uint64_t va, void *unused)
{
	device_reads(&client, A);
	device_reads(&client, B);
}

/* T0 reclaims A and B, which the device has written, and is between the unlock and end. */
static void reclaim_up_to_end(struct iommu_fixture *s,
			      const struct mmu_notifier_ops *ops)
{
	FIXTURE_NEEDS(s, caches);
	swap_fixture_begin(8);
	mm = process(2, "P");
	client_join(&client, s, 0, mm, ops);
	atomic_store(&pending, true);
	explain_begin();
	device_writes(&client, A, 11);
	device_writes(&client, B, 12);
	sync_point_set(&before_end, "range_end", mm);
	hook("range_started", device_caches, NULL);
	go(&t0, 0, "T0", reclaim, NULL);
	sync_point_await(&before_end);
	unhook("range_started");
}

static void reclaim_ends(void)
{
	atomic_store(&pending, false);
	sync_point_release(&before_end);
	join(&t0);
}

static void finish(void)
{
	explain_end();
	client_leave(&client);
	mm_put(mm);
	swap_fixture_end();
}

/* T discards A and writes 7.  Returns what the device reads. */
static uint64_t discarded(struct iommu_fixture *s,
			  const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	reclaim_up_to_end(s, ops);
	EXPECT_EQ(mm_discard(mm, A, B), 0);
	cpu_writes(mm, A, 7);
	v = device_reads(&client, A);
	device_writes(&client, B, 66); /* before B is stored                 */
	reclaim_ends();
	EXPECT_EQ(cpu_reads(mm, A), 7);
	EXPECT_EQ(cpu_reads(mm, B), v == 7 ? 12 : 66);
	finish();
	return v;
}

IOMMU_TEST(race, discard_beside_a_pending_flush,
	   "if the flush of a batch comes after the unlock, a device reads a "
	   "page that was discarded and is a new one (C78, H40)")
{
	EXPECT_EQ(discarded(s, &pending_flush), 11);
}

IOMMU_TEST(
	race, discard_beside_a_batch,
	"with one flush of a batch under the lock a device reads the new page "
	"(C78, H40)")
{
	EXPECT_EQ(discarded(s, SVA), 7);
}
