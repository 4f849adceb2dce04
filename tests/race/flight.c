/* SPDX-License-Identifier: MIT */
/*
 * flight.c - a process exits while its device faults: experiment 8
 *
 * A fault in flight is a kernel thread that is about to map a page for the
 * device.  It must hold a reference on the process, or check under the lock of
 * release() whether the process has exited.
 */
#include "kernel/err.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct endpoint e;
static struct mm *mm;
static struct task t0, t1;

/* ---- a client that checks, or does not ---------------------------------- */

/* A table of the device's own, filled by its faults. */
static struct {
	struct mmu_notifier mn;
	struct domain *domain;
	struct ppr_binding *binding;
	struct spinlock lock; /* RANK_PT, never held together with pt_lock */
	bool dead;            /* release() was called                      */
	bool looks;           /* a fault checks `dead`                     */
} mirror;
static struct sync_point looked, t1_turn;
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

static enum ppr_status fill(void *arg, va_t va, unsigned pages,
			    enum prot access)
{
	bool install;
	uint64_t pa;

	explain_thread("driver");
	REQUIRE(pages == 1 && !mm_fault(mm, va, PROT_W));
	pa = entry_at(mm, va) & PTE_ADDR;
	says("looks up A: page 1");
	sync_point_enter(&looked);
	spin_lock(&mirror.lock);
	install = !(mirror.looks && mirror.dead);
	says(install ? "installs page 1" : "process has exited: INVALID");
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
	sync_point_enter(&t1_turn);
	take(&victim, page);
}

static void mirror_begins(struct iommu_fixture *s, bool looks)
{
	pri_open(s); /* skips the test without PRI */
	victim_begin(&victim);
	mm = process(1, "P");
	page = name_page(mm, A, "page 1");
	mirror.domain = fixture_domain(s);
	mirror.mn = (struct mmu_notifier){ .ops = &mirror_ops };
	mirror.dead = false;
	mirror.looks = looks;
	spin_init(&mirror.lock, RANK_PT, "mirror");
	REQUIRE(!mmu_notifier_register(&mirror.mn, mm));
	REQUIRE(!ppr_bind(fixture_ppr(s), s->devid[0], PPR_NO_PASID, fill, NULL,
			  &mirror.binding));
	fixture_attach_as(s, 0, mirror.domain, ATTACH_PPR);
	explain_name(EXPLAIN_DOMAIN, mirror.domain->id, "d0");
	endpoint_open(&e, s, 0, &(struct endpoint_config){ .plain = true });
}

/* P exits between the lookup of a fault and its install.  Returns what the next
 * owner of A's page reads after the device has written. */
static uint64_t exit_in_flight(struct iommu_fixture *s, bool looks, int error)
{
	struct endpoint_job job = { .va = A, .word = 66, .write = true };
	uint64_t v;

	mirror_begins(s, looks);
	sync_point_set(&looked, NULL, NULL);
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	endpoint_begin(&e, &job);
	sync_point_await(&looked);
	go(&t0, 0, "T0", exit_p, NULL);
	join(&t0);
	sync_point_release(&t1_turn);
	join(&t1);
	sync_point_release(&looked);
	EXPECT_EQ(endpoint_end(&e, &job), error);
	v = victim_reads(&victim);
	explain_end();
	endpoint_close(&e);
	ppr_unbind(fixture_ppr(s), mirror.binding);
	mmu_notifier_unregister(&mirror.mn);
	fixture_detach(s, 0);
	victim_end(&victim);
	return v;
}

IOMMU_TEST(race, fault_installs_after_exit,
	   "a fault that does not check whether the process has exited maps a "
	   "page of another process for the device")
{
	EXPECT_EQ(exit_in_flight(s, false, 0), 66);
}

IOMMU_TEST(race, exit_denies_faults_in_flight,
	   "a fault that is in flight when its process exits is answered "
	   "INVALID, and nothing is mapped for the device")
{
	EXPECT_EQ(exit_in_flight(s, true, -EFAULT), 77);
}

/* ---- the kernel's own clients ------------------------------------------- */

static struct endpoint e1;
static struct sync_point serving[2];

/* The workers stop before they check whether the process has exited. */
static void at_fault(uint64_t va, uint64_t access, void *unused)
{
	sync_point_enter(&serving[va == B]);
}

/* Device 0 shares P's tables, device 1 mirrors them; each has a fault in flight
 * when the last user of P drops it. */
IOMMU_TEST(
	race, exit_answers_every_fault,
	"faults that two devices have in flight when their process exits are "
	"answered INVALID, each once, and neither device reaches anything "
	"afterwards")
{
	struct endpoint_job job[2] = { { .va = A, .word = 66, .write = true },
				       { .va = B, .word = 66, .write = true } };

	fixture_serve(s);
	mm = fixture_mm(s, 2);
	fixture_bind_sva(s, 0, mm);
	fixture_bind_mirror(s, 1, mm);
	endpoint_open(&e, s, 0, NULL);
	endpoint_open(&e1, s, 1, NULL);
	for (unsigned i = 0; i < 2; i++)
		sync_point_set(&serving[i], NULL, NULL);
	explain_begin();
	hook("ppr_fault", at_fault, NULL);
	endpoint_begin(&e, &job[0]);
	endpoint_begin(&e1, &job[1]);
	sync_point_await(&serving[0]);
	sync_point_await(&serving[1]);
	fixture_exit(mm);
	unhook("ppr_fault");
	for (unsigned i = 0; i < 2; i++)
		sync_point_release(&serving[i]);
	EXPECT_EQ(endpoint_end(&e, &job[0]), -EFAULT);
	EXPECT_EQ(endpoint_end(&e1, &job[1]), -EFAULT);
	for (unsigned i = 0; i < 2; i++) {
		struct pri_tally t = pri_total(s->devid[i]);

		EXPECT_EQ(t.asked, 1);
		EXPECT_EQ(t.answered[PPR_INVALID], 1);
		EXPECT_EQ(fixture_read(s, i, A), BLOCKED);
	}
	explain_end();
	endpoint_close(&e1);
	endpoint_close(&e);
}

static void looked_at(uint64_t mirror_of, uint64_t va, void *unused)
{
	sync_point_enter(&looked);
}

static void drop_p(void *unused)
{
	says("exit");
	fixture_exit(mm);
}

/* The steps of fault_installs_after_exit with iommu/sva/mirror.c: the fault is a
 * user of P, and P is torn down when the fault is done. */
IOMMU_TEST(race, exit_waits_for_a_lookup,
	   "a fault holds its process from the lookup on: the page that it "
	   "installs "
	   "is removed at exit, before the device is answered")
{
	struct endpoint_job job = { .va = A, .word = 66, .write = true };

	fixture_serve(s);
	mm = fixture_mm(s, 1);
	EXPECT_EQ(wr(mm, A, 10), 0);
	page = name_page(mm, A, "page 1");
	explain_name(EXPLAIN_ADDRESS, A, "A");
	fixture_bind_mirror(s, 0, mm);
	endpoint_open(&e, s, 0, NULL);
	sync_point_set(&looked, NULL, NULL);
	explain_begin();
	hook("shadow_looked", looked_at, NULL);
	endpoint_begin(&e, &job);
	sync_point_await(&looked);
	go(&t0, 0, "T0", drop_p, NULL);
	join(&t0);
	EXPECT_EQ(page_maps(page), 1); /* still P's */
	sync_point_release(&looked);
	unhook("shadow_looked");
	/* P was torn down before the answer, and its device denied before. */
	EXPECT_EQ(endpoint_end(&e, &job), -EFAULT);
	explain_end();
	endpoint_close(&e);
}
