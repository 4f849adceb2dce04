/* SPDX-License-Identifier: MIT */
/*
 * sva.h - shared virtual addressing: one tree for the CPU and a device
 *
 *   CR3 ─────────► ┌─────────┐
 *                  │ the mm's│ entries carry P and IR, W and IW together
 *   DTE.root ────► │ tables  │ (mm/entry.h); the kernel's half grants nothing
 *                  └─────────┘
 *
 * The device names addresses of a process.  It has no table that could be stale,
 * only caches: so it listens to invalidate_range() alone, which comes under
 * pt_lock between the change of an entry and whatever depends on it, and before
 * a page of tables is freed.  What is not there it asks for by page requests
 * (iommu/ppr.h).  Linux: iommu_v2.c of 2014, and iommu-sva.c of today.
 */
#pragma once

#include "iommu/admission.h"
#include "mm/mmu_notifier.h"

struct sva {
	struct mmu_notifier mn;
	struct admission door;    /* of a shared domain                     */
	_Atomic uint64_t flushes; /* statistics                             */
};

/*
 * From now on the device reaches what a CPU in mm reaches, and asks ppr's
 * workers for the rest (NULL: nobody; sva_fault() does it by hand).  The caller
 * holds a user of mm, and need not keep it: when the mm goes the device is
 * denied first.  flags: ATTACH_*.
 * 0, -ENOMEM, -EBUSY if the device is in a domain, -EIO if it was cut off,
 * -ETIMEDOUT.  May sleep.
 */
must_check int sva_bind(struct sva *sva, struct iommu *iommu, struct ppr *ppr,
			uint16_t devid, unsigned flags, struct mm *mm);

/*
 * The device reaches nothing any more, no fault is served for it, and *sva may
 * be freed.  Also after the mm's exit.  May sleep.
 */
void sva_unbind(struct sva *sva);

/*
 * Make the device's access to va possible, by the rules of a CPU's fault; access
 * is PROT_R or PROT_W.  When it returns 0 a device that tries again finds it,
 * unless somebody has taken it away again.
 * 0, -EFAULT if no region allows it or the mm is gone, -ENOMEM, -ETIMEDOUT.
 * May sleep.
 */
must_check int sva_fault(struct sva *sva, va_t va, enum prot access);
