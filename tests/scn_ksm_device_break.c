/* SPDX-License-Identifier: MIT */
/*
 * scn_ksm_device_break.c - merged pages part, fork and exit under devices
 *
 * A merged frame is nobody's: a device that reads it has no right to write, and
 * what breaks, unmerges, forks or ends leaves it with who is left (B46, B49).
 */
#include "mm/entry.h"
#include "tests/endpoint.h"
#include "tests/ksm_world.h"
#include "tests/stand_mm.h"

static struct endpoint e; /* of the test */

/* n pages of 'A' that may be merged. */
static struct mm *willing_mm(struct stand *s, unsigned n)
{
	struct mm *mm = stand_mm(s, n);

	REQUIRE(!ksm_mergeable(mm, VA, P(n)));
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 'A'));
	return mm;
}

/* n pages that are one frame, which device 0 reads. */
static struct mm *merged_mm(struct stand *s, unsigned n)
{
	struct mm *mm = willing_mm(s, n);

	stand_bind(s, 0, mm);
	ksm_scans(2);
	EXPECT(is_merged(mm, P(0)));
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(stand_load(s, 0, P(i)), 'A');
	return mm;
}

static void expect_sound(struct stand *s)
{
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(iommu_check(s->iommu));
	EXPECT_STR_NULL(stand_check(0));
	EXPECT_STR_NULL(stand_check(1));
}

/* ---- breaks --------------------------------------------------------------- */

static struct {
	struct stand *s;
	struct mm *mm;
	unsigned seen, wrong;
} order;

/* Page 1 is written behind page 0: who reads the new one reads no old page 0
 * any more. */
static void read_both(uint64_t mm, uint64_t va, void *arg)
{
	uint64_t later, sooner;

	if (mm != (uint64_t)order.mm)
		return;
	later = stand_read(order.s, 0, P(1));
	sooner = stand_read(order.s, 0, P(0));
	order.seen++;
	order.wrong += later == 'B' && sooner == 'A';
}

USER_TEST(ksm_break, device_reads_two_breaks_in_order,
	  "the CPU breaks one merged page, then another: at no step of either "
	  "does the device read the second new and the first old (C19)")
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
	EXPECT_EQ(stand_load(s, 0, P(1)), 'B');
	EXPECT(stand_read(s, 0, P(0)) != 'A');
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
	EXPECT_EQ(stand_load(s, 0, P(2)), 'A');
	expect_sound(s);
}

/* The same, and its device asks for what it may not. */
static struct mm *asking(struct stand *s, unsigned n)
{
	struct mm *mm;

	stand_serve(s);
	mm = merged_mm(s, n);
	endpoint_open(&e, s, 0, NULL);
	return mm;
}

