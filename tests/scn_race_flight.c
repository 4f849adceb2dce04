/* SPDX-License-Identifier: MIT */
/*
 * scn_race_flight.c - a process goes while its device faults: experiment 8
 *
 * A fault in flight is a thread of the kernel that is about to give the device a
 * page.  It must hold the process, or ask at the last moment whether that is
 * still there.
 */
#include "kernel/err.h"
#include "tests/endpoint.h"
#include "tests/explain.h"
#include "tests/race.h"
#include "tests/stand_mm.h"

static struct endpoint e;
static struct mm *mm;
static struct task t0, t1;

/* ---- a client that looks, or does not ----------------------------------- */

/* A table of the device's own, filled by its faults. */
static struct {
	struct mmu_notifier mn;
	struct domain *domain;
	struct ppr_binding *binding;
	struct spinlock lock; /* RANK_PT, not with it                      */
	bool dead;            /* released                                  */
	bool looks;           /* whether somebody asks that                */
} mirror;
static struct gate looked, t1_turn;
static struct victim victim;
static struct page *page;

static void mirror_release(struct mmu_notifier *mn, struct mm *of)
{
	spin_lock(&mirror.lock);
	mirror.dead = true;
	REQUIRE(!domain_unmap(mirror.domain, A, B));
	spin_unlock(&mirror.lock);
}

static const struct mmu_notifier_ops mirror_ops = { .release = mirror_release };

static enum ppr_status fill(void *arg, va_t va, enum prot access)
{
	bool install;
	uint64_t pa;

	explain_thread("driver");
	REQUIRE(!mm_fault(mm, va, PROT_W));
	pa = entry_at(mm, va) & PTE_ADDR;
	says("looks: page of A");
	gate_enter(&looked);
	spin_lock(&mirror.lock);
	install = !(mirror.looks && mirror.dead);
	says(install ? "installs it" : "the process is gone: INVALID");
	if (install)
		REQUIRE(!domain_map(mirror.domain, va & PAGE_MASK, pa,
				    PAGE_SIZE, IO_RW));
	spin_unlock(&mirror.lock);
	return install ? PPR_SUCCESS : PPR_INVALID;
}

static void exit_p(void *unused)
{
	says("exit");
	mm_put(mm);
}

static void take_page(void *unused)
{
	gate_enter(&t1_turn);
	take(&victim, page);
}

static void mirror_begins(struct stand *s, bool looks)
{
	pri_open(s); /* or it ends here */
	victim_begin(&victim);
	mm = process(1, "P");
	page = name_page(mm, A, "page 1");
	mirror.domain = stand_domain(s);
	mirror.mn = (struct mmu_notifier){ .ops = &mirror_ops };
	mirror.dead = false;
	mirror.looks = looks;
	spin_init(&mirror.lock, RANK_PT, "mirror");
	REQUIRE(!mmu_notifier_register(&mirror.mn, mm));
	REQUIRE(!ppr_bind(stand_ppr(s), s->devid[0], PPR_NO_PASID, fill, NULL,
			  &mirror.binding));
	stand_attach_as(s, 0, mirror.domain, ATTACH_PPR);
	explain_name(EXPLAIN_DOMAIN, mirror.domain->id, "d0");
	endpoint_open(&e, s, 0, &(struct endpoint_config){ .plain = true });
}

/* P exits between the look of a fault and its install.  What does the one who
 * gets A's page read, when the device has gone on? */
