/* SPDX-License-Identifier: MIT */
/*
 * ppr.c - groups of page requests, each with one answer
 *
 * pri_close() checks after every test that no answer is missing, invented or
 * given twice, and that each has the PASID of its request.
 */
#include "arch/clock.h"
#include "kernel/err.h"
#include "tests/fixture/iommu/fault_server.h"

static struct fault_server p, q;

IOMMU_TEST(ppr, last_request_brings_the_answer,
	   "a group is served, page by page in order, and answered when its "
	   "last request arrives (B51)")
{
	fault_server_open(&p, s, 0);
	fault_server_send(&p, 7, IO(2), false);
	fault_server_send(&p, 7, IO(0), false);
	fault_server_settle(&p);
	EXPECT_EQ(p.calls, 0);
	EXPECT_EQ(fault_server_answered(&p), 0);
	fault_server_send(&p, 7, IO(5), true);
	fault_server_await(&p, 1);
	EXPECT_EQ(p.calls, 3);
	EXPECT_EQ(p.seen[0].va, IO(2));
	EXPECT_EQ(p.seen[1].va, IO(0));
	EXPECT_EQ(p.seen[2].va, IO(5));
	EXPECT_EQ(pri_tally(p.devid, 7).answered[PPR_SUCCESS], 1);
}

IOMMU_TEST(ppr, one_bad_page_fails_its_group,
	   "a bad page in the middle of three brings one answer, INVALID, and "
	   "the page after it is not touched (B53, C107, H55)")
{
	pa_t pa;
	enum prot prot;

	fault_server_open(&p, s, 0);
	fault_server_send(&p, 3, IO(0), false);
	fault_server_send(&p, 3, IO(FAULT_SERVER_PAGES), false);
	fault_server_send(&p, 3, IO(1), true);
	fault_server_await(&p, 1);
	EXPECT_EQ(pri_tally(p.devid, 3).answered[PPR_INVALID], 1);
	EXPECT(domain_lookup(p.d, IO(0), &pa, &prot));
	EXPECT(!domain_lookup(p.d, IO(1), &pa, &prot));
	/* The next group with this tag has none of its pages. */
	fault_server_send(&p, 3, IO(1), true);
	fault_server_await(&p, 2);
	EXPECT_EQ(pri_tally(p.devid, 3).answered[PPR_SUCCESS], 1);
}

IOMMU_TEST(ppr, failure_is_passed_on,
	   "a fault function that returns FAILURE makes the group fail, "
	   "whatever came before")
{
	fault_server_open(&p, s, 0);
	p.outside = PPR_FAILURE;
	fault_server_send(&p, 3, IO(0), false);
	fault_server_send(&p, 3, IO(FAULT_SERVER_PAGES), true);
	fault_server_await(&p, 1);
	EXPECT_EQ(pri_tally(p.devid, 3).answered[PPR_FAILURE], 1);
}

#define GROUPS 40u /* open at once                                          */

/* Return the i-th of three requests of each group. */
static iova_t asked_page(unsigned group, unsigned i)
{
	/* Every fifth group has a bad page, at a different place. */
	if (group % 5 == 2 && i == group / 5 % 3)
		return IO(1000 + group);
	return IO((group * 3 + i) % FAULT_SERVER_PAGES);
}

IOMMU_TEST(ppr, tags_are_independent,
	   "each of forty groups whose requests are interleaved at random has "
	   "its own pages and its own answer")
{
	struct rng rng = rng_seed(test_seed());
	unsigned sent[GROUPS] = { 0 }, left = 3 * GROUPS;

	fault_server_open(&p, s, 0);
	while (left) {
		unsigned g = (unsigned)rng_below(&rng, GROUPS);

		if (sent[g] == 3)
			continue;
		fault_server_send(&p, (uint16_t)(g * 12),
				  asked_page(g, sent[g]), sent[g] == 2);
		sent[g]++;
		left--;
	}
	fault_server_await(&p, GROUPS);
	for (unsigned g = 0; g < GROUPS; g++) {
		struct pri_tally t = pri_tally(p.devid, (uint16_t)(g * 12));

		EXPECT_EQ(t.answered[PPR_INVALID], g % 5 == 2);
		EXPECT_EQ(t.answered[PPR_SUCCESS], g % 5 != 2);
	}
}

