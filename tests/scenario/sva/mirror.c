/* SPDX-License-Identifier: MIT */
/*
 * mirror.c - a table filled by faults, while the mm changes
 *
 * A fault stops between its lookup of the CPU's entry and its own entry, where it
 * can lose the race.  tests/scenario/sva/users.c tests what holds for any device
 * in an address space.
 */
#include "kernel/err.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

struct faulter {
	struct mirror *m;
	va_t va;
	int error;
};

static void fault(void *arg)
{
	struct faulter *f = arg;

	f->error = mirror_fault(f->m, f->va, PROT_R);
}

/* A mirror of pages with 100 + i in page i, and a fault of page 0 to come. */
static struct mirror *reflect(struct iommu_fixture *s, unsigned n,
			      struct faulter *f)
{
	struct mm *mm = fixture_mm(s, n);

	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 100 + i));
	*f = (struct faulter){ .m = fixture_bind_mirror(s, 0, mm), .va = P(0) };
	f->m->shadow.retries = f->m->shadow.faults = 0;
	return f->m;
}

/* ---- the race ----------------------------------------------------------- */

IOMMU_TEST(mirror, overtaken_fault_retries,
	   "a fault whose page changes between the lookup and the mapping sees "
	   "that the sequence has changed (C34)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct task t;
	struct sync_point g;

	sync_point_set(&g, "shadow_looked", &m->shadow);
	spawn(&t, fault, &f);
	sync_point_await(&g);
	change(m->shadow.mn.mm, 0, 1); /* the page is free */
	REQUIRE(!wr(m->shadow.mn.mm, P(0), 7));
	sync_point_release(&g);
	join(&t);

	EXPECT_EQ(f.error, 0);
	EXPECT_EQ(m->shadow.retries, 1);
	EXPECT_STR_NULL(mirror_check(m));
	EXPECT_EQ(fixture_read(s, 0, P(0)), 7);
}

/* The fault has looked; the change goes on to a step, and then the fault. */
static void fault_at(struct iommu_fixture *s, const char *step)
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct task changer, t;
	struct sync_point look, change_point;

	sync_point_set(&look, "shadow_looked", &m->shadow);
	spawn(&t, fault, &f);
	sync_point_await(&look);
	sync_point_set(&change_point, step, m->shadow.mn.mm);
	spawn(&changer, discard_first, m->shadow.mn.mm);
	sync_point_await(&change_point);
	sync_point_release(&look);
	EXPECT(still_waits(&t));
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	sync_point_release(&change_point);
	join(&changer);
	join(&t);
	EXPECT_STR_NULL(mirror_check(m));
	REQUIRE(!wr(m->shadow.mn.mm, P(0), 7));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 7);
	fixture_unbind(s, 0);
}

IOMMU_TEST(mirror, fault_maps_nothing_while_an_invalidation_is_open,
	   "a fault that looked a page up before an invalidation maps nothing "
	   "while the invalidation is open (C35, B20)")
{
	fault_at(s, "range_started");
	fault_at(s, "range_end");
}

IOMMU_TEST(mirror, fault_waits_for_an_invalidation,
	   "a fault does not look its page up while an invalidation of the "
	   "page is open (C39)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct task changer, t;
	struct sync_point g;

	sync_point_set(&g, "range_started", m->shadow.mn.mm);
	spawn(&changer, discard_first, m->shadow.mn.mm);
	sync_point_await(&g);
	spawn(&t, fault, &f);
	EXPECT(still_waits(&t));
	EXPECT_EQ(m->shadow.faults, 0);
	sync_point_release(&g);
	join(&changer);
	join(&t);

	EXPECT_EQ(f.error, 0);
	EXPECT_EQ(m->shadow.retries, 0);
}

IOMMU_TEST(mirror, invalidations_are_counted,
	   "of invalidations that overlap the last to end lets faults map, for "
	   "all addresses that any of them covers (C11)")
{
	struct mmu_notifier_range a, b;
	struct faulter f;
	struct mirror *m = reflect(s, 4, &f);
	struct mm *mm = m->shadow.mn.mm;
	struct task t;

	rw_read_lock(&mm->lock);
	invalidation_begin(&a, mm, 1, 2);
	invalidation_begin(&b, mm, 3, 4);
	f.va = P(3);
	spawn(&t, fault, &f);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&a);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&b);
	join(&t);
	invalidation_begin(&b, mm, 3, 4);
	invalidation_begin(&a, mm, 0, 1);
	f.va = P(0);
	spawn(&t, fault, &f);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&b);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&a);
	join(&t);
	rw_read_unlock(&mm->lock);
	EXPECT_EQ(fixture_read(s, 0, P(0)), 100);
}

