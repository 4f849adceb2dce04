/* SPDX-License-Identifier: MIT */
/*
 * unit_ppr.c - groups of page requests, and their one answer
 *
 * That no answer is missing, invented or given twice, and that each carries the
 * PASID of its request, is looked at after every test by pri_close().
 */
#include "arch/clock.h"
#include "kernel/err.h"
#include "tests/pager.h"

static struct pager p, q;

IOMMU_TEST(ppr, last_request_brings_the_answer,
	   "a group is served and answered when its last request came, not "
	   "before, page by page in order (B51)")
{
	pager_open(&p, s, 0);
	pager_send(&p, 7, IO(2), false);
	pager_send(&p, 7, IO(0), false);
	pager_settle(&p);
	EXPECT_EQ(p.calls, 0);
	EXPECT_EQ(pager_answered(&p), 0);
	pager_send(&p, 7, IO(5), true);
	pager_await(&p, 1);
	EXPECT_EQ(p.calls, 3);
	EXPECT_EQ(p.seen[0].va, IO(2));
	EXPECT_EQ(p.seen[1].va, IO(0));
	EXPECT_EQ(p.seen[2].va, IO(5));
	EXPECT_EQ(pri_tally(p.devid, 7).answered[PPR_SUCCESS], 1);
}

IOMMU_TEST(
	ppr, one_bad_page_fails_its_group,
	"of three pages the middle one is bad: one answer, INVALID, and what "
	"comes after it is not touched (B53, C107, H55)")
{
	pa_t pa;
	enum prot prot;

	pager_open(&p, s, 0);
	pager_send(&p, 3, IO(0), false);
	pager_send(&p, 3, IO(PAGER_PAGES), false);
	pager_send(&p, 3, IO(1), true);
	pager_await(&p, 1);
	EXPECT_EQ(pri_tally(p.devid, 3).answered[PPR_INVALID], 1);
	EXPECT(domain_lookup(p.d, IO(0), &pa, &prot));
	EXPECT(!domain_lookup(p.d, IO(1), &pa, &prot));
	/* The next group with this tag has nothing of it. */
	pager_send(&p, 3, IO(1), true);
	pager_await(&p, 2);
	EXPECT_EQ(pri_tally(p.devid, 3).answered[PPR_SUCCESS], 1);
}

IOMMU_TEST(ppr, failure_is_passed_on,
	   "a fault function that says FAILURE has the group fail, whatever "
	   "came before")
{
	pager_open(&p, s, 0);
	p.outside = PPR_FAILURE;
	pager_send(&p, 3, IO(0), false);
	pager_send(&p, 3, IO(PAGER_PAGES), true);
	pager_await(&p, 1);
	EXPECT_EQ(pri_tally(p.devid, 3).answered[PPR_FAILURE], 1);
}

#define GROUPS 40u /* open at once                                          */

/* The i-th of three requests of each group. */
static iova_t asked_page(unsigned group, unsigned i)
{
	/* Every fifth group has a bad one, at a different place. */
	if (group % 5 == 2 && i == group / 5 % 3)
		return IO(1000 + group);
	return IO((group * 3 + i) % PAGER_PAGES);
}

IOMMU_TEST(
	ppr, tags_do_not_mix,
	"forty groups whose requests come interleaved, in random order: each "
	"has its own pages and its own answer")
{
	struct rng rng = rng_seed(test_seed());
	unsigned sent[GROUPS] = { 0 }, left = 3 * GROUPS;

	pager_open(&p, s, 0);
	while (left) {
		unsigned g = (unsigned)rng_below(&rng, GROUPS);

		if (sent[g] == 3)
			continue;
		pager_send(&p, (uint16_t)(g * 12), asked_page(g, sent[g]),
			   sent[g] == 2);
		sent[g]++;
		left--;
	}
	pager_await(&p, GROUPS);
	for (unsigned g = 0; g < GROUPS; g++) {
		struct pri_tally t = pri_tally(p.devid, (uint16_t)(g * 12));

		EXPECT_EQ(t.answered[PPR_INVALID], g % 5 == 2);
		EXPECT_EQ(t.answered[PPR_SUCCESS], g % 5 != 2);
	}
}

