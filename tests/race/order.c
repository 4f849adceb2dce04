/* SPDX-License-Identifier: MIT */
/*
 * order.c - a page is replaced: experiments 4, 5
 *
 * A copy gives an address another page.  Until the caches that hold the old
 * translation are flushed, a CPU and a device read two values at one address;
 * that breaks the order in which a third observer sees writes happen.
 */
#include "mm/pt/pt_amdv1.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client d0, d1;
static struct mm *mm, *child;
static struct task t[4];

/* ---- 4: two addresses (mmu_notifier.rst) -------------------------------- */

/* T0 and T1 stop after their page-table lock, each at its own sync point. */
static struct sync_point unlocked[2];

static void after_unlock(uint64_t of, uint64_t va, void *unused)
{
	if (of == (uint64_t)mm && (va == A || va == B))
		sync_point_enter(&unlocked[va == B]);
}

/* Take the fault of a store to a shared page. */
static void break_a(void *unused)
{
	mm_bind(mm);
	says("write fault at A");
	EXPECT_EQ(mm_fault(mm, A, PROT_W), 0);
}

static void break_b(void *unused)
{
	mm_bind(mm);
	says("write fault at B");
	EXPECT_EQ(mm_fault(mm, B, PROT_W), 0);
}

static void write_a(void *unused)
{
	cpu_writes(mm, A, 21);
}

/* Write B after the new A has been read. */
static void write_b(void *unused)
{
	EXPECT_EQ(cpu_reads(mm, A), 21);
	cpu_writes(mm, B, 21);
}

static void two_devices(struct iommu_fixture *s,
			const struct mmu_notifier_ops *ops)
{
	FIXTURE_NEEDS(s, caches);
	mm = process(2, "P");
	child = fork_of(mm); /* both pages are shared now: a write copies */
	client_join(&d0, s, 0, mm, ops);
	client_join(&d1, s, 1, mm, ops);
}

static void two_devices_end(void)
{
	client_leave(&d1);
	client_leave(&d0);
	mm_put(child);
	mm_put(mm);
}

/*
 * Run the figure of mmu_notifier.rst.  QEMU drops a whole domain for any flush,
 * which hides that T1's end flushes only B: on QEMU device 1 has not read B
 * before, and T1 waits too.
 */
static void two_addresses(struct iommu_fixture *s,
			  const struct mmu_notifier_ops *ops, uint64_t *b,
			  uint64_t *a)
{
	two_devices(s, ops);
	for (unsigned i = 0; i < 2; i++)
		sync_point_set(&unlocked[i], NULL, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&d0, A), 10);
	if (s->model)
		EXPECT_EQ(device_reads(&d1, B), 10);
	hook("unptl", after_unlock, NULL);
	go(&t[0], 0, "T0", break_a, NULL);
	sync_point_await(&unlocked[0]);
	go(&t[1], 1, "T1", break_b, NULL);
	sync_point_await(&unlocked[1]);
	done_by(2, "T2", write_a, NULL);
	done_by(3, "T3", write_b, NULL);
	if (s->model) {
		sync_point_release(&unlocked[1]); /* end(B) */
		join(&t[1]);
	}
	*b = device_reads(&d1, B);
	*a = device_reads(&d0, A);
	explain_end();
	unhook("unptl");
	sync_point_release(&unlocked[0]);
	join(&t[0]);
	if (!s->model) {
		sync_point_release(&unlocked[1]);
		join(&t[1]);
	}
	two_devices_end();
}

IOMMU_TEST(race, new_b_before_new_a,
	   "with a flush in end devices read the new value at B and then the "
	   "old one at A, which was written first")
{
	uint64_t b, a;

	two_addresses(s, &only_end, &b, &a);
	EXPECT_EQ(b, 21);
	EXPECT_EQ(a, 10);
}

IOMMU_TEST(race, new_b_after_new_a,
	   "with a flush before the new entry is set a device that has read "
	   "the new B reads the new A")
{
	uint64_t b, a;

	two_addresses(s, SVA, &b, &a);
	EXPECT_EQ(b, 21);
	EXPECT_EQ(a, 21);
}

/* The same at every step of the two copies. */
static unsigned looks, saw_new_b, broken;

/* Read as a device.  An IOMMU that caches non-present entries is not notified
 * when an entry is set: after a blocked read the address is flushed, as a page
 * request does. */
static uint64_t look_at(struct client *c, va_t va)
{
	uint64_t v = device_reads(c, va);

	if (v == BLOCKED)
		client_flush(c, va, va + PAGE_SIZE);
	return v;
}