IOMMU_TEST(ppr, devices_are_independent,
	   "two devices that use the same tags at once are each served by "
	   "their own function, in their own domain")
{
	pa_t pa;
	enum prot prot;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	for (uint16_t tag = 0; tag < 8; tag++) {
		fault_server_send(&p, tag, IO(tag), false);
		fault_server_send(&q, tag, IO(20 + tag), false);
		fault_server_send(&q, tag, IO(FAULT_SERVER_PAGES), true);
		fault_server_send(&p, tag, IO(8 + tag), true);
	}
	fault_server_await(&p, 8);
	fault_server_await(&q, 8);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 8);
	EXPECT_EQ(fault_server_answers(&q, PPR_INVALID), 8);
	EXPECT(domain_lookup(p.d, IO(15), &pa, &prot));
	EXPECT(!domain_lookup(p.d, IO(20), &pa, &prot));
	EXPECT(domain_lookup(q.d, IO(20), &pa, &prot));
	EXPECT(!domain_lookup(q.d, IO(0), &pa, &prot));
}

IOMMU_TEST(ppr, all_tags,
	   "all 512 tags are answered four times over while the workers run")
{
	fault_server_open(&p, s, 0);
	for (unsigned i = 0; i < 4 * PPR_TAGS; i++) {
		fault_server_send(&p, (uint16_t)(i % PPR_TAGS),
				  IO(i % FAULT_SERVER_PAGES), true);
		if (i % 32 == 31)
			fault_server_await(&p, i + 1);
	}
	for (uint16_t tag = 0; tag < PPR_TAGS; tag++)
		EXPECT_EQ(pri_tally(p.devid, tag).answered[PPR_SUCCESS], 4);
}

IOMMU_TEST(ppr, long_group_is_asked_again,
	   "the requests of a group beyond those that fit are not served; "
	   "SUCCESS makes the device ask again")
{
	fault_server_open(&p, s, 0);
	for (unsigned i = 0; i < FAULT_SERVER_PAGES; i++)
		fault_server_send(&p, 1, IO(i), i == FAULT_SERVER_PAGES - 1);
	fault_server_await(&p, 1);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 1);
	EXPECT_EQ(p.calls, PPR_GROUP_MAX);
	EXPECT_EQ(ppr_stats(&s->ppr).shed, FAULT_SERVER_PAGES - PPR_GROUP_MAX);
}

struct page_request {
	va_t va;
	enum prot access;
};

/* Send one group of pages, which the server serves without a look at them. */
static void send_group(const struct page_request *r, unsigned n)
{
	static uint16_t tag;

	tag++;
	for (unsigned i = 0; i < n; i++) {
		struct model_ppr m = { .devid = p.devid,
				       .tag = tag % PPR_TAGS,
				       .last = i == n - 1,
				       .read = true,
				       .write = r[i].access & PROT_W };

		REQUIRE(pri_log(pri_word(&m), r[i].va));
	}
	fault_server_await_all();
}

IOMMU_TEST(ppr, run_is_one_call,
	   "pages of a group that follow one another with the same access are "
	   "served by one call; a gap, a step back, a page twice, another "
	   "access and the end of all addresses begin a new one")
{
	static const enum prot R = PROT_R;
	static const va_t top = ~UINT64_C(0) << PAGE_SHIFT;
	const struct page_request run[] = { { IO(0), R },
					    { IO(1), R },
					    { IO(2), R } },
				  gap[] = { { IO(0), R }, { IO(2), R } },
				  back[] = { { IO(1), R }, { IO(0), R } },
				  twice[] = { { IO(0), R }, { IO(0), R } },
				  access[] = { { IO(0), R },
					       { IO(1), R },
					       { IO(2), RW },
					       { IO(3), RW } },
				  end[] = { { top, R }, { 0, R } };
	static const unsigned runs[] = { 1, 2, 2, 2, 2, 2 };
	const struct page_request *of[] = {
		run, gap, back, twice, access, end
	};
	static const unsigned pages[] = { 3, 2, 2, 2, 4, 2 };
	unsigned calls = 0, all = 0;

	fault_server_open(&p, s, 0);
	p.in_vain = 1000;
	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		send_group(of[i], pages[i]);
		EXPECT_EQ(p.calls, calls += pages[i]);
		EXPECT_EQ(p.runs, all += runs[i]);
	}
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), ARRAY_SIZE(of));
}