IOMMU_TEST(ppr, devices_do_not_mix,
	   "two devices use the same tags at the same time: each is served by "
	   "its own, in its own domain")
{
	pa_t pa;
	enum prot prot;

	pager_open(&p, s, 0);
	pager_open(&q, s, 1);
	for (uint16_t tag = 0; tag < 8; tag++) {
		pager_send(&p, tag, IO(tag), false);
		pager_send(&q, tag, IO(20 + tag), false);
		pager_send(&q, tag, IO(PAGER_PAGES), true);
		pager_send(&p, tag, IO(8 + tag), true);
	}
	pager_await(&p, 8);
	pager_await(&q, 8);
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), 8);
	EXPECT_EQ(pager_answers(&q, PPR_INVALID), 8);
	EXPECT(domain_lookup(p.d, IO(15), &pa, &prot));
	EXPECT(!domain_lookup(p.d, IO(20), &pa, &prot));
	EXPECT(domain_lookup(q.d, IO(20), &pa, &prot));
	EXPECT(!domain_lookup(q.d, IO(0), &pa, &prot));
}

IOMMU_TEST(ppr, all_tags,
	   "all 512 tags, four times over, while the workers run")
{
	pager_open(&p, s, 0);
	for (unsigned i = 0; i < 4 * PPR_TAGS; i++) {
		pager_send(&p, (uint16_t)(i % PPR_TAGS), IO(i % PAGER_PAGES),
			   true);
		if (i % 32 == 31)
			pager_await(&p, i + 1);
	}
	for (uint16_t tag = 0; tag < PPR_TAGS; tag++)
		EXPECT_EQ(pri_tally(p.devid, tag).answered[PPR_SUCCESS], 4);
}

IOMMU_TEST(ppr, long_group_is_asked_again,
	   "of a group with more requests than are remembered the rest is not "
	   "served: SUCCESS makes the device ask again")
{
	pager_open(&p, s, 0);
	for (unsigned i = 0; i < PAGER_PAGES; i++)
		pager_send(&p, 1, IO(i), i == PAGER_PAGES - 1);
	pager_await(&p, 1);
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), 1);
	EXPECT_EQ(p.calls, PPR_GROUP_MAX);
	EXPECT_EQ(ppr_stats(&s->ppr).shed, PAGER_PAGES - PPR_GROUP_MAX);
}

IOMMU_TEST(ppr, access_and_page_arrive_as_sent,
	   "the fault function gets the page, without what lies below it, and "
	   "exactly the rights that the device asked for")
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

	pager_open(&p, s, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct model_ppr r = { .devid = p.devid,
				       .tag = 2,
				       .last = true,
				       .read = kinds[i].r,
				       .write = kinds[i].w,
				       .exec = kinds[i].x };

		REQUIRE(pri_log(pri_word(&r), IO(i) | 0xabc));
		pager_await(&p, i + 1);
		EXPECT_EQ(p.seen[i].va, IO(i));
		EXPECT_EQ(p.seen[i].n, kinds[i].prot);
	}
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), 3);
	EXPECT_EQ(pager_answers(&p, PPR_INVALID), 1); /* to execute */
}

/* ---- several at once ------------------------------------------------------- */

/* Two who meet inside, each on its CPU, without letting anybody else run. */
static struct meeting {
	_Atomic unsigned here;
	_Atomic uint64_t cpus;
	_Atomic unsigned alone; /* gave up                                  */
} meeting;

static enum ppr_status meet(void *arg, va_t va, enum prot access)
{
	uint64_t end = clock_ns() + UINT64_C(2000000000);