IOMMU_TEST(mirror, neighbours_do_not_wait,
	   "an invalidation of one page delays no fault of another (C5)")
{
	struct mmu_notifier_range range;
	struct faulter f;
	struct mirror *m = reflect(s, 3, &f);
	struct mm *mm = m->shadow.mn.mm;
	struct task t;

	EXPECT_EQ(fixture_load(s, 0, P(0)), 100);
	rw_read_lock(&mm->lock);
	invalidation_begin(&range, mm, 1, 2);
	EXPECT_EQ(fixture_read(s, 0, P(0)), 100);
	f.va = P(2);
	spawn(&t, fault, &f);
	join(&t);
	EXPECT_EQ(fixture_read(s, 0, P(1)), BLOCKED);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	EXPECT_EQ(fixture_read(s, 0, P(2)), 102);
}

/* ---- rights ------------------------------------------------------------- */

static enum prot rights(struct mirror *m, va_t va)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(m->binding.domain, va, &pa, &prot) ? prot
								: PROT_NONE;
}

IOMMU_TEST(mirror, mirror_has_the_rights_of_the_cpu,
	   "a read fault of a writable page makes a writable entry and a dirty "
	   "page, and one of a shared page makes neither (B32, B33)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 2, &f);
	struct mm *child;
	struct page *page;

	EXPECT_EQ(mirror_fault(m, P(0), PROT_R), 0);
	EXPECT_EQ(rights(m, P(0)), IO_RW);
	page = page_at(m->shadow.mn.mm, P(0));
	EXPECT(page_test(page, PG_DIRTY));
	page_put(page);
	child = fixture_fork(m->shadow.mn.mm);
	EXPECT_EQ(rights(m, P(0)), PROT_NONE);
	EXPECT_EQ(mirror_fault(m, P(1), PROT_R), 0);
	EXPECT_EQ(rights(m, P(1)), PROT_R);
	page = page_at(m->shadow.mn.mm, P(1));
	EXPECT(!page_test(page, PG_DIRTY));
	page_put(page);
	fixture_exit(child);
	EXPECT_EQ(mirror_fault(m, P(1), PROT_W), 0);
	EXPECT_EQ(rights(m, P(1)), IO_RW);
}

/* ---- aging -------------------------------------------------------------- */

IOMMU_TEST(mirror, page_used_by_the_device_only_is_young,
	   "a page that only a device uses is young, and the device faults "
	   "again at its next use (B36, C43)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct page *page = page_at(m->shadow.mn.mm, P(0));

	page_referenced(page); /* the CPU's use */
	EXPECT_EQ(page_referenced(page), 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 100);
	page_mark_idle(page); /* the fault's own use */
	EXPECT(!page_young(page));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 100);
	EXPECT(page_young(page));
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_EQ(rights(m, P(0)), PROT_NONE);
	EXPECT_EQ(page_referenced(page), 0);
	page_put(page);
}

/* ---- the end ------------------------------------------------------------ */

IOMMU_TEST(mirror, fault_outlives_the_last_user,
	   "a fault in progress keeps the mm; after the fault the mm exits, "
	   "the device is denied, and no further fault is served (C114)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct page *page = page_at(m->shadow.mn.mm, P(0));
	struct task t;
	struct sync_point g;

	sync_point_set(&g, "shadow_looked", &m->shadow);
	spawn(&t, fault, &f);
	sync_point_await(&g);
	fixture_exit(m->shadow.mn.mm);
	EXPECT(!LIST_EMPTY(&m->binding.domain->members));
	sync_point_release(&g);
	join(&t);

	EXPECT_EQ(f.error, 0);
	EXPECT(LIST_EMPTY(&m->binding.domain->members));
	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(fixture_word(page), 100);
	EXPECT(!fixture_names(s, page));
	EXPECT_EQ(mirror_fault(m, P(0), PROT_R), -EFAULT);
	page_put(page);
}
