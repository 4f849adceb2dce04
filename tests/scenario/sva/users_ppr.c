/* SPDX-License-Identifier: MIT */
/*
 * users_ppr.c - a device in an address space that sends page requests
 *
 * The endpoint misses, a page request goes through log, worker and fault, and
 * the answer lets it retry: no test here calls the fault function itself.
 */
#include "arch/layout.h"
#include "kernel/err.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

static struct endpoint e; /* of the test */

/* An mm of n untouched pages, device 0 bound to it, the endpoint on device 0. */
static struct mm *asking(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = fixture_mm(s, n);

	fixture_serve(s);
	fixture_bind(s, 0, mm);
	endpoint_open(&e, s, 0, NULL);
	return mm;
}

USER_TEST(requests, read_then_write,
	  "a page request to read an untouched page maps zeroes, one to write "
	  "maps a page, and the CPU reads what the device wrote (C106)")
{
	struct mm *mm = asking(s, 2);
	uint32_t word = 1;

	EXPECT_EQ(endpoint_read(&e, P(0), &word), 0);
	EXPECT_EQ(word, 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(endpoint_write(&e, P(0), 'A'), 0);
	EXPECT_EQ(e.stats.faults, 2);
	EXPECT_EQ(endpoint_write(&e, P(0) + 8, 'B'), 0);
	EXPECT_EQ(e.stats.faults, 2);
	EXPECT_EQ(e.stats.fruitless, 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(0) + 8), 'B');
	EXPECT_EQ(fixture_word(zero_page), 0);
}

