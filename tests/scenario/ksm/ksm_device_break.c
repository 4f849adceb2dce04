/* SPDX-License-Identifier: MIT */
/*
 * ksm_device_break.c - merged pages are copied, forked and unmapped under devices
 *
 * A merged frame is never written: a device that reads it has no right to write, and
 * a copy, an opt-out, a fork or an exit leaves it to the other spaces (B46, B49).
 */
#include "mm/core/entry.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"

static struct endpoint e; /* of the running test */

/* Makes n mergeable pages of 'A'. */
static struct mm *mergeable_mm(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = fixture_mm(s, n);

	REQUIRE(!ksm_mergeable(mm, VA, P(n)));
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 'A'));
	return mm;
}

/* Makes n merged pages of one frame, which device 0 has read. */
static struct mm *merged_mm(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = mergeable_mm(s, n);

	fixture_bind(s, 0, mm);
	ksm_scans(2);
	EXPECT(is_merged(mm, P(0)));
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(fixture_load(s, 0, P(i)), 'A');
	return mm;
}

static void expect_sound(struct iommu_fixture *s)
{
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(iommu_check(s->iommu));
	EXPECT_STR_NULL(fixture_check(0));
	EXPECT_STR_NULL(fixture_check(1));
}

/* ---- breaks --------------------------------------------------------------- */

static struct {
	struct iommu_fixture *s;
	struct mm *mm;
	unsigned seen, wrong;
} order;

/* Page 1 is written after page 0: a device that reads the new page 1 must not read
 * the old page 0 afterwards. */
static void read_both(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t later, sooner;

	if (mm != (uint64_t)order.mm)
		return;
	later = fixture_read(order.s, 0, P(1));
	sooner = fixture_read(order.s, 0, P(0));
	order.seen++;
	order.wrong += later == 'B' && sooner == 'A';
}

USER_TEST(ksm_break, device_reads_two_breaks_in_order,
	  "while the CPU writes one merged page and then another, the device "
	  "never reads the second one new and the first one old (C19)")
{
	static const char *const at[] = { "range_started", "pte_clear",
					  "range_flushed", "pte_set",
					  "unptl",         "range_ended" };
	struct mm *mm = merged_mm(s, 3);

	order.s = s;
	order.mm = mm;
	order.seen = order.wrong = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		hook(at[i], read_both, NULL);
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	EXPECT_EQ(wr(mm, P(1), 'B'), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		unhook(at[i]);
	EXPECT(order.seen >= 2 * ARRAY_SIZE(at) - 2);
	EXPECT_EQ(order.wrong, 0);
	EXPECT_EQ(fixture_load(s, 0, P(1)), 'B');
	EXPECT(fixture_read(s, 0, P(0)) != 'A');
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	EXPECT_EQ(fixture_load(s, 0, P(2)), 'A');
	expect_sound(s);
}

/* The same, with a device that sends page requests. */
static struct mm *asking(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm;

	fixture_serve(s);
	mm = merged_mm(s, n);
	endpoint_open(&e, s, 0, NULL);
	return mm;
}

USER_TEST(ksm_break, page_request_copies,
	  "a device that writes a merged page causes one fault and gets a "
	  "copy, and the merged frame is unchanged")
{
	struct mm *mm = asking(s, 3);
	struct page *frame = page_at(mm, P(1));

	page_put(frame);
	EXPECT_EQ(endpoint_write(&e, P(1), 'B'), 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(e.stats.fruitless, 0);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(fixture_word(frame), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(2)), 'A');
	expect_sound(s);
	EXPECT_EQ(endpoint_write(&e, P(1), 'A'),
		  0); /* writes in place; equal again */
	ksm_scans(1);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(endpoint_write(&e, P(1), 'C'), 0);
	EXPECT_EQ(fixture_word(frame), 'A');
	expect_sound(s);
}

struct opt_out {
	struct mm *mm;
	unsigned n;
	int ret;
};

static void unmerge(void *arg)
{
	struct opt_out *o = arg;

	o->ret = ksm_unmergeable(o->mm, VA, P(o->n));
}

static void expect_parted(struct iommu_fixture *s, struct mm *mm)
{
	EXPECT_KSM(0, 0, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 'B');
	EXPECT_EQ(rd(mm, P(1)), 'A');
	EXPECT_EQ(rd(mm, P(2)), 'A');
	for (unsigned i = 0; i < 3; i++)
		EXPECT(!is_merged(mm, P(i)));
	EXPECT(!same_frame(mm, P(1), mm, P(2)));
	expect_sound(s);
}

USER_TEST(ksm_break, opt_out_waits_for_a_page_request,
	  "an opt-out during the copy of a page request waits, and each page "
	  "is private with its last content (B49)")
{
	struct mm *mm = asking(s, 3);
	struct opt_out o = { mm, 3, -1 };
	struct endpoint_job job = { .va = P(0), .word = 'B', .write = true };
	struct sync_point g;
	struct task t;

	sync_point_set(&g, "cow_copied", mm);
	endpoint_begin(&e, &job);
	sync_point_await(&g);
	spawn(&t, unmerge, &o);
	EXPECT(still_waits(&t));
	sync_point_release(&g);
	EXPECT_EQ(endpoint_end(&e, &job), 0);
	join(&t);
	EXPECT_EQ(o.ret, 0);
	expect_parted(s, mm);
}

USER_TEST(ksm_break, page_request_waits_for_an_opt_out,
	  "a page request during the copy of an opt-out waits, and then "
	  "writes the page that the opt-out made")
{
	struct mm *mm = asking(s, 3);
	struct opt_out o = { mm, 3, -1 };
	struct endpoint_job job = { .va = P(0), .word = 'B', .write = true };
	struct sync_point g;
	struct task t;

	sync_point_set(&g, "cow_copied", mm);
	spawn(&t, unmerge, &o);
	sync_point_await(&g);
	endpoint_begin(&e, &job);
	for (unsigned i = 0; i < 1000 && !READ_ONCE(e.stats.faults); i++)
		yield();
	EXPECT(!atomic_load(&job.done));
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(o.ret, 0);
	EXPECT_EQ(endpoint_end(&e, &job), 0);
	expect_parted(s, mm);
}

/* ---- many ------------------------------------------------------------------ */

USER_TEST(ksm_break, three_spaces_and_two_devices,
	  "three spaces, two of them with a device, share a frame, and each "
	  "write changes only the page of its own space")
{
	struct mm *mm[3];
	uint64_t tag[3] = { 'A', 'A', 'A' };

	for (unsigned i = 0; i < 3; i++)
		mm[i] = mergeable_mm(s, 1);
	fixture_bind(s, 0, mm[0]);
	fixture_bind(s, 1, mm[1]);
	ksm_scans(2);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_load(s, 1, P(0)), 'A');
	for (unsigned space = 0; space < 3; space++) {
		tag[space] = 'B' + space;
		/* By the translations that they have cached: refused. */
		fixture_write(s, 0, P(0), space ? tag[0] : 'X');
		if (!space)
			fixture_write(s, 1, P(0), 'X');
		EXPECT_EQ(space < 2 ? fixture_store(s, space, P(0), tag[space])
				    : wr(mm[2], P(0), tag[2]),
			  0);
		for (unsigned i = 0; i < 3; i++)
			EXPECT_EQ(rd(mm[i], P(0)), tag[i]);
		for (unsigned i = 0; i < 2; i++)
			EXPECT_EQ(fixture_load(s, i, P(0)), tag[i]);
		EXPECT_KSM(space < 2, space ? 0 : 1, 0, 0);
		expect_sound(s);
	}
}

