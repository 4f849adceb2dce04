/* SPDX-License-Identifier: MIT */
/*
 * rights.c - a right is taken away: experiments 9, 12, 13
 *
 * The page stays the same, so a late flush leaves the device with the right page.
 * The flush is too late as soon as code relies on what the page holds.
 */
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client;
static struct mm *mm, *child;
static struct task t0;

static void begin(struct iommu_fixture *s, const struct mmu_notifier_ops *ops)
{
	FIXTURE_NEEDS(s, caches);
	mm = process(1, "P");
	client_join(&client, s, 0, mm, ops);
	explain_begin();
	device_writes(&client, A, 11);
	EXPECT_EQ(cpu_reads(mm, A), 11);
}

static void end(void)
{
	explain_end();
	client_leave(&client);
	mm_put(mm);
}

static void protect_a(void *unused)
{
	mm_bind(mm);
	EXPECT_EQ(mm_protect(mm, A, B, PROT_R), 0);
	says("mprotect has returned");
}

static void write_12(uint64_t of, uint64_t va, void *unused)
{
	if (of == (uint64_t)mm)
		device_writes(&client, A, 12);
}

static void write_13(uint64_t of, uint64_t va, void *unused)
{
	if (of == (uint64_t)mm)
		device_writes(&client, A, 13);
}

/* ---- 9: protect while a device writes ----------------------------------- */

static uint64_t protected(struct iommu_fixture *s,
			  const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	begin(s, ops);
	hook("range_started", write_12, NULL);
	go(&t0, 0, "T0", protect_a, NULL);
	join(&t0);
	unhook("range_started");
	EXPECT_EQ(cpu_reads(mm, A), 12);
	device_writes(&client, A, 66);
	v = cpu_reads(mm, A);
	EXPECT_EQ(device_reads(&client, A), v); /* it may still read */
	end();
	return v;
}

IOMMU_TEST(race, device_writes_after_protect,
	   "with a flush only in start a device writes to memory that is "
	   "read-only")
{
	EXPECT_EQ(protected(s, &only_start), 66);
}

IOMMU_TEST(race, protect_stops_device_writes,
	   "with a flush after the entry has changed no device write follows "
	   "mprotect, and those before it are kept")
{
	EXPECT_EQ(protected(s, SVA), 12);
}

/* ---- 12: may the flush of a write-protect wait? ------------------------- */

/* T0 stops before end; the entry has lost W. */
static struct sync_point before_end;

static void protect_up_to_end(struct iommu_fixture *s,
			      const struct mmu_notifier_ops *ops)
{
	begin(s, ops);
	sync_point_set(&before_end, "range_end", mm);
	go(&t0, 0, "T0", protect_a, NULL);
	sync_point_await(&before_end);
}

/* Return what the page holds between the unlock and end, and after the end. */
static void waited(struct iommu_fixture *s, const struct mmu_notifier_ops *ops,
		   uint64_t *before, uint64_t *after)
{
	protect_up_to_end(s, ops);
	device_writes(&client, A, 12);
	*before = cpu_reads(mm, A);
	sync_point_release(&before_end);
	join(&t0);
	device_writes(&client, A, 66);
	*after = cpu_reads(mm, A);
	end();
}

IOMMU_TEST(race, write_protect_flush_may_be_late,
	   "a write-protect may be flushed as late as in end: what the device "
	   "writes until then is in the page, and no write follows")
{
	uint64_t before, after;

	waited(s, &only_end, &before, &after);
	EXPECT_EQ(before, 12);
	EXPECT_EQ(after, 12);
	waited(s, SVA, &before, &after);
	EXPECT_EQ(before, 11);
	EXPECT_EQ(after, 11);
}

/* T compares the page before end and relies on the result, as KSM does when it
 * merges.  Returns whether the page has kept its content. */
static bool compared(struct iommu_fixture *s,
		     const struct mmu_notifier_ops *ops)
{
	uint64_t seen, v;

	protect_up_to_end(s, ops);
	seen = cpu_reads(mm, A);
	says("compared: equal to another page");
	device_writes(&client, A, 66);
	sync_point_release(&before_end);
	join(&t0);
	v = cpu_reads(mm, A);
	end();
	return seen == v;
}

IOMMU_TEST(race, late_flush_breaks_a_comparison,
	   "with a flush in end a page that was compared before end changes "
	   "afterwards")
{
	EXPECT(!compared(s, &only_end));
}

IOMMU_TEST(race, compared_page_does_not_change,
	   "with a flush under the page-table lock a page that is compared "
	   "after it does not change")
{
	EXPECT(compared(s, SVA));
}

/* ---- 13: fork while a device writes ------------------------------------- */

static void fork_p(void *unused)
{
	mm_bind(mm);
	child = fork_of(mm);
	says("fork has returned");
}

/* The device writes during the invalidation, after W was taken, after the fork,
 * and after a page request. */
static uint64_t forked(struct iommu_fixture *s,
		       const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	begin(s, ops);
	hook("range_started", write_12, NULL);
	hook("fork_shared", write_13, NULL);
	go(&t0, 0, "T0", fork_p, NULL);
	join(&t0);
	unhook("fork_shared");
	unhook("range_started");
	EXPECT_EQ(cpu_reads(mm, A), 13);
	EXPECT_EQ(rd(child, A), 13);
	device_writes(&client, A, 66);
	v = rd(child, A);
	PROBE(child_read, A, v);
	return v;
}

static void forked_end(void)
{
	mm_put(child);
	end();
}

IOMMU_TEST(race, fork_leaks_into_the_child,
	   "without a flush after W was taken, what a device writes in the "
	   "parent after a fork appears in the child")
{
	EXPECT_EQ(forked(s, &only_start), 66);
	forked_end();
}

IOMMU_TEST(race, fork_keeps_what_was_written,
	   "a device's write before a fork has ended is seen by parent and "
	   "child, a later write only by the parent")
{
	EXPECT_EQ(forked(s, SVA), 13);
	EXPECT_EQ(cpu_reads(mm, A), 13);
	says("page request A, to write");
	EXPECT_EQ(sva_fault(&client.sva, A, PROT_W), 0);
	device_writes(&client, A, 67);
	EXPECT_EQ(cpu_reads(mm, A), 67);
	EXPECT_EQ(rd(child, A), 13);
	forked_end();
}