	(void)arg, (void)va, (void)access;
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
	       "two groups of one device, and of two devices, are in fault "
	       "functions at the same moment on two CPUs",
	       2)
{
	struct ppr_binding *b[2];

	pager_open(&p, s, 0);
	pager_open(&q, s, 1);
	pager_unbind(&p);
	pager_unbind(&q);
	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!ppr_bind(&s->ppr, s->devid[i], PPR_NO_PASID, meet,
				  NULL, &b[i]));
	meeting = (struct meeting){ 0 };
	pager_send(&p, 1, IO(0), true);
	pager_send(&q, 1, IO(0), true);
	pager_await(&p, 1);
	pager_await(&q, 1);
	expect_met();
	if (cpu_count() < 3)
		return; /* one device never has all workers */
	meeting = (struct meeting){ 0 };
	pager_send(&p, 1, IO(0), true);
	pager_send(&p, 2, IO(0), true);
	pager_await(&p, 3);
	expect_met();
}

/* ---- shares ------------------------------------------------------------------ */

#define MORE 7u

IOMMU_TEST(ppr, stuck_device_leaves_a_worker,
	   "a device whose every fault stands still, with more groups than it "
	   "can hold, does not keep another from its answer; those that it "
	   "cannot hold it has to ask again")
{
	unsigned held;

	pager_open(&p, s, 0);
	pager_open(&q, s, 1);
	p.hold = true;
	for (uint16_t tag = 0; tag < PPR_DEVICE_MAX + MORE; tag++)
		pager_send(&p, tag, IO(0), true);
	pager_await_calls(&p, s->ppr.n_workers - 1);
	for (unsigned i = 1; i <= 100; i++) {
		pager_send(&q, 1, IO(i % PAGER_PAGES), true);
		pager_await(&q, i);
	}
	held = p.inside;
	EXPECT_EQ(pager_answers(&q, PPR_SUCCESS), 100);
	EXPECT_EQ(pager_answered(&p), MORE);
	EXPECT_EQ(held, s->ppr.n_workers - 1);
	pager_release(&p);
	pager_await(&p, PPR_DEVICE_MAX + MORE);
	EXPECT_EQ(p.calls, PPR_DEVICE_MAX);
}

/* Faults of p and q that had begun when r's first did. */
static _Atomic unsigned ahead;

static enum ppr_status note_ahead(void *arg, va_t va, enum prot access)
{
	(void)arg, (void)va, (void)access;
	atomic_store(&ahead, atomic_load(&p.calls) + atomic_load(&q.calls));
	return PPR_SUCCESS;
}

#define THIRD 0x7b /* a device id: nobody but the driver needs to know it   */

IOMMU_TEST(ppr, devices_take_turns,
	   "two devices that keep all workers busy, with long queues, let a "
	   "third's group in after a few of their own")
{
	struct ppr_binding *b;
	struct pager r = { .s = s, .devid = THIRD };
	unsigned workers;

	pager_open(&p, s, 0);
	pager_open(&q, s, 1);
	workers = s->ppr.n_workers;
	REQUIRE(!ppr_bind(&s->ppr, THIRD, PPR_NO_PASID, note_ahead, NULL, &b));
	p.hold = q.hold = true;
	for (uint16_t tag = 0; tag < PPR_DEVICE_MAX; tag++) {
		pager_send(&p, tag, IO(0), true);
		pager_send(&q, tag, IO(0), true);
	}
	wait_event(&pri_news, p.inside + q.inside == workers);
	pager_send(&r, 1, IO(0), true);
	pager_settle(&r);
	EXPECT_EQ(pager_answered(&r), 0);
	pager_release(&p);
	pager_release(&q);
	pager_await(&r, 1);
	EXPECT(ahead >= workers && ahead <= 3 * workers);
	pager_await(&p, PPR_DEVICE_MAX);
	pager_await(&q, PPR_DEVICE_MAX);
}
