/* SPDX-License-Identifier: MIT */
/*
 * unit_ppr_life.c - bind, unbind, start and stop while devices ask
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/driver.h"
#include "tests/pager.h"

#define PROCESS 5u

static struct pager p, q;
static struct endpoint e;

static void unbind(void *arg)
{
	struct pager *of = arg;

	pager_unbind(of);
}

/* ---- unbind --------------------------------------------------------------- */

#define FIVE 5u

IOMMU_TEST(
	ppr, unbind_waits_and_refuses,
	"unbind with five groups there: those in a fault function are waited "
	"for, the others INVALID; all are answered when it returns, and no "
	"fault function runs any more (B54, C112, H57)")
{
	struct task t;
	unsigned in_work, calls;

	pager_open(&p, s, 0);
	p.hold = true;
	for (uint16_t tag = 0; tag < FIVE; tag++)
		pager_send(&p, tag, IO(tag), true);
	pager_settle(&p);
	in_work = s->ppr.n_workers - 1;
	pager_await_calls(&p, in_work);
	spawn(&t, unbind, &p);
	EXPECT(still_waits(&t));
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), 0);
	pager_release(&p);
	join(&t);
	calls = p.calls;
	EXPECT_EQ(pager_answered(&p), FIVE);
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), in_work);
	EXPECT_EQ(pager_answers(&p, PPR_INVALID), FIVE - in_work);
	EXPECT_EQ(p.inside, 0);
	pager_send(&p, 9, IO(9), true);
	pager_await_all();
	EXPECT_EQ(pager_answers(&p, PPR_INVALID), FIVE - in_work + 1);
	EXPECT_EQ(p.calls, calls);
	pager_bind(&p, PPR_NO_PASID);
	pager_send(&p, 9, IO(9), true);
	pager_await_all();
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), in_work + 1);
}

IOMMU_TEST(
	ppr, unbind_cuts_a_group,
	"of a group in work no further page is served once unbind has begun, "
	"and what comes while it waits is INVALID at once")
{
	struct task t;

	pager_open(&p, s, 0);
	pager_open(&q, s, 1);
	p.hold = q.hold = true;
	for (unsigned i = 0; i < 3; i++)
		pager_send(&p, 1, IO(i), i == 2);
	pager_await_calls(&p, 1);
	/* No worker is left: q has all the others. */
	for (uint16_t tag = 0; tag < s->ppr.n_workers - 1; tag++)
		pager_send(&q, tag, IO(0), true);
	pager_await_calls(&q, s->ppr.n_workers - 1);
	spawn(&t, unbind, &p);
	EXPECT(still_waits(&t));
	pager_send(&p, 2, IO(0), true);
	pager_await(&p, 1);
	EXPECT_EQ(pri_tally(p.devid, 2).answered[PPR_INVALID], 1);
	EXPECT(still_waits(&t));
	pager_release(&p);
	pager_release(&q);
	join(&t);
	EXPECT_EQ(pri_tally(p.devid, 1).answered[PPR_INVALID], 1);
	EXPECT_EQ(p.calls, 1);
}

IOMMU_TEST(ppr, unbind_waits_for_the_answer,
	   "a worker that has left the fault function and not yet answered "
	   "holds unbind up, too (B54)")
{
	struct gate g;
	struct task t;

	pager_open(&p, s, 0);
	gate_close(&g, "ppr_answer",
		   (void *)(uintptr_t)((uint64_t)p.devid << 16 | 1));
	pager_send(&p, 1, IO(0), true);
	gate_await(&g);
	spawn(&t, unbind, &p);
	EXPECT(still_waits(&t));
	EXPECT_EQ(pager_answered(&p), 0);
	gate_open(&g);
	join(&t);
	EXPECT_EQ(pager_answered(&p), 1);
}

IOMMU_TEST(ppr, next_process_inherits_nothing,
	   "half a group of a process that has gone is not served for the next "
	   "one with its number (C112)")
{
	struct ppr_binding *other;

	pager_open(&p, s, 0);
	/* So that the device is never without a binding. */
	other = p.binding;
	pager_bind(&p, PROCESS);
	for (unsigned i = 0; i < 2; i++) {
		struct model_ppr r = { .devid = p.devid,
				       .tag = 1,
				       .last = i,
				       .read = true,
				       .gn = true,
				       .pasid = PROCESS };

		REQUIRE(pri_log(pri_word(&r), IO(i)));
		pager_settle(&p);
		if (i)
			break;
		pager_unbind(&p);
		pager_bind(&p, PROCESS);
	}
	pager_await_all();
	EXPECT_EQ(p.calls, 1);
	EXPECT_EQ(p.seen[0].va, IO(1));
	/* And the other process of the device has seen nothing of it all. */
	pager_send(&p, 2, IO(2), true);
	pager_await_all();
	EXPECT_EQ(p.calls, 2);
	ppr_unbind(&s->ppr, other);
}

/* ---- bind and unbind while the device asks -------------------------------- */

static _Atomic bool bound;

