/* SPDX-License-Identifier: MIT */
/*
 * scn_mirror.c - a table filled by faults, against those who change the mm
 *
 * A fault stands at its most dangerous step: it has looked at the CPU's entry
 * and has not made its own.  What holds for any device in an address space is
 * scn_users.c.
 */
#include "kernel/err.h"
#include "tests/cast.h"
#include "tests/gate.h"
#include "tests/stand_mm.h"

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
static struct mirror *reflect(struct stand *s, unsigned n, struct faulter *f)
{
	struct mm *mm = stand_mm(s, n);

	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 100 + i));
	*f = (struct faulter){ .m = stand_bind_mirror(s, 0, mm), .va = P(0) };
	f->m->retries = f->m->faults = 0;
	return f->m;
}

/* ---- the race ----------------------------------------------------------- */

IOMMU_TEST(mirror, overtaken_fault_tries_again,
	   "a whole change between look and entry is noticed by the sequence "
	   "(C34)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct task t;
	struct gate g;

	gate_close(&g, "mirror_looked", m);
	spawn(&t, fault, &f);
	gate_await(&g);
	change(m->mn.mm, 0, 1); /* the page is free */
	REQUIRE(!wr(m->mn.mm, P(0), 7));
	gate_open(&g);
	join(&t);

	EXPECT_EQ(f.error, 0);
	EXPECT_EQ(m->retries, 1);
	EXPECT_STR_NULL(mirror_check(m));
	EXPECT_EQ(stand_read(s, 0, P(0)), 7);
}

/* The fault has looked; the change goes on to a step, and then the fault. */
static void fault_at(struct stand *s, const char *step)
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct task changer, t;
	struct gate look, change_gate;

	gate_close(&look, "mirror_looked", m);
	spawn(&t, fault, &f);
	gate_await(&look);
	gate_close(&change_gate, step, m->mn.mm);
	spawn(&changer, discard_first, m->mn.mm);
	gate_await(&change_gate);
	gate_open(&look);
	EXPECT(still_waits(&t));
	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	gate_open(&change_gate);
	join(&changer);
	join(&t);
	EXPECT_STR_NULL(mirror_check(m));
	REQUIRE(!wr(m->mn.mm, P(0), 7));
	EXPECT_EQ(stand_load(s, 0, P(0)), 7);
	stand_unbind(s, 0);
}

IOMMU_TEST(mirror, open_window_keeps_it_out,
	   "who looked before a change makes no entry while the window is open "
	   "(C35, B20)")
{
	fault_at(s, "range_started");
	fault_at(s, "range_end");
}

IOMMU_TEST(mirror, fault_waits_for_the_window,
	   "a fault does not even look while its page is being changed (C39)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct task changer, t;
	struct gate g;

	gate_close(&g, "range_started", m->mn.mm);
	spawn(&changer, discard_first, m->mn.mm);
	gate_await(&g);
	spawn(&t, fault, &f);
	EXPECT(still_waits(&t));
	EXPECT_EQ(m->faults, 0);
	gate_open(&g);
	join(&changer);
	join(&t);

	EXPECT_EQ(f.error, 0);
	EXPECT_EQ(m->retries, 0);
}

IOMMU_TEST(mirror, windows_are_counted,
	   "of windows that overlap the last to close lets faults in, over all "
	   "that any of them covers (C11)")
{
	struct mmu_notifier_range a, b;
	struct faulter f;
	struct mirror *m = reflect(s, 4, &f);
	struct mm *mm = m->mn.mm;
	struct task t;

	rw_read_lock(&mm->lock);
	window(&a, mm, 1, 2);
	window(&b, mm, 3, 4);
	f.va = P(3);
	spawn(&t, fault, &f);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&a);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&b);
	join(&t);
	window(&b, mm, 3, 4);
	window(&a, mm, 0, 1);
	f.va = P(0);
	spawn(&t, fault, &f);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&b);
	EXPECT(still_waits(&t));
	mmu_notifier_invalidate_range_end(&a);
	join(&t);
	rw_read_unlock(&mm->lock);
	EXPECT_EQ(stand_read(s, 0, P(0)), 100);
}

