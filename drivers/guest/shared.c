/* SPDX-License-Identifier: MIT */
/*
 * shared.c - the mm's own root as the guest's nested table
 *
 * One tree is walked by the process's CPUs and by the guest, and may be walked by an
 * IOMMU too (mm/core/entry.h).  There is nothing to fill or to empty: what the CPU's
 * entry allows the guest may do, and nested walks set A and D where aging looks for
 * them.  So every flush of the mm must reach what CPUs in guest mode have cached,
 * and the guest must be kept out before the root is freed.
 *
 * Locks: none of its own.  invalidate_range() runs under mm->pt_lock.
 */
#include "drivers/guest/guest.h"
#include "kernel/err.h"
#include "kernel/panic.h"

static struct guest *of(struct mmu_notifier *mn)
{
	return container_of(mn, struct guest, mn);
}

/* An exit drops what the CPU has cached of every page: no need to know which. */
static void invalidate_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			     va_t end)
{
	require(spin_held(&mm->pt_lock));
	guest_kick(of(mn)); //: shared-kick
}

static void release(struct mmu_notifier *mn, struct mm *mm)
{
	guest_keep_out(of(mn)); //: shared-release
}

static const struct mmu_notifier_ops ops = {
	.release = release,
	.invalidate_range = invalidate_range,
};

static int fault(struct guest *g, gpa_t gpa, enum prot access)
{
	struct mm *mm = g->mn.mm;
	int error;

	require(may_sleep());
	if (gpa >= USER_END || !mm_try_get(mm))
		return err(EFAULT);
	error = mm_fault(mm, gpa, access);
	mm_put(mm);
	return error;
}

static int attach(struct guest *g, struct mm *mm)
{
	g->root = pt_root_pa(&mm->pt);
	g->mn.ops = &ops;
	return mmu_notifier_register(&g->mn, mm);
}

static void detach(struct guest *g)
{
	mmu_notifier_unregister(&g->mn);
}

const struct guest_form guest_shared = {
	.name = "guest_shared",
	.attach = attach,
	.detach = detach,
	.fault = fault,
};
