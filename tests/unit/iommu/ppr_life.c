/* SPDX-License-Identifier: MIT */
/*
 * ppr_life.c - bind, unbind, start and stop while devices send requests
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/fixture/iommu/driver_fixture.h"
#include "tests/fixture/iommu/fault_server.h"

#define PROCESS 5u

static struct fault_server p, q;
static struct endpoint e;

static void unbind(void *arg)
{
	struct fault_server *of = arg;

	fault_server_unbind(of);
}

/* ---- unbind ------------------------------------------------------------ */

#define FIVE 5u

IOMMU_TEST(
	ppr, unbind_waits_and_refuses,
	"unbind waits for groups in a fault function and answers the others "
	"INVALID; when it returns no fault function runs any more (B54, C112, "
	"H57)")
{
	struct task t;
	unsigned in_work, calls;

	fault_server_open(&p, s, 0);
	p.hold = true;
	for (uint16_t tag = 0; tag < FIVE; tag++)
		fault_server_send(&p, tag, IO(tag), true);
	fault_server_settle(&p);
	in_work = s->ppr.share;
	fault_server_await_calls(&p, in_work);
	spawn(&t, unbind, &p);
	EXPECT(still_waits(&t));
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 0);
	fault_server_release(&p);
	join(&t);
	calls = p.calls;
	EXPECT_EQ(fault_server_answered(&p), FIVE);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), in_work);
	EXPECT_EQ(fault_server_answers(&p, PPR_INVALID), FIVE - in_work);
	EXPECT_EQ(p.inside, 0);
	fault_server_send(&p, 9, IO(9), true);
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&p, PPR_INVALID), FIVE - in_work + 1);
	EXPECT_EQ(p.calls, calls);
	fault_server_bind(&p, PPR_NO_PASID);
	fault_server_send(&p, 9, IO(9), true);
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), in_work + 1);
}

IOMMU_TEST(ppr, unbind_ends_a_group,
	   "once unbind has begun no further run of a group is served, and "
	   "requests that arrive meanwhile are INVALID at once")
{
	struct task t;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	p.hold = q.hold = true;
	for (unsigned i = 0; i < 3; i++)
		fault_server_send(&p, 1, IO(2 * i), i == 2);
	fault_server_await_calls(&p, 1);
	/* No worker is free: q has all the others. */
	for (uint16_t tag = 0; tag < s->ppr.share; tag++)
		fault_server_send(&q, tag, IO(0), true);
	fault_server_await_calls(&q, s->ppr.share);
	spawn(&t, unbind, &p);
	EXPECT(still_waits(&t));
	fault_server_send(&p, 2, IO(0), true);
	fault_server_await(&p, 1);
	EXPECT_EQ(pri_tally(p.devid, 2).answered[PPR_INVALID], 1);
	EXPECT(still_waits(&t));
	fault_server_release(&p);
	fault_server_release(&q);
	join(&t);
	EXPECT_EQ(pri_tally(p.devid, 1).answered[PPR_INVALID], 1);
	EXPECT_EQ(p.calls, 1);
}

IOMMU_TEST(ppr, unbind_waits_for_the_answer,
	   "unbind waits for a worker that has left the fault function and "
	   "not yet answered (B54)")
{
	struct sync_point g;
	struct task t;

	fault_server_open(&p, s, 0);
	sync_point_set(&g, "ppr_answer",
		       (void *)(uintptr_t)((uint64_t)p.devid << 16 | 1));
	fault_server_send(&p, 1, IO(0), true);
	sync_point_await(&g);
	spawn(&t, unbind, &p);
	EXPECT(still_waits(&t));
	EXPECT_EQ(fault_server_answered(&p), 0);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(fault_server_answered(&p), 1);
}