IOMMU_TEST(mirror, neighbours_do_not_wait,
	   "a window over one page keeps nobody from another (C5)")
{
	struct mmu_notifier_range range;
	struct faulter f;
	struct mirror *m = reflect(s, 3, &f);
	struct mm *mm = m->mn.mm;
	struct task t;

	EXPECT_EQ(stand_load(s, 0, P(0)), 100);
	rw_read_lock(&mm->lock);
	window(&range, mm, 1, 2);
	EXPECT_EQ(stand_read(s, 0, P(0)), 100);
	f.va = P(2);
	spawn(&t, fault, &f);
	join(&t);
	EXPECT_EQ(stand_read(s, 0, P(1)), BLOCKED);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	EXPECT_EQ(stand_read(s, 0, P(2)), 102);
}

/* ---- rights ------------------------------------------------------------- */

static enum prot rights(struct mirror *m, va_t va)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(m->door.domain, va, &pa, &prot) ? prot : PROT_NONE;
}

IOMMU_TEST(mirror, as_much_as_the_cpu_has,
	   "a read fault of a writable page makes a writable entry and a dirty "
	   "page; of a shared page it makes neither (B32, B33)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 2, &f);
	struct mm *child;
	struct page *page;

	EXPECT_EQ(mirror_fault(m, P(0), PROT_R), 0);
	EXPECT_EQ(rights(m, P(0)), IO_RW);
	page = page_at(m->mn.mm, P(0));
	EXPECT(page_test(page, PG_DIRTY));
	page_put(page);
	child = stand_fork(m->mn.mm);
	EXPECT_EQ(rights(m, P(0)), PROT_NONE);
	EXPECT_EQ(mirror_fault(m, P(1), PROT_R), 0);
	EXPECT_EQ(rights(m, P(1)), PROT_R);
	page = page_at(m->mn.mm, P(1));
	EXPECT(!page_test(page, PG_DIRTY));
	page_put(page);
	stand_exit(child);
	EXPECT_EQ(mirror_fault(m, P(1), PROT_W), 0);
	EXPECT_EQ(rights(m, P(1)), IO_RW);
}

/* ---- aging -------------------------------------------------------------- */

IOMMU_TEST(mirror, used_by_the_device_only,
	   "a page that only a device uses is young; to see the next use it "
	   "must fault again (B36, C43)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct page *page = page_at(m->mn.mm, P(0));

	page_referenced(page); /* the CPU's use */
	EXPECT_EQ(page_referenced(page), 0);
	EXPECT_EQ(stand_load(s, 0, P(0)), 100);
	page_mark_idle(page); /* the fault's own use */
	EXPECT(!page_young(page));
	EXPECT_EQ(stand_load(s, 0, P(0)), 100);
	EXPECT(page_young(page));
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_EQ(rights(m, P(0)), PROT_NONE);
	EXPECT_EQ(page_referenced(page), 0);
	page_put(page);
}

/* ---- the end ------------------------------------------------------------ */

IOMMU_TEST(mirror, fault_outlives_the_last_user,
	   "a fault in work keeps the mm; behind it the mm goes, the device "
	   "is denied, and no further fault is served (C114)")
{
	struct faulter f;
	struct mirror *m = reflect(s, 1, &f);
	struct page *page = page_at(m->mn.mm, P(0));
	struct task t;
	struct gate g;

	gate_close(&g, "mirror_looked", m);
	spawn(&t, fault, &f);
	gate_await(&g);
	stand_exit(m->mn.mm);
	EXPECT(!LIST_EMPTY(&m->door.domain->members));
	gate_open(&g);
	join(&t);

	EXPECT_EQ(f.error, 0);
	EXPECT(LIST_EMPTY(&m->door.domain->members));
	EXPECT_EQ(stand_read(s, 0, P(0)), BLOCKED);
	EXPECT_EQ(stand_word(page), 100);
	EXPECT(!stand_names(s, page));
	EXPECT_EQ(mirror_fault(m, P(0), PROT_R), -EFAULT);
	page_put(page);
}