IOMMU_TEST(ppr, access_and_page_arrive_as_sent,
	   "the fault function receives the page's address and exactly the "
	   "rights that the device requested")
{
	static const struct {
		bool r, w, x;
		enum prot prot;
	} kinds[] = {
		{ true, false, false, PROT_R },
		{ false, true, false, PROT_W },
		{ true, true, false, PROT_R | PROT_W },
		{ true, false, true, PROT_R | PROT_X },
	};

	fault_server_open(&p, s, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct model_ppr r = { .devid = p.devid,
				       .tag = 2,
				       .last = true,
				       .read = kinds[i].r,
				       .write = kinds[i].w,
				       .exec = kinds[i].x };

		REQUIRE(pri_log(pri_word(&r), IO(i) | 0xabc));
		fault_server_await(&p, i + 1);
		EXPECT_EQ(p.seen[i].va, IO(i));
		EXPECT_EQ(p.seen[i].n, kinds[i].prot);
	}
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 3);
	EXPECT_EQ(fault_server_answers(&p, PPR_INVALID),
		  1); /* execute was requested */
}

/* ---- several at once --------------------------------------------------- */

/* Two calls that meet in the function, each on its CPU, without yielding. */
static struct meeting {
	_Atomic unsigned here;
	_Atomic uint64_t cpus;
	_Atomic unsigned alone; /* calls that gave up                       */
} meeting;

static enum ppr_status meet(void *arg, va_t va, unsigned pages,
			    enum prot access)
{
	uint64_t end = clock_ns() + UINT64_C(2000000000);

	preempt_disable();
	atomic_fetch_or(&meeting.cpus, BIT(cpu_id()));
	atomic_fetch_add(&meeting.here, 1);
	while (atomic_load(&meeting.here) < 2 && clock_ns() < end)
		cpu_pause();
	if (atomic_load(&meeting.here) < 2)
		atomic_fetch_add(&meeting.alone, 1);
	preempt_enable();
	return PPR_SUCCESS;
}

static void expect_met(void)
{
	EXPECT_EQ(meeting.here, 2);
	EXPECT_EQ(meeting.alone, 0);
	EXPECT(meeting.cpus & (meeting.cpus - 1)); /* two bits */
}

IOMMU_TEST_SMP(ppr, two_workers_at_once,
	       "two groups, of one device or of two, are in fault functions "
	       "on two CPUs at once",
	       2)
{
	struct ppr_binding *b[2];

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	fault_server_unbind(&p);
	fault_server_unbind(&q);
	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!ppr_bind(&s->ppr, s->devid[i], PPR_NO_PASID, meet,
				  NULL, &b[i]));
	meeting = (struct meeting){ 0 };
	fault_server_send(&p, 1, IO(0), true);
	fault_server_send(&q, 1, IO(0), true);
	fault_server_await(&p, 1);
	fault_server_await(&q, 1);
	expect_met();
	if (cpu_count() < 3)
		return; /* one device never has all workers */
	meeting = (struct meeting){ 0 };
	fault_server_send(&p, 1, IO(0), true);
	fault_server_send(&p, 2, IO(0), true);
	fault_server_await(&p, 3);
	expect_met();
}

/* ---- shares ------------------------------------------------------------ */

#define MORE 7u

IOMMU_TEST(ppr, stuck_device_leaves_a_worker,
	   "a device whose every fault blocks does not keep another from its "
	   "answer, and has to repeat the groups that did not fit")
{
	unsigned held;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	p.hold = true;
	for (uint16_t tag = 0; tag < PPR_DEVICE_MAX + MORE; tag++)
		fault_server_send(&p, tag, IO(0), true);
	fault_server_await_calls(&p, s->ppr.share);
	for (unsigned i = 1; i <= 100; i++) {
		fault_server_send(&q, 1, IO(i % FAULT_SERVER_PAGES), true);
		fault_server_await(&q, i);
	}
	held = p.inside;
	EXPECT_EQ(fault_server_answers(&q, PPR_SUCCESS), 100);
	EXPECT_EQ(fault_server_answered(&p), MORE);
	EXPECT_EQ(held, s->ppr.share);
	fault_server_release(&p);
	fault_server_await(&p, PPR_DEVICE_MAX + MORE);
	EXPECT_EQ(p.calls, PPR_DEVICE_MAX);
}