USER_TEST(ksm_break, fork_shares_and_device_copies,
	  "after a fork the parent's device reads a merged page, writes a "
	  "copy of it, and the copy merges again when it is equal (C102)")
{
	struct mm *mm = merged_mm(s, 2), *child = fixture_fork(mm);

	EXPECT_KSM(1, 3, 0, 0);
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_store(s, 0, P(0), 'B'), 0);
	EXPECT_EQ(rd(child, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'A');
	EXPECT_KSM(1, 2, 0, 0);
	expect_sound(s);
	EXPECT_EQ(wr(child, P(1), 'B'), 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)),
		  'B'); /* cached, with the right to write */
	ksm_scans(2);
	EXPECT_KSM(2, 2, 0, 0);
	EXPECT(same_frame(mm, P(0), child, P(1)));
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(rd(child, P(1)), 'B');
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	expect_sound(s);
	fixture_exit(child);
	EXPECT_KSM(2, 0, 0, 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	EXPECT_EQ(fixture_load(s, 0, P(1)), 'A');
}

/* ---- exit ------------------------------------------------------------------ */

static struct {
	struct iommu_fixture *s;
	unsigned times, wrong;
} stream;

/* The device reads and writes until it is stopped. */
static void read_on(uint64_t a, uint64_t b, void *arg)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t v = fixture_read(stream.s, 0, P(i));

		fixture_write(stream.s, 0, P(i), 'X');
		stream.wrong += v != 'A' && v != BLOCKED;
	}
	stream.times++;
}

USER_TEST(ksm_break, exit_while_the_device_streams,
	  "a space exits while its device uses merged pages: the device reads "
	  "the content or nothing, and the other spaces keep the frame")
{
	struct mm *other = mergeable_mm(s, 2), *mm = merged_mm(s, 2);
	struct page *frame = page_at(other, P(0));

	page_put(frame);
	EXPECT(same_frame(mm, P(0), other, P(1)));
	stream.s = s;
	stream.times = stream.wrong = 0;
	hook("range_flushed", read_on, NULL);
	hook("table_free", read_on, NULL);
	fixture_exit(mm);
	unhook("table_free");
	unhook("range_flushed");
	EXPECT(stream.times > 0);
	EXPECT_EQ(stream.wrong, 0);
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(fixture_word(frame), 'A');
	EXPECT_EQ(rd(other, P(0)), 'A');
	EXPECT_EQ(rd(other, P(1)), 'A');
	expect_sound(s);
}