IOMMU_TEST(ppr, next_process_inherits_no_request,
	   "half a group of a PASID's old binding is not served for its next "
	   "one (C112)")
{
	struct ppr_binding *other;

	fault_server_open(&p, s, 0);
	/* So that the device always has a binding. */
	other = p.binding;
	fault_server_bind(&p, PROCESS);
	for (unsigned i = 0; i < 2; i++) {
		struct model_ppr r = { .devid = p.devid,
				       .tag = 1,
				       .last = i,
				       .read = true,
				       .gn = true,
				       .pasid = PROCESS };

		REQUIRE(pri_log(pri_word(&r), IO(i)));
		fault_server_settle(&p);
		if (i)
			break;
		fault_server_unbind(&p);
		fault_server_bind(&p, PROCESS);
	}
	fault_server_await_all();
	EXPECT_EQ(p.calls, 1);
	EXPECT_EQ(p.seen[0].va, IO(1));
	/* And the device's other process has seen none of it. */
	fault_server_send(&p, 2, IO(2), true);
	fault_server_await_all();
	EXPECT_EQ(p.calls, 2);
	ppr_unbind(&s->ppr, other);
}

/* ---- bind and unbind while the device asks ----------------------------- */

static _Atomic bool bound;

static enum ppr_status only_bound(void *arg, va_t va, unsigned pages,
				  enum prot access)
{
	struct fault_server *of = arg;

	(void)pages, (void)access;
	EXPECT(atomic_load(&bound));
	fault_server_pause();
	EXPECT(atomic_load(&bound));
	return domain_map(of->d, va, page_pa(of->page[0]), PAGE_SIZE, IO_RW)
		       ? PPR_INVALID
		       : PPR_SUCCESS;
}

#define ENOUGH 50u /* faults of each kind                                   */

static _Atomic bool enough;

/*
 * Every fourth turn, wait until the device has had an answer of this turn; the
 * first answer may be of the turn before.
 */
static void linger(struct fault_server *of, unsigned turn)
{
	unsigned n = fault_server_answered(of);

	if (turn % 4 == 0)
		fault_server_await(of, n + 2);
	for (n = turn % 7; n; n--)
		fault_server_pause();
}

static void come_and_go(void *arg)
{
	struct fault_server *of = arg;
	struct ppr_binding *b;

	for (unsigned i = 0; !atomic_load(&enough); i++) {
		atomic_store(&bound, true);
		if (ppr_bind(&of->s->ppr, of->devid, PPR_NO_PASID, only_bound,
			     of, &b))
			test_fail(__FILE__, __LINE__, "bind %u", i);
		linger(of, i);
		ppr_unbind(&of->s->ppr, b);
		atomic_store(&bound, false);
		linger(of, i + 1);
	}
}

IOMMU_TEST(ppr, bind_and_unbind_under_faults,
	   "a device that faults while it is bound and unbound in turn is "
	   "served or gets INVALID, and no fault function runs while it is "
	   "unbound (B54, C113)")
{
	unsigned served = 0, refused = 0;
	uint32_t word;
	struct task t;

	fault_server_open(&p, s, 0);
	fault_server_unbind(&p);
	endpoint_open(&e, s, 0, NULL);
	atomic_store(&enough, false);
	spawn(&t, come_and_go, &p);
	while (!atomic_load(&t.done)) {
		int error = endpoint_read(&e, IOVA, &word);

		EXPECT(error == 0 || error == -EFAULT);
		served += !error;
		refused += error == -EFAULT;
		EXPECT(error || word == p.word);
		REQUIRE(!domain_unmap(p.d, IOVA, IO(1)));
		if (served >= ENOUGH && refused >= ENOUGH)
			atomic_store(&enough, true);
	}
	join(&t);
	EXPECT_EQ(e.stats.fruitless, 0);
	test_note("%u faults served, %u refused", served, refused);
}

/* ---- start, stop, no memory -------------------------------------------- */

IOMMU_TEST(ppr, requests_without_a_server_are_refused,
	   "requests before the server starts and after it stops are INVALID "
	   "with their PASID; entries of unknown kinds are ignored")
{
	struct model_ppr r = {
		.devid = s->devid[0], .tag = 1, .last = true, .read = true
	};

	pri_open(s);
	p.devid = s->devid[0];
	for (unsigned i = 1; i <= 4; i++) {
		if (i == 3)
			fixture_ppr(s);
		if (i == 4) {
			ppr_stop(&s->ppr);
			s->serves = false;
		}
		r.gn = i == 2;
		r.pasid = PROCESS;
		REQUIRE(pri_log(pri_word(&r), IOVA));
		REQUIRE(pri_log(pri_word(&r) ^ BIT(62), IOVA));
		r.last = false;
		REQUIRE(pri_log(pri_word(&r), IOVA));
		r.last = true;
		fault_server_await_all();
		EXPECT_EQ(fault_server_answers(&p, PPR_INVALID), i);
	}
}