static uint64_t exit_in_flight(struct stand *s, bool looks, int error)
{
	struct endpoint_job job = { .va = A, .word = 66, .write = true };
	uint64_t v;

	mirror_begins(s, looks);
	gate_close(&looked, NULL, NULL);
	gate_close(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	endpoint_begin(&e, &job);
	gate_await(&looked);
	go(&t0, 0, "T0", exit_p, NULL);
	join(&t0);
	gate_open(&t1_turn);
	join(&t1);
	gate_open(&looked);
	EXPECT_EQ(endpoint_end(&e, &job), error);
	v = victim_reads(&victim);
	explain_end();
	endpoint_close(&e);
	ppr_unbind(stand_ppr(s), mirror.binding);
	mmu_notifier_unregister(&mirror.mn);
	stand_detach(s, 0);
	victim_end(&victim);
	return v;
}

IOMMU_TEST(race, exit_overtaken_by_a_fault,
	   "a fault that does not ask whether the process is still there gives "
	   "the device a page that is another's")
{
	EXPECT_EQ(exit_in_flight(s, false, 0), 66);
}

IOMMU_TEST(race, exit_refuses_faults_in_flight,
	   "a fault that was in flight when its process exited is answered "
	   "INVALID, and the device has nothing")
{
	EXPECT_EQ(exit_in_flight(s, true, -EFAULT), 77);
}

/* ---- the kernel's own clients ------------------------------------------- */

static struct endpoint e1;
static struct gate serving[2];

/* The workers stand before they ask whether the process is still there. */
static void at_fault(uint64_t va, uint64_t access, void *unused)
{
	gate_enter(&serving[va == B]);
}

/* Device 0 shares P's tables, device 1 mirrors them; each has a fault in flight
 * when P goes, and its last user with it. */
IOMMU_TEST(
	race, exit_answers_every_fault,
	"faults that two devices have in flight when their process exits are "
	"answered INVALID, each once, and no device has anything afterwards")
{
	struct endpoint_job job[2] = { { .va = A, .word = 66, .write = true },
				       { .va = B, .word = 66, .write = true } };

	stand_serve(s);
	mm = stand_mm(s, 2);
	stand_bind_sva(s, 0, mm);
	stand_bind_mirror(s, 1, mm);
	endpoint_open(&e, s, 0, NULL);
	endpoint_open(&e1, s, 1, NULL);
	for (unsigned i = 0; i < 2; i++)
		gate_close(&serving[i], NULL, NULL);
	explain_begin();
	hook("ppr_fault", at_fault, NULL);
	endpoint_begin(&e, &job[0]);
	endpoint_begin(&e1, &job[1]);
	gate_await(&serving[0]);
	gate_await(&serving[1]);
	stand_exit(mm);
	unhook("ppr_fault");
	for (unsigned i = 0; i < 2; i++)
		gate_open(&serving[i]);
	EXPECT_EQ(endpoint_end(&e, &job[0]), -EFAULT);
	EXPECT_EQ(endpoint_end(&e1, &job[1]), -EFAULT);
	for (unsigned i = 0; i < 2; i++) {
		struct pri_tally t = pri_total(s->devid[i]);

		EXPECT_EQ(t.asked, 1);
		EXPECT_EQ(t.answered[PPR_INVALID], 1);
		EXPECT_EQ(stand_read(s, i, A), BLOCKED);
	}
	explain_end();
	endpoint_close(&e1);
	endpoint_close(&e);
}

static void looked_at(uint64_t mirror_of, uint64_t va, void *unused)
{
	gate_enter(&looked);
}

static void drop_p(void *unused)
{
	says("exit");
	stand_exit(mm);
}

/* As exit_overtaken_by_a_fault, step by step, with iommu/mirror.c: the fault has
 * a user of P, and P goes when it is done. */
IOMMU_TEST(
	race, exit_waits_for_a_look,
	"a fault that has looked holds its process: what it installs goes with "
	"the process, before the device is answered")
{
	struct endpoint_job job = { .va = A, .word = 66, .write = true };

	stand_serve(s);
	mm = stand_mm(s, 1);
	EXPECT_EQ(wr(mm, A, 10), 0);
	page = name_page(mm, A, "page 1");
	explain_name(EXPLAIN_ADDRESS, A, "A");
	stand_bind_mirror(s, 0, mm);
	endpoint_open(&e, s, 0, NULL);
	gate_close(&looked, NULL, NULL);
	explain_begin();
	hook("mirror_looked", looked_at, NULL);
	endpoint_begin(&e, &job);
	gate_await(&looked);
	go(&t0, 0, "T0", drop_p, NULL);
	join(&t0);
	EXPECT_EQ(page_maps(page), 1); /* still P's */
	gate_open(&looked);
	unhook("mirror_looked");
	/* P went before the answer, and its device was denied before that. */
	EXPECT_EQ(endpoint_end(&e, &job), -EFAULT);
	explain_end();
	endpoint_close(&e);
}
