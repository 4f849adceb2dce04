/* SPDX-License-Identifier: MIT */
/*
 * users.c - what a process pays for the device in its address space
 *
 * The same operations alone, with a shared table, with a mirror that holds every
 * page, and with the workaround of before 2014: an empty table from start to
 * end.  QEMU executes a command inside the doorbell: instructions are the
 * kernel's own, commands are what real hardware would be kept busy with.
 */
#include "arch/uaccess.h"
#include "iommu/sva/mirror.h"
#include "iommu/sva/sva.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "tests/bench/bench.h"
#include "tests/fixture/mm/mm_fixture.h"

#define PAGES 256u
#define DEVID 0x00f8 /* a device that is never started                       */

enum form {
	ALONE,
	SHARED,
	MIRRORED,
	LEGACY,
};

static const char *const words[] = { "alone", "sva", "mirror", "legacy" };

static struct {
	enum form form;
	struct mm *mm;
	union {
		struct sva sva;
		struct mirror mirror;
	};
	struct mmu_notifier legacy;
	struct domain *domain; /* of LEGACY                                  */
} u;

/* ---- the workaround ----------------------------------------------------- */

/* One invalidation at a time: this is a benchmark. */
static void swap_root(struct dte dte)
{
	spin_lock(&u.domain->lock);
	assert(!iommu_set_dte(iommu_machine(), DEVID, dte, u.domain->id, true));
	spin_unlock(&u.domain->lock);
}

static int legacy_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	swap_root(iommu_deny(iommu_machine()));
	return 0;
}

static void legacy_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct dte dte;

	spin_lock(&u.domain->lock);
	dte = domain_dte(u.domain, &(struct attachment){ .devid = DEVID });
	spin_unlock(&u.domain->lock);
	swap_root(dte);
}

static const struct mmu_notifier_ops legacy_ops = {
	.invalidate_range_start = legacy_start,
	.invalidate_range_end = legacy_end,
};

/* ---- coming and going --------------------------------------------------- */

static void bind(enum form form)
{
	struct iommu *iommu = iommu_machine();

	u.form = form;
	if (form == SHARED)
		assert(!sva_bind(&u.sva, iommu, NULL, DEVID, 0, u.mm));
	if (form == MIRRORED)
		assert(!mirror_bind(&u.mirror, iommu, NULL, DEVID, 0, u.mm));
	if (form != LEGACY)
		return;
	u.domain = domain_create_shared(iommu, u.mm->pt.root, USER_END);
	assert(u.domain && !domain_attach(u.domain, DEVID, 0));
	u.legacy = (struct mmu_notifier){ .ops = &legacy_ops };
	assert(!mmu_notifier_register(&u.legacy, u.mm));
}

static void unbind(void)
{
	if (u.form == SHARED)
		sva_unbind(&u.sva);
	if (u.form == MIRRORED)
		mirror_unbind(&u.mirror);
	if (u.form != LEGACY)
		return;
	mmu_notifier_unregister(&u.legacy);
	assert(!domain_detach(u.domain, DEVID));
	domain_destroy(u.domain);
}

/* The CPU has every page, and so has the device, as far as it can. */
static void fill(bool write)
{
	mm_bind(u.mm);
	for (unsigned i = 0; i < PAGES && write; i++)
		assert(!user_store64(P(i), 1));
	mm_bind(NULL);
	for (unsigned i = 0; i < PAGES && u.form == MIRRORED; i++)
		assert(!mirror_fault(&u.mirror, P(i), PROT_R));
}

static uint64_t commands(void)
{
	return iommu_machine()->queue.commands;
}

/* What `op` did n times, since these readings. */
static void report(const char *op, uint64_t instructions, uint64_t before,
		   uint64_t n)
{
	uint64_t sent = commands() - before;
	char name[48];

	snprintk(name, sizeof(name), "users_%s_%s", op, words[u.form]);
	bench_report(name, instructions, n, "instructions");
	if (u.form == ALONE)
		return;
	snprintk(name, sizeof(name), "users_%s_%s_flush", op, words[u.form]);
	bench_report(name, sent, n, "commands");
}

/* ---- operations --------------------------------------------------------- */

static void measure_fork_and_copy(void)
{
	uint64_t before = commands(), t = bench_start();
	struct mm *child;

	assert(!mm_fork(u.mm, &child));
	report("fork", bench_stop(t), before, 1);
	fill(false);
	mm_bind(u.mm);
	before = commands();
	t = bench_start();
	for (unsigned i = 0; i < PAGES; i++)
		assert(!user_store64(P(i), 2));
	report("copy", bench_stop(t), before, PAGES);
	mm_bind(NULL);
	mm_put(child);
}

static void measure_protect(void)
{
	uint64_t before = commands(), t = bench_start();

	for (unsigned i = 0; i < PAGES; i++)
		assert(!mm_protect(u.mm, P(0), P(1), i % 2 ? RW : PROT_R));
	report("protect", bench_stop(t), before, PAGES);
}

static void measure_unmap(void)
{
	uint64_t before = commands(), t = bench_start();

	for (unsigned i = PAGES; i-- > 1;)
		assert(!mm_unmap(u.mm, P(i), P(i + 1)));
	report("unmap", bench_stop(t), before, PAGES - 1);
}

/* A device's fault for a page that the CPU has. */
static void measure_fault(void)
{
	uint64_t before = commands(), t = bench_start();

	if (u.form != SHARED && u.form != MIRRORED)
		return;
	for (unsigned i = 0; i < PAGES; i++)
		assert(!(u.form == SHARED
				 ? sva_fault(&u.sva, P(i), PROT_R)
				 : mirror_fault(&u.mirror, P(i), PROT_R)));
	report("fault", bench_stop(t), before, PAGES);
}

BENCH(users, "unmap, copy, fork, protect of a page that a device has too")
{
	if (!iommu_machine()) {
		printk("# no IOMMU: nothing is measured\n");
		return;
	}
	for (enum form form = ALONE; form <= LEGACY; form++) {
		u.mm = mm_create();
		assert(u.mm && !mm_map(u.mm, VA, PAGES * PAGE_SIZE, RW, 0, NULL,
				       0, NULL));
		bind(form);
		fill(true);
		measure_fork_and_copy();
		measure_fault();
		fill(true);
		measure_protect();
		fill(true);
		measure_unmap();
		unbind();
		mm_put(u.mm);
	}
}