static enum ppr_status only_bound(void *arg, va_t va, enum prot access)
{
	struct pager *of = arg;

	(void)access;
	EXPECT(atomic_load(&bound));
	pager_pause();
	EXPECT(atomic_load(&bound));
	return domain_map(of->d, va, page_pa(of->page[0]), PAGE_SIZE, IO_RW)
		       ? PPR_INVALID
		       : PPR_SUCCESS;
}

#define ENOUGH 50u /* faults of each kind                                   */

static _Atomic bool enough;

/* Every fourth time until the device has had an answer of this turn: the first
 * that comes may be of the turn before. */
static void linger(struct pager *of, unsigned turn)
{
	unsigned n = pager_answered(of);

	if (turn % 4 == 0)
		pager_await(of, n + 2);
	for (n = turn % 7; n; n--)
		pager_pause();
}

static void come_and_go(void *arg)
{
	struct pager *of = arg;
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
	   "a device that faults while it is bound and unbound again and again "
	   "is served or told INVALID; nobody's fault function runs before its "
	   "bind or after its unbind (B54, C113)")
{
	unsigned served = 0, refused = 0;
	uint32_t word;
	struct task t;

	pager_open(&p, s, 0);
	pager_unbind(&p);
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

/* ---- start, stop, no memory -------------------------------------------------- */

IOMMU_TEST(ppr, unserved_is_refused,
	   "as long as nobody serves, and when nobody does any more, requests "
	   "are INVALID, with their PASID; entries of unknown kinds are left "
	   "alone")
{
	struct model_ppr r = {
		.devid = s->devid[0], .tag = 1, .last = true, .read = true
	};

	pri_open(s);
	p.devid = s->devid[0];
	for (unsigned i = 1; i <= 4; i++) {
		if (i == 3)
			stand_ppr(s);
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
		pager_await_all();
		EXPECT_EQ(pager_answers(&p, PPR_INVALID), i);
	}
}

IOMMU_TEST(
	ppr, bind_fails_cleanly,
	"a place that is taken is -EBUSY; without memory bind is -ENOMEM and "
	"has changed nothing, whichever allocation it was")
{
	struct ppr *ppr = stand_ppr(s);
	struct ppr_binding *b;
	unsigned n = 0;
	int error;

	pager_open(&p, s, 0);
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
	pager_send(&p, 1, IO(0), true);
	pager_await_all();
	EXPECT_EQ(pager_answers(&p, PPR_SUCCESS), 1);
}

IOMMU_TEST(
	ppr, start_fails_cleanly,
	"start without memory for a worker is -ENOMEM, leaves no thread, and "
	"requests are refused as before")
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
		pager_await_all();
	} while (n < 100);
	EXPECT_EQ(pager_answers(&p, PPR_INVALID), n - 1);
	ppr_stop(&ppr);
}

/* ---- an IOMMU that does not answer -------------------------------------------- */

static enum ppr_status yes(void *arg, va_t va, enum prot access)
{
	(void)arg, (void)va, (void)access;
	return PPR_SUCCESS;
}

TEST(ppr, dead_ring_ends_the_wait,
     "an IOMMU that takes no answer any more does not keep unbind and stop for "
     "ever, and nothing is counted as answered")
{
	struct driver *v = driver_open(NULL);
	static struct ppr ppr;
	struct ppr_binding *b;

	REQUIRE(!ppr_start(&ppr, &v->iommu));
	REQUIRE(!ppr_bind(&ppr, 8, PPR_NO_PASID, yes, NULL, &b));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_hush_hung(v);
	REQUIRE(model_log_request(v->m, UINT64_C(1) << 60 | BIT(41) | 8, IOVA));
	iommu_settle(&v->iommu);
	ppr_unbind(&ppr, b);
	ppr_stop(&ppr);
	driver_speak();
	EXPECT_EQ(ppr_stats(&ppr).answers[PPR_SUCCESS], 0);
	EXPECT_EQ(ppr_stats(&ppr).groups, 1);
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	model_step(v->m, 10);
	driver_close(v);
}

TEST(ppr, no_guest_no_process,
     "on an IOMMU without guest tables a request that names a process is "
     "malformed, and its answer names none")
{
	struct driver *v = driver_open(NULL);
	static struct ppr ppr;
	struct ppr_binding *b;

	REQUIRE(!ppr_start(&ppr, &v->iommu));
	REQUIRE(!ppr_bind(&ppr, 8, PPR_NO_PASID, yes, NULL, &b));
	/* The log says GN; the model would halt at an answer that does. */
	REQUIRE(model_log_request(
		v->m, UINT64_C(1) << 60 | BIT(56) | BIT(41) | 8, IOVA));
	while (!v->answers[0][PPR_FAILURE])
		pager_pause();
	v->complaints_expected = true; /* it does not carry the PASID */
	ppr_unbind(&ppr, b);
	ppr_stop(&ppr);
	EXPECT_EQ(ppr_stats(&ppr).malformed, 1);
	driver_close(v);
}
