/* SPDX-License-Identifier: MIT */
/*
 * ppr.c - what a page request costs, from log entry to answer
 *
 *   logged ── interrupt, reader ──► taken ── group, worker ──► begun
 *                                                                │ mm_fault()
 *   answer ◄─ command, doorbell, wait ─ mapped ◄── domain_map() ─┘
 *
 * What QEMU and tests/fixture/iommu/pri.h do is before the first and after the last mark; in
 * between it is two calls of the tap.  All threads run on one CPU: switches
 * between them are included.
 */
#include "arch/clock.h"
#include "drivers/lsi.h"
#include "iommu/quirks/quirks.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "tests/bench/bench.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"

#define ROUNDS 256u
#define GROUP  16u

static struct log_fixture {
	struct iommu_fixture *s;
	struct mm *mm;
	struct domain *d;
	uint64_t begun, faulted, mapped;
	unsigned asked, answered;
} log_fixture;

/* As a mirror does for a run, but with its steps apart. */
static enum ppr_status fault(void *arg, va_t va, unsigned pages,
			     enum prot access)
{
	struct log_fixture *k = arg;
	struct segment sg[PPR_GROUP_MAX];

	(void)access;
	k->begun = rdtsc();
	for (unsigned i = 0; i < pages; i++)
		if (mm_fault(k->mm, va + i * PAGE_SIZE, PROT_W))
			return PPR_INVALID;
	k->faulted = rdtsc();
	for (unsigned i = 0; i < pages; i++) {
		struct page *page = page_at(k->mm, va + i * PAGE_SIZE);

		sg[i] = (struct segment){ page_pa(page), PAGE_SIZE };
		page_put(page); /* no other thread changes this mm */
	}
	if (pages == 1 ? domain_map(k->d, va, sg[0].pa, PAGE_SIZE, IO_RW)
		       : domain_map_sg(k->d, va, sg, pages, IO_RW))
		return PPR_INVALID;
	k->mapped = rdtsc();
	return PPR_SUCCESS;
}

static void answered(void *arg, uint16_t devid, uint16_t tag, unsigned status)
{
	struct log_fixture *k = arg;

	(void)devid, (void)tag;
	assert(status == PPR_SUCCESS);
	WRITE_ONCE(k->answered, k->answered + 1);
}

/* n pages from va on, in one group, and wait for the answer. */
static void ask(struct log_fixture *k, va_t va, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct model_ppr r = { .devid = k->s->devid[0],
				       .tag = (uint16_t)(k->asked % 512),
				       .last = i == n - 1,
				       .read = true,
				       .write = true,
				       .iova = va + i * PAGE_SIZE };

		assert(pri_log(pri_word(&r), r.iova));
	}
	k->asked++;
	wait_event(&pri_news, READ_ONCE(k->answered) == k->asked);
}

static void report(const char *name, uint64_t ticks, unsigned count)
{
	bench_report(name, ticks >> 3, count, "instructions");
}

static struct log_fixture *open_log_fixture(struct iommu_fixture *s,
					    unsigned pages)
{
	struct log_fixture *k = &log_fixture;

	*k = (struct log_fixture){ .s = s };
	fixture_serve(s);
	pri_open(s);
	pri_listen(answered, k);
	k->mm = fixture_mm(s, pages);
	return k;
}

/* ---- the steps -------------------------------------------------------------- */

static void steps(struct iommu_fixture *s)
{
	struct log_fixture *k = open_log_fixture(s, ROUNDS + GROUP * ROUNDS);
	uint64_t drain = 0, work = 0, faults = 0, map = 0, answer = 0,
		 group = 0;
	struct ppr_binding *b;

	k->d = fixture_domain(s);
	fixture_attach_as(s, 0, k->d, ATTACH_PPR | ATTACH_ATS);
	assert(!ppr_bind(fixture_ppr(s), s->devid[0], PPR_NO_PASID, fault, k,
			 &b));
	for (unsigned i = 0; i < ROUNDS; i++) {
		ask(k, P(i), 1);
		drain += pri_when.taken - pri_when.logged;
		work += k->begun - pri_when.taken;
		faults += k->faulted - k->begun;
		map += k->mapped - k->faulted;
		answer += pri_when.answered - k->mapped;
	}
	report("ppr_round_trip", drain + work + faults + map + answer, ROUNDS);
	report("ppr_drain", drain, ROUNDS);
	report("ppr_worker", work, ROUNDS);
	report("ppr_fault", faults, ROUNDS);
	report("ppr_map", map, ROUNDS);
	report("ppr_complete", answer, ROUNDS);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ask(k, P(ROUNDS + i * GROUP), GROUP);
		group += pri_when.answered - pri_when.logged;
	}
	report("ppr_page_of_16", group, ROUNDS * GROUP);
}

/* ---- users ------------------------------------------------------------- */

static const char *user_name, *user_group;
static struct endpoint e;

static void user(struct iommu_fixture *s)
{
	struct log_fixture *k = open_log_fixture(s, ROUNDS + GROUP * ROUNDS);
	uint64_t total = 0, group = 0;

	fixture_bind(s, 0, k->mm);
	k->asked = k->answered = 0; /* the chip's own pages */
	for (unsigned i = 0; i < ROUNDS; i++) {
		ask(k, P(i), 1);
		total += pri_when.answered - pri_when.logged;
	}
	report(user_name, total, ROUNDS);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ask(k, P(ROUNDS + i * GROUP), GROUP);
		group += pri_when.answered - pri_when.logged;
	}
	report(user_group, group, ROUNDS * GROUP);
}

static void faults_of_endpoint(struct iommu_fixture *s)
{
	struct log_fixture *k = open_log_fixture(s, ROUNDS);
	uint64_t ns, t;

	fixture_bind(s, 0, k->mm);
	endpoint_open(&e, s, 0, NULL);
	assert(!endpoint_write(&e, P(0), 'A'));
	ns = clock_ns();
	t = bench_start();
	for (unsigned i = 1; i < ROUNDS; i++)
		assert(!endpoint_write(&e, P(i), 'A'));
	bench_report("ppr_faulting_write", bench_stop(t), ROUNDS - 1,
		     "instructions");
	ns = clock_ns() - ns;
	bench_report("ppr_faults_per_second",
		     (ROUNDS - 1) * UINT64_C(1000000000) / ns, 1, "faults");
	assert(e.stats.faults == ROUNDS && !e.stats.fruitless);
}

/* ---- */

static bool possible(void)
{
	if (iommu_machine() && lsi_at(0) && lsi_at(1) &&
	    iommu_quirks()->ppr_tail_writable && iommu_quirks()->ppr_translates)
		return true;
	printk("# no IOMMU with a PPR log, or no lsi0 and lsi1: nothing is "
	       "measured\n");
	return false;
}

BENCH(ppr_steps, "a page request from log entry to answer, step by step")
{
	if (!possible())
		return;
	fixture_test("qemu", steps);
	fixture_release();
}

BENCH(ppr_users, "the same for a device that shares the table, or mirrors it")
{
	if (!possible())
		return;
	user_name = "ppr_sva_round_trip";
	user_group = "ppr_sva_page_of_16";
	fixture_user_test(USER_SVA, "qemu", user);
	fixture_release();
	user_name = "ppr_mirror_round_trip";
	user_group = "ppr_mirror_page_of_16";
	fixture_user_test(USER_MIRROR, "qemu", user);
	fixture_release();
	fixture_user_test(USER_SVA, "qemu", faults_of_endpoint);
	fixture_release();
}