/* Hold the lock of the logs until the task's argument is set. */
static void hold_logs(void *arg)
{
	rw_write_lock(&p.s->iommu->drain);
	wait_event(&pri_news, atomic_load((_Atomic bool *)arg));
	rw_write_unlock(&p.s->iommu->drain);
}

static struct sync_point reader;
static _Atomic unsigned entries_left; /* before it stops */

static void stop_reader(uint64_t a, uint64_t b, void *arg)
{
	if (!atomic_fetch_sub(&entries_left, 1))
		sync_point_enter(&reader);
}

/* Before the n-th entry from now on is handled. */
static void stop_reader_at(unsigned n)
{
	sync_point_set(&reader, NULL, NULL);
	atomic_store(&entries_left, n - 1);
	hook("iommu_log", stop_reader, NULL);
}

IOMMU_TEST(ppr, groups_do_not_wait_for_the_reader,
	   "of two groups that are ready one is served while their reader has "
	   "not come to the end of the log")
{
	fault_server_open(&p, s, 0);
	for (unsigned i = 0; i < 1000; i++)
		yield(); /* until every thread of the IOMMU sleeps */
	stop_reader_at(3);
	rw_write_lock(&s->iommu->drain);
	for (uint16_t tag = 0; tag < 3; tag++)
		fault_server_send(&p, tag, IO(tag), true);
	rw_write_unlock(&s->iommu->drain);
	sync_point_await(&reader);
	fault_server_await(&p, 1);
	unhook("iommu_log");
	sync_point_release(&reader);
	fault_server_await(&p, 3);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 3);
}

IOMMU_TEST(
	ppr, reader_leaves_its_group_to_another,
	"while the thread that has read a group waits to read the logs again, "
	"another serves the group")
{
	_Atomic bool served = false;
	struct task t;

	fault_server_open(&p, s, 0);
	stop_reader_at(1);
	fault_server_send(&p, 1, IO(0), true);
	sync_point_await(&reader);
	unhook("iommu_log");
	spawn(&t, hold_logs, &served);
	EXPECT(still_waits(&t)); /* next in line for the lock */
	iommu_kick(s->iommu);
	sync_point_release(&reader);
	fault_server_await(&p, 1);
	atomic_store(&served, true);
	wake_all(&pri_news);
	join(&t);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 1);
}

#define THIRD 0x7b /* a device id that only the driver knows                */

/* Groups of the other devices that were taken, and how many before THIRD's. */
static unsigned taken, ahead;

/* Context: ppr->lock held. */
static void note_take(uint64_t devid, uint64_t tag, void *arg)
{
	if (devid == THIRD)
		ahead = taken;
	else
		taken++;
}

IOMMU_TEST(ppr, devices_take_turns,
	   "a third device's group is served after few groups of two devices "
	   "that keep all workers busy")
{
	static struct fault_server r;
	unsigned workers;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	workers = s->ppr.most;
	r = (struct fault_server){ .s = s, .devid = THIRD, .in_vain = 1 };
	fault_server_bind(&r, PPR_NO_PASID);
	taken = ahead = 0;
	hook("ppr_take", note_take, NULL);
	p.hold = q.hold = true;
	for (uint16_t tag = 0; tag < PPR_DEVICE_MAX; tag++) {
		fault_server_send(&p, tag, IO(0), true);
		fault_server_send(&q, tag, IO(0), true);
	}
	wait_event(&pri_news, p.inside + q.inside == workers);
	fault_server_send(&r, 1, IO(0), true);
	fault_server_settle(&r);
	EXPECT_EQ(fault_server_answered(&r), 0);
	fault_server_release(&p);
	fault_server_release(&q);
	fault_server_await(&r, 1);
	unhook("ppr_take");
	EXPECT(ahead >= workers && ahead <= 3 * workers);
	fault_server_await(&p, PPR_DEVICE_MAX);
	fault_server_await(&q, PPR_DEVICE_MAX);
}