IOMMU_TEST(ppr, bind_fails_cleanly,
	   "a bind of a bound PASID is -EBUSY, and a bind without memory is "
	   "-ENOMEM and changes nothing, whichever allocation fails")
{
	struct ppr *ppr = fixture_ppr(s);
	struct ppr_binding *b;
	unsigned n = 0;
	int error;

	fault_server_open(&p, s, 0);
	EXPECT_EQ(ppr_bind(ppr, p.devid, PPR_NO_PASID, only_bound, NULL, &b),
		  -EBUSY);
	do {
		inject_arm(++n);
		error = ppr_bind(ppr, 0x99, 3, only_bound, NULL, &b);
		EXPECT(inject_disarm() == !!error);
		EXPECT(!error || error == -ENOMEM);
	} while (error);
	EXPECT(n > 2); /* a binding, a device */
	ppr_unbind(ppr, b);
	fault_server_send(&p, 1, IO(0), true);
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 1);
}

IOMMU_TEST(ppr, start_fails_cleanly,
	   "a start without memory for a worker is -ENOMEM, leaves no thread, "
	   "and requests are refused as before")
{
	static struct ppr ppr;
	unsigned n = 0, threads = thread_count();
	int error;

	pri_open(s);
	p.devid = s->devid[0];
	do {
		inject_arm(++n);
		error = ppr_start(&ppr, s->iommu);
		EXPECT(inject_disarm() == !!error);
		EXPECT(!error || error == -ENOMEM);
		if (!error)
			break;
		EXPECT_EQ(thread_count(), threads);
		REQUIRE(pri_log(
			pri_word(&(struct model_ppr){ .devid = p.devid,
						      .tag = (uint16_t)n,
						      .last = true }),
			IOVA));
		fault_server_await_all();
	} while (n < 100);
	EXPECT_EQ(fault_server_answers(&p, PPR_INVALID), n - 1);
	ppr_stop(&ppr);
}

/* ---- an IOMMU that does not answer ------------------------------------- */

static enum ppr_status yes(void *arg, va_t va, unsigned pages, enum prot access)
{
	(void)arg, (void)va, (void)pages, (void)access;
	return PPR_SUCCESS;
}

TEST(ppr, dead_ring_ends_the_wait,
     "an IOMMU that accepts no answer blocks neither unbind nor stop forever, "
     "and no answer is counted")
{
	struct driver *v = driver_open(NULL);
	static struct ppr ppr;
	struct ppr_binding *b;

	REQUIRE(!ppr_start(&ppr, &v->iommu));
	REQUIRE(!ppr_bind(&ppr, 8, PPR_NO_PASID, yes, NULL, &b));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	REQUIRE(model_log_request(v->m, UINT64_C(1) << 60 | BIT(41) | 8, IOVA));
	iommu_settle(&v->iommu);
	ppr_unbind(&ppr, b);
	ppr_stop(&ppr);
	driver_capture_end();
	EXPECT_EQ(ppr_stats(&ppr).answers[PPR_SUCCESS], 0);
	EXPECT_EQ(ppr_stats(&ppr).groups, 1);
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	model_step(v->m, 10);
	driver_close(v);
}

TEST(ppr, no_pasid_without_guest_tables,
     "on an IOMMU without guest tables a request with a PASID is malformed, "
     "and its answer has none")
{
	struct driver *v = driver_open(NULL);
	static struct ppr ppr;
	struct ppr_binding *b;

	REQUIRE(!ppr_start(&ppr, &v->iommu));
	REQUIRE(!ppr_bind(&ppr, 8, PPR_NO_PASID, yes, NULL, &b));
	/* The log says GN; the model would halt at an answer with it. */
	REQUIRE(model_log_request(
		v->m, UINT64_C(1) << 60 | BIT(56) | BIT(41) | 8, IOVA));
	while (!v->answers[0][PPR_FAILURE])
		fault_server_pause();
	v->complaints_expected = true; /* the answer lacks the PASID */
	ppr_unbind(&ppr, b);
	ppr_stop(&ppr);
	EXPECT_EQ(ppr_stats(&ppr).malformed, 1);
	driver_close(v);
}