USER_TEST(requests, device_breaks_a_copy,
	  "a device that writes after a fork sends a page request, and gets a "
	  "copy (C23, C24)")
{
	struct mm *mm = asking(s, 1), *child;
	uint32_t word;

	EXPECT_EQ(endpoint_write(&e, P(0), 'A'), 0);
	child = fixture_fork(mm);
	EXPECT_EQ(endpoint_read(&e, P(0), &word), 0);
	EXPECT_EQ(word, 'A');
	EXPECT_EQ(endpoint_write(&e, P(0), 'B'), 0);

	EXPECT_EQ(rd(mm, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'A');
	EXPECT_EQ(e.stats.fruitless, 0);
}

USER_TEST(requests, request_is_refused_like_a_cpu_access,
	  "a page request for a hole, a write to a read-only region or a "
	  "kernel address is answered INVALID, and nothing is allocated (B52)")
{
	struct mm *mm = asking(s, 2);
	uint32_t word;

	REQUIRE(!mm_protect(mm, P(1), P(2), PROT_R));
	EXPECT_EQ(endpoint_read(&e, P(2), &word), -EFAULT);
	EXPECT_EQ(endpoint_write(&e, P(1), 'X'), -EFAULT);
	EXPECT_EQ(entry_at(mm, P(1)), 0);
	EXPECT_EQ(endpoint_read(&e, 0, &word), -EFAULT);
	if (s->model)
		EXPECT_EQ(endpoint_read(&e, KERNEL_BASE, &word), -EFAULT);
	EXPECT_EQ(e.state, ENDPOINT_RUNS);
	EXPECT_EQ(endpoint_write(&e, P(0), 'A'), 0);
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

USER_TEST(requests, execution_is_refused,
	  "a page request to execute is answered INVALID, even where a CPU may "
	  "execute: no table of a device has that right (C106)")
{
	struct mm *mm = asking(s, 1);
	struct model_ppr ask = { .devid = s->devid[0],
				 .tag = 77,
				 .last = true,
				 .read = true,
				 .exec = true,
				 .user = true,
				 .iova = P(0) };

	REQUIRE(!mm_protect(mm, P(0), P(1), PROT_R | PROT_X));
	REQUIRE(pri_send(&ask) == PRI_LOGGED);
	while (pri_unanswered())
		yield();
	EXPECT_EQ(pri_tally(ask.devid, ask.tag).answered[PPR_INVALID], 1);
	EXPECT_EQ(entry_at(mm, P(0)), 0);
}

USER_TEST(requests, group_has_one_answer,
	  "a group of sixteen page requests has one answer, and is refused if "
	  "one of its pages is (B53, C107)")
{
	struct mm *mm = asking(s, 16);

	EXPECT_EQ(endpoint_ask(&e, P(0), 16, true), 0);
	for (unsigned i = 0; i < 16; i++) {
		fixture_write(s, 0, P(i), 'A' + i);
		EXPECT_EQ(rd(mm, P(i)), 'A' + i);
	}
	EXPECT_EQ(endpoint_ask(&e, P(8), 16, true), -EFAULT);
	EXPECT_EQ(e.stats.faults, 2);
}

/* ---- the end, with faults in work --------------------------------------- */

static void unbind(void *s)
{
	fixture_unbind(s, 0);
}

/* Begin an unbind: it has denied, begins no fault any more, and waits. */
static void begin_unbind(struct iommu_fixture *s, struct task *t)
{
	const struct ppr_binding *b = fixture_binding(0)->ppr_binding;

	spawn(t, unbind, s);
	/* The faults in progress, which are stopped, keep the binding. */
	while (!READ_ONCE(b->dying) && !atomic_load(&t->done))
		yield();
	EXPECT(still_waits(t));
}

USER_TEST(requests, exit_with_a_fault_in_progress,
	  "when the mm exits during a fault the fault is answered, the device "
	  "is denied, and the next fault finds no mm (C114)")
{
	struct mm *mm = asking(s, 2);
	struct endpoint_job job = { .va = P(0), .word = 'A', .write = true };
	struct sync_point g;
	uint32_t word;

	sync_point_set(&g, "fault_fresh", mm);
	endpoint_begin(&e, &job);
	sync_point_await(&g);
	fixture_exit(mm); /* the fault is the last user now */
	sync_point_release(&g);

	EXPECT_EQ(endpoint_end(&e, &job), -EFAULT);
	EXPECT_EQ(endpoint_read(&e, P(1), &word), -EFAULT);
	EXPECT_EQ(e.state, ENDPOINT_RUNS);
}

USER_TEST(requests, unbind_waits_for_the_fault,
	  "an unbind returns when no fault is in progress and every page "
	  "request has its answer (B54, C112)")
{
	struct mm *mm = asking(s, 2);
	struct endpoint_job job = { .va = P(0), .word = 'A', .write = true };
	struct task t;
	struct sync_point g;

	EXPECT_EQ(endpoint_write(&e, P(1), 'B'), 0);
	sync_point_set(&g, "fault_fresh", mm);
	endpoint_begin(&e, &job);
	sync_point_await(&g);
	begin_unbind(s, &t);
	EXPECT_EQ(fixture_read(s, 0, P(1)), BLOCKED); /* denied already */
	sync_point_release(&g);
	join(&t);

	EXPECT_EQ(pri_unanswered(), 0);
	EXPECT_EQ(endpoint_end(&e, &job), -EFAULT);
	EXPECT_EQ(rd(mm, P(0)), 0);
}

#define MANY 8u

static struct {
	struct mm *mm;
	_Atomic unsigned inside;
	_Atomic bool open;
} held;

static void hold(uint64_t mm, uint64_t va, void *arg)
{
	if (mm != (uint64_t)held.mm)
		return;
	atomic_fetch_add(&held.inside, 1);
	while (!atomic_load(&held.open))
		yield();
}

/* Send page requests to write each of MANY pages at once; stop as many faults in
 * progress as one device may have, and return their number. */
static unsigned ask_for_many(struct iommu_fixture *s, struct mm *mm)
{
	unsigned most = s->ppr.share;

	held.mm = mm;
	atomic_store(&held.inside, 0);
	atomic_store(&held.open, false);
	hook("fault_fresh", hold, NULL);
	for (unsigned i = 0; i < MANY; i++)
		REQUIRE(pri_send(&(struct model_ppr){
				.devid = s->devid[0],
				.tag = (uint16_t)(100 + i),
				.last = true,
				.write = true,
				.user = true,
				.iova = P(i) }) == PRI_LOGGED);
	while (atomic_load(&held.inside) < most)
		yield();
	return most;
}

static void let_them_go(void)
{
	atomic_store(&held.open, true);
	while (pri_unanswered())
		yield();
	unhook("fault_fresh");
}

USER_TEST(requests, unbind_with_many_queued,
	  "an unbind completes the faults in progress and refuses those that "
	  "are queued, and each page request has one answer (C112, B51)")
{
	struct mm *mm = asking(s, MANY);
	unsigned most = ask_for_many(s, mm), there = 0;
	struct pri_tally tally;
	struct task t;

	EXPECT(most < MANY);
	begin_unbind(s, &t);
	let_them_go();
	join(&t);

	tally = pri_total(s->devid[0]);
	EXPECT_EQ(tally.answered[PPR_SUCCESS], most);
	EXPECT_EQ(tally.answered[PPR_INVALID], MANY - most);
	for (unsigned i = 0; i < MANY; i++)
		there += entry_at(mm, P(i)) != 0;
	EXPECT_EQ(there, most);
}

USER_TEST(requests, exit_with_many_queued,
	  "an exit waits for the faults in progress, each page request has one "
	  "answer, and then the mm has no user (C114, B51)")
{
	struct mm *mm = asking(s, MANY);
	unsigned most = ask_for_many(s, mm);
	struct pri_tally tally;
	uint32_t word;

	fixture_exit(mm);
	let_them_go();

	tally = pri_total(s->devid[0]);
	EXPECT(tally.answered[PPR_SUCCESS] >= most);
	EXPECT_EQ(tally.answered[PPR_SUCCESS] + tally.answered[PPR_INVALID],
		  MANY);
	EXPECT_EQ(endpoint_read(&e, P(0), &word), -EFAULT);
}

/* ---- all at once -------------------------------------------------------- */

#define TURNS  75u
#define COUNTS 75u
#define HOT    4u /* pages; the device counts in the first word of each       */

/* What a CPU does to an address space without taking what is in it. */
static void disturb(struct mm *mm, unsigned i, uint64_t *seen)
{
	struct mm *child;
	struct page *page;

	switch (i % 5) {
	case 0:
		child = fork_of(mm);
		for (unsigned p = 0; p < HOT; p++) {
			uint64_t v = rd(child, P(p));

			EXPECT_EQ(rd(child, P(p)), v); /* frozen */
			EXPECT(v >= seen[p]);
			seen[p] = v;
		}
		mm_put(child);
		break;
	case 1: /* breaks a copy, or writes in place */
		REQUIRE(!wr(mm, P(i / 5 % HOT) + 16, i));
		break;
	case 2:
		page = page_at(mm, P(i / 5 % HOT));
		if (!page)
			break;
		if (!try_to_unmap(page))
			EXPECT_EQ(rd(mm, P(0)) >= seen[0], true);
		page_put(page);
		break;
	case 3:
		REQUIRE(!mm_protect(mm, P(0), P(HOT), PROT_R));
		REQUIRE(!mm_protect(mm, P(0), P(HOT), RW));
		break;
	default: /* tables come and go beside */
		REQUIRE(!mm_map(mm, P(600), PAGE_SIZE, RW, 0, NULL, 0, NULL));
		REQUIRE(!wr(mm, P(600), i));
		REQUIRE(!mm_unmap(mm, P(600), P(601)));
	}
}

struct counting {
	_Atomic bool stop;
	_Atomic unsigned done; /* writes                                    */
	uint64_t count[HOT];
};

/* The device: count up each page's first word. */
static void count_up(void *arg)
{
	struct counting *c = arg;

	for (unsigned i = 0; !atomic_load(&c->stop); i++) {
		unsigned p = i % HOT;
		uint32_t word;
		int error = endpoint_read(&e, P(p), &word);

		if (!error) {
			EXPECT_EQ(word, c->count[p]);
			error = endpoint_write(&e, P(p), word + 1);
		}
		c->count[p] += !error;
		atomic_fetch_add(&c->done, !error);
		/* Read-only for a moment: it may not, and says so. */
		if (!error || error == -EFAULT)
			continue;
		EXPECT_EQ(error, 0);
		break;
	}
}

USER_TEST(requests, no_write_is_lost,
	  "a device that increments words in pages that are forked, copied, "
	  "evicted and protected meanwhile loses no count and adds none twice "
	  "(B8, B42)")
{
	static struct counting c;
	uint64_t seen[HOT] = { 0 };
	struct mm *mm = asking(s, HOT);
	struct task device;

	c = (struct counting){ .stop = false };
	e.limit = 1000000; /* a granted page may be gone at once, many times */
	spawn(&device, count_up, &c);
	for (unsigned i = 0;
	     i < TURNS || (atomic_load(&c.done) < COUNTS && !device.done);
	     i++) {
		disturb(mm, i, seen);
		yield();
	}
	atomic_store(&c.stop, true);
	join(&device);

	EXPECT_EQ(e.state, ENDPOINT_RUNS);
	for (unsigned p = 0; p < HOT; p++)
		EXPECT_EQ(rd(mm, P(p)), c.count[p]);
}