static void look(uint64_t of, uint64_t va, void *unused)
{
	uint64_t b, a;

	if (of != (uint64_t)mm)
		return;
	b = look_at(&d1, B);
	a = look_at(&d0, A);
	looks++;
	saw_new_b += b == 21;
	broken += b == 21 && a == 10;
}

static const char *const steps[] = {
	"cow_copied", "range_start", "range_started", "pte_clear",
	"tlb_flush",  "range",       "range_flushed", "change_pte",
	"pte_set",    "unptl",       "range_end",     "range_ended",
};

static void break_both(void *unused)
{
	mm_bind(mm);
	cpu_writes(mm, A, 21);
	cpu_writes(mm, B, 21);
}

static void look_everywhere(struct iommu_fixture *s,
			    const struct mmu_notifier_ops *ops)
{
	looks = saw_new_b = broken = 0;
	two_devices(s, ops);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		hook(steps[i], look, NULL);
	device_reads(&d0, A);
	done_by(0, "T0", break_both, NULL);
	look((uint64_t)mm, B, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		unhook(steps[i]);
	EXPECT_EQ(looks, 2 * ARRAY_SIZE(steps) + 1);
	EXPECT(saw_new_b > 0);
	two_devices_end();
}

IOMMU_TEST(race, both_devices_agree_at_every_step,
	   "at none of the twelve steps of two page copies do devices read the "
	   "new "
	   "B and then the old A")
{
	look_everywhere(s, SVA);
	EXPECT_EQ(broken, 0);
}

/* ---- 5: set_pte_at_notify ----------------------------------------------- */

/*
 * A device with a table of its own, which is notified by change_pte() alone: that
 * is how KSM and COW notified KVM before 2012, outside of any invalidation.  The
 * wrong order sets the CPU's entry first (commit 48af0d7cb3f8 reversed it): here
 * a client defers what change_pte() names to end.
 */
static struct {
	struct mmu_notifier mn;
	struct domain *domain;
	va_t va; /* deferred, with entry; 0: nothing                       */
	uint64_t entry;
	bool later;
} mirror;

static void follow(va_t va, uint64_t entry)
{
	REQUIRE(!domain_unmap(mirror.domain, va, va + PAGE_SIZE));
	REQUIRE(!domain_map(mirror.domain, va, entry & PTE_ADDR, PAGE_SIZE,
			    IO_RW));
}

static void mirror_change(struct mmu_notifier *mn, struct mm *of, va_t va,
			  uint64_t entry)
{
	if (!mirror.later) {
		follow(va, entry);
		return;
	}
	mirror.va = va;
	mirror.entry = entry;
}

static void mirror_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	if (mirror.va)
		follow(mirror.va, mirror.entry);
	mirror.va = 0;
}

static const struct mmu_notifier_ops mirror_ops = {
	.change_pte = mirror_change,
	.invalidate_range_end = mirror_end,
};

static uint64_t offered(struct iommu_fixture *s, bool later)
{
	struct page *page;
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	mm = process(1, "P");
	child = fork_of(mm);
	page = name_page(mm, A, "page 1");
	mirror.domain = fixture_domain(s);
	mirror.mn = (struct mmu_notifier){ .ops = &mirror_ops };
	mirror.later = later;
	mirror.va = 0;
	REQUIRE(!domain_map(mirror.domain, A, page_pa(page), PAGE_SIZE,
			    PROT_R));
	fixture_attach(s, 0, mirror.domain);
	REQUIRE(!mmu_notifier_register(&mirror.mn, mm));
	explain_name(EXPLAIN_DOMAIN, mirror.domain->id, "d0");
	explain_begin();
	EXPECT_EQ(fixture_read(s, 0, A), 10);
	sync_point_set(&unlocked[0], NULL, NULL);
	hook("unptl", after_unlock, NULL);
	go(&t[0], 0, "T0", break_a, NULL);
	sync_point_await(&unlocked[0]);
	done_by(1, "T1", write_a, NULL);
	EXPECT_EQ(cpu_reads(mm, A), 21);
	v = fixture_read(s, 0, A);
	explain_end();
	unhook("unptl");
	sync_point_release(&unlocked[0]);
	join(&t[0]);
	mmu_notifier_unregister(&mirror.mn);
	mm_put(child);
	fixture_detach(s, 0);
	mm_put(mm);
	return v;
}

IOMMU_TEST(race, cpu_entry_set_before_change_pte,
	   "with the CPU's entry set before the device's, CPUs read what was "
	   "written and a device reads the old value")
{
	EXPECT_EQ(offered(s, true), 10);
}

IOMMU_TEST(race, cpu_entry_set_after_change_pte,
	   "with change_pte called before the CPU's entry is set, CPUs and "
	   "devices read the same value")
{
	EXPECT_EQ(offered(s, false), 21);
}