USER_TEST(ksm_break, page_request_breaks,
	  "a device that writes a merged page asks, and gets a copy: one more "
	  "page, one fault, and the others' frame as it was")
{
	struct mm *mm = asking(s, 3);
	struct page *frame = page_at(mm, P(1));

	page_put(frame);
	EXPECT_EQ(endpoint_write(&e, P(1), 'B'), 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(e.stats.fruitless, 0);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(stand_word(frame), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(2)), 'A');
	expect_sound(s);
	EXPECT_EQ(endpoint_write(&e, P(1), 'A'), 0); /* in place, again equal */
	ksm_scans(1);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(endpoint_write(&e, P(1), 'C'), 0);
	EXPECT_EQ(stand_word(frame), 'A');
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

static void expect_parted(struct stand *s, struct mm *mm)
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

USER_TEST(
	ksm_break, opt_out_waits_for_a_page_request,
	"an opt-out while a page request is copying: both are done, each page "
	"is private and holds what was written last (B49)")
{
	struct mm *mm = asking(s, 3);
	struct opt_out o = { mm, 3, -1 };
	struct endpoint_job job = { .va = P(0), .word = 'B', .write = true };
	struct gate g;
	struct task t;

	gate_close(&g, "cow_copied", mm);
	endpoint_begin(&e, &job);
	gate_await(&g);
	spawn(&t, unmerge, &o);
	EXPECT(still_waits(&t));
	gate_open(&g);
	EXPECT_EQ(endpoint_end(&e, &job), 0);
	join(&t);
	EXPECT_EQ(o.ret, 0);
	expect_parted(s, mm);
}

USER_TEST(ksm_break, page_request_waits_for_an_opt_out,
	  "a page request while an opt-out is copying waits, and then writes "
	  "the page that this has made")
{
	struct mm *mm = asking(s, 3);
	struct opt_out o = { mm, 3, -1 };
	struct endpoint_job job = { .va = P(0), .word = 'B', .write = true };
	struct gate g;
	struct task t;

	gate_close(&g, "own_copied", mm);
	spawn(&t, unmerge, &o);
	gate_await(&g);
	endpoint_begin(&e, &job);
	for (unsigned i = 0; i < 1000 && !e.stats.faults; i++)
		yield();
	EXPECT(!atomic_load(&job.done));
	gate_open(&g);
	join(&t);
	EXPECT_EQ(o.ret, 0);
	EXPECT_EQ(endpoint_end(&e, &job), 0);
	expect_parted(s, mm);
}

/* ---- many ------------------------------------------------------------------ */

USER_TEST(ksm_break, three_spaces_and_two_devices,
	  "three spaces, two with a device, share one frame; each writes in "
	  "turn, and only he has changed")
{
	struct mm *mm[3];
	uint64_t tag[3] = { 'A', 'A', 'A' };

	for (unsigned i = 0; i < 3; i++)
		mm[i] = willing_mm(s, 1);
	stand_bind(s, 0, mm[0]);
	stand_bind(s, 1, mm[1]);
	ksm_scans(2);
	EXPECT_KSM(1, 2, 0, 0);
	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	EXPECT_EQ(stand_load(s, 1, P(0)), 'A');
	for (unsigned who = 0; who < 3; who++) {
		tag[who] = 'B' + who;
		/* By what they have cached: refused. */
		stand_write(s, 0, P(0), who ? tag[0] : 'X');
		if (!who)
			stand_write(s, 1, P(0), 'X');
		EXPECT_EQ(who < 2 ? stand_store(s, who, P(0), tag[who])
				  : wr(mm[2], P(0), tag[2]),
			  0);
		for (unsigned i = 0; i < 3; i++)
			EXPECT_EQ(rd(mm[i], P(0)), tag[i]);
		for (unsigned i = 0; i < 2; i++)
			EXPECT_EQ(stand_load(s, i, P(0)), tag[i]);
		EXPECT_KSM(who < 2, who ? 0 : 1, 0, 0);
		expect_sound(s);
	}
}

USER_TEST(ksm_break, forks_share_and_part,
	  "a merged page is forked: the device of the parent reads it, writes "
	  "a copy, and its page merges with the child's when they are equal "
	  "again (C102)")
{
	struct mm *mm = merged_mm(s, 2), *child = stand_fork(mm);

	EXPECT_KSM(1, 3, 0, 0);
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	EXPECT_EQ(stand_store(s, 0, P(0), 'B'), 0);
	EXPECT_EQ(rd(child, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'A');
	EXPECT_KSM(1, 2, 0, 0);
	expect_sound(s);
	EXPECT_EQ(wr(child, P(1), 'B'), 0);
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B'); /* warm, and to write */
	ksm_scans(2);
	EXPECT_KSM(2, 2, 0, 0);
	EXPECT(same_frame(mm, P(0), child, P(1)));
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(rd(child, P(1)), 'B');
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
	expect_sound(s);
	stand_exit(child);
	EXPECT_KSM(2, 0, 0, 0);
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
	EXPECT_EQ(stand_load(s, 0, P(1)), 'A');
}

/* ---- exit ------------------------------------------------------------------ */

static struct {
	struct stand *s;
	unsigned times, wrong;
} stream;

/* The device never rests. */
static void read_on(uint64_t a, uint64_t b, void *arg)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t v = stand_read(stream.s, 0, P(i));

		stand_write(stream.s, 0, P(i), 'X');
		stream.wrong += v != 'A' && v != BLOCKED;
	}
	stream.times++;
}

USER_TEST(ksm_break, exit_while_the_device_streams,
	  "a space exits while its device reads and writes at merged pages: it "
	  "gets the content or nothing, and who is left keeps his frame")
{
	struct mm *other = willing_mm(s, 2), *mm = merged_mm(s, 2);
	struct page *frame = page_at(other, P(0));

	page_put(frame);
	EXPECT(same_frame(mm, P(0), other, P(1)));
	stream.s = s;
	stream.times = stream.wrong = 0;
	hook("range_flushed", read_on, NULL);
	hook("table_free", read_on, NULL);
	stand_exit(mm);
	unhook("table_free");
	unhook("range_flushed");
	EXPECT(stream.times > 0);
	EXPECT_EQ(stream.wrong, 0);
	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(stand_word(frame), 'A');
	EXPECT_EQ(rd(other, P(0)), 'A');
	EXPECT_EQ(rd(other, P(1)), 'A');
	expect_sound(s);
}
