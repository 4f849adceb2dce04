/* SPDX-License-Identifier: MIT */
/*
 * guest_many.c - several vCPUs of a guest, several guests, guests beside devices
 */
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sweep.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"
#include "tests/stress/stress.h"
#include "tests/timeline/explain.h"

#define ROUNDS 200u /* until one is not hit by a tick                       */

static struct resident first, second, third;

/* ---- two vCPUs ------------------------------------------------------------ */

static struct mm *mm;
static uint64_t exits[2];
static bool stayed; /* the second, in guest mode                        */

static void begin(void)
{
	mm = mm_fixture(1);
	resident_start(&first, guest_form(), mm);
	resident_join(&second, first.guest, mm, cpu_count() - 2);
}

static void end(void)
{
	resident_stop(&second);
	resident_stop(&first);
	mm_put(mm);
}

/* Both have read page 0; it is discarded; what does each read then, not kicking those
 * CPUs? */
static void discard_under_both(uint64_t unkicked, uint64_t seen[2])
{
	struct resident *r[2] = { &first, &second };
	struct victim next;
	struct page *page;

	victim_begin(&next);
	wr(mm, P(0), 100);
	resident_tick(&first, false);
	resident_tick(&second, false);
	guest_kick(first.guest);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(guest_reads(r[i], P(0)), 100);
	page = page_at(mm, P(0));
	page_put(page);
	resident_explain(&first, mm, page);
	for (unsigned i = 0; i < 2; i++) {
		exits[i] = resident_exits(r[i]);
		EXPECT_EQ(guest_reads(r[i], P(0)), 100);
	}
	kicks_hidden(&first, unkicked);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	kicks_shown();
	take(&next, page);
	for (unsigned i = 0; i < 2; i++)
		seen[i] = guest_peeks(r[i], P(0));
	stayed = resident_exits(&second) == exits[1];
	explain_end();
	resident_tick(&second, true);
	resident_tick(&first, true);
	victim_end(&next);
}

FORM_TEST(
	guest, kick_reaches_every_vcpu,
	"after a discard no vCPU of the guest reads the page, though both were "
	"in guest mode with its translation",
	3, caches)
{
	struct rounds all = rounds(20 * stress_times());
	uint64_t seen[2];
	unsigned i = 0;

	begin();
	for (; rounds_more(&all, i); i++) {
		discard_under_both(0, seen);
		EXPECT_EQ(seen[0], BAD);
		EXPECT_EQ(seen[1], BAD);
	}
	right_rounds(i);
	end();
}

FORM_TEST(guest, kick_of_one_vcpu_is_not_enough,
	  "where only one of two vCPUs is kicked the other one reads the frame "
	  "of the page's next owner",
	  3, caches)
{
	uint64_t seen[2];
	unsigned n = 0;

	begin();
	do
		discard_under_both(BIT(cpu_count() - 2), seen);
	while (!stayed && ++n < ROUNDS);
	EXPECT(n < ROUNDS);
	EXPECT_EQ(seen[0], BAD);
	EXPECT_EQ(seen[1], 77);
	end();
}

static void two_fault_one_page(void)
{
	begin();
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(guest_writes(&first, P(0), i + 1), 0);
		EXPECT_EQ(guest_reads(&second, P(0)), i + 1);
		EXPECT_EQ(guest_writes(&second, P(0) + 8, i + 2), 0);
		EXPECT_EQ(guest_reads(&first, P(0) + 8), i + 2);
		EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	}
	end();
}

TEST(guest, vcpus_share_their_memory,
     "each vCPU of a guest reads what the other one wrote")
{
	with_each_form(two_fault_one_page);
}

/* ---- several guests ------------------------------------------------------- */

static void one_process(void)
{
	mm = mm_fixture(2);
	resident_start(&first, &guest_own, mm);
	resident_start(&second, &guest_shared, mm);
	resident_start(&third, &guest_own, mm);
	EXPECT_EQ(guest_writes(&first, P(0), 1), 0);
	EXPECT_EQ(guest_reads(&second, P(0)), 1);
	EXPECT_EQ(guest_writes(&second, P(0), 2), 0);
	EXPECT_EQ(guest_reads(&third, P(0)), 2);
	EXPECT_EQ(guest_writes(&third, P(1), 3), 0);
	EXPECT_EQ(rd(mm, P(1)), 3);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	EXPECT_EQ(guest_reads(&third, P(0)), 0);
	EXPECT_EQ(guest_reads(&second, P(0)), 0);
	EXPECT_EQ(guest_reads(&first, P(0)), 0);
	resident_stop(&second);
	EXPECT_EQ(guest_reads(&first, P(1)), 3);
	resident_stop(&first);
	mm_put(mm);
	EXPECT_EQ(guest_reads(&third, P(1)), BAD);
	resident_stop(&third);
}

/* They are on one CPU: a guest that waits in guest mode must be preempted. */
TEST(guest, several_guests_of_one_process,
     "guests of both forms of one process read what the others wrote, and one "
     "that ends leaves the others alone")
{
	need_svm();
	on_cpu(0, (void (*)(void *))one_process, NULL);
}

static void two_processes(void)
{
	struct mm *child;

	mm = mm_fixture(1);
	wr(mm, P(0), 1);
	resident_start(&first, guest_form(), mm);
	EXPECT_EQ(guest_reads(&first, P(0)), 1);
	child = fork_of(mm);
	resident_start(&second, guest_form(), child);
	EXPECT_EQ(guest_reads(&second, P(0)), 1);
	EXPECT_EQ(guest_writes(&second, P(0), 2), 0);
	EXPECT_EQ(guest_reads(&first, P(0)), 1);
	EXPECT_EQ(guest_writes(&first, P(0), 3), 0);
	EXPECT_EQ(guest_reads(&second, P(0)), 2);
	EXPECT_EQ(rd(child, P(0)), 2);
	resident_stop(&second);
	mm_put(child);
	resident_stop(&first);
	mm_put(mm);
}

TEST(guest, guests_of_parent_and_child,
     "the guests of a process and of its child share what was written before "
     "the fork and nothing that was written later")
{
	with_each_form(two_processes);
}

/* ---- guests beside devices ------------------------------------------------ */

static struct iommu_fixture *fixture;

/* The next change is made with everything cached everywhere. */
static void all_read(va_t va, uint64_t value)
{
	EXPECT_EQ(rd(mm, va), value);
	EXPECT_EQ(guest_reads(&first, va), value);
	EXPECT_EQ(guest_reads(&second, va), value);
	EXPECT_EQ(fixture_load(fixture, 0, va), value);
	EXPECT_EQ(fixture_load(fixture, 1, va), value);
}

static void five_mmus(void *unused)
{
	struct mm *child;
	va_t at;

	(void)unused;
	resident_start(&first, &guest_own, mm);
	resident_start(&second, &guest_shared, mm);
	wr(mm, P(0), 1);
	wr(mm, P(1), 2);
	all_read(P(0), 1);
	EXPECT_EQ(guest_writes(&first, P(0), 3), 0);
	all_read(P(0), 3);
	EXPECT_EQ(guest_writes(&second, P(0), 4), 0);
	all_read(P(0), 4);
	EXPECT_EQ(fixture_store(fixture, 0, P(0), 5), 0);
	all_read(P(0), 5);
	child = fork_of(mm);
	all_read(P(0), 5);
	EXPECT_EQ(fixture_store(fixture, 1, P(0), 6), 0); /* copies */
	all_read(P(0), 6);
	EXPECT_EQ(guest_writes(&second, P(1), 7), 0); /* copies */
	all_read(P(1), 7);
	EXPECT_EQ(mm_remap(mm, P(1), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
	EXPECT_EQ(guest_reads(&first, P(1)), BAD);
	EXPECT_EQ(guest_reads(&second, P(1)), BAD);
	all_read(P(8), 7);
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	all_read(P(0), 0);
	EXPECT_EQ(rd(child, P(0)), 5);
	EXPECT_EQ(rd(child, P(1)), 2);
	mm_put(child);
	resident_stop(&second);
	resident_stop(&first);
}

IOMMU_TEST(guest, beside_devices,
	   "CPU, a device and a guest on the process's own table, a mirrored "
	   "device and a guest with a table of its own: after each change all "
	   "five read the same")
{
	need_svm();
	fixture = s;
	mm = fixture_mm(s, 2);
	fixture_bind_sva(s, 0, mm);
	fixture_bind_mirror(s, 1, mm);
	on_cpu(0, five_mmus, NULL);
}

/* ---- without memory --------------------------------------------------------- */

/* Make a guest, let it fault once, and undo it. */
static int make(struct mm *mm, const struct guest_form *form)
{
	static struct guest g;
	static struct vcpu v;
	int error = guest_create(&g, form, mm);

	if (error)
		return error;
	if (form->empty)
		error = guest_add_slot(&g, &resident_memory);
	if (!error)
		error = vcpu_create(&v, &g);
	if (!error) {
		error = form->fault(&g, P(0), PROT_R);
		vcpu_destroy(&v);
	}
	guest_destroy(&g);
	return error;
}

static int make_own(struct mm *mm)
{
	return make(mm, &guest_own);
}

static int make_shared(struct mm *mm)
{
	return make(mm, &guest_shared);
}

TEST(guest, sweep,
     "making a guest and its first fault survive the failure of each of their "
     "allocations")
{
	need_svm();
	sweep(NULL, make_own, SNAP_CONTENTS, 6); /* 4 tables, VMCB, chain */
	sweep(NULL, make_shared, SNAP_CONTENTS, 2);
}
