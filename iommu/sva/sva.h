/* SPDX-License-Identifier: MIT */
/*
 * sva.h - shared virtual addressing: one tree for the CPU and a device
 *
 *   CR3 ─────────► ┌─────────┐
 *                  │ the mm's│ entries carry P and IR, W and IW together
 *   DTE.root ────► │ tables  │ (mm/core/entry.h); the kernel's half grants nothing
 *                  └─────────┘
 *
 * The device uses the addresses of a process.  There is no second table that
 * could be stale, only caches.  So the notifier needs invalidate_range() alone,
 * which is called under pt_lock after an entry has changed and before anything
 * depends on the change, and before a page of tables is freed.  The device asks
 * for missing pages by page requests (iommu/sva/ppr.h).
 * Linux: iommu_v2.c of 2014, and iommu-sva.c of today.
 */
#pragma once

#include "iommu/sva/binding.h"
#include "mm/notifier/mmu_notifier.h"

/* Key: (I) from sva_bind() to sva_unbind()  (A) atomic */
struct sva {
	struct mmu_notifier mn;   /* (I)                                    */
	struct binding binding;   /* (I) of a shared domain                 */
	_Atomic uint64_t flushes; /* (A) statistics                         */
};

/*
 * Bind the device to mm: it reaches what a CPU in mm reaches, and ppr has
 * its page requests served (NULL: no requests are served, the caller uses
 * sva_fault()).  The caller holds a user of mm, and need not keep it: when the mm
 * exits the device is denied first.  flags: ATTACH_*.
 * Returns 0, or with nothing bound: -ENOMEM, -EBUSY if the device is in a domain,
 * -EIO if it is unresponsive, -EINVAL if firmware wants memory mapped for it,
 * -ETIMEDOUT.  Context: may sleep.
 */
must_check int sva_bind(struct sva *sva, struct iommu *iommu, struct ppr *ppr,
			uint16_t devid, unsigned flags, struct mm *mm);

/*
 * Unbind the device.  From the return on it reaches nothing, no fault is served
 * for it, and *sva may be freed.  Also after the mm's exit.  Context: may sleep.
 */
void sva_unbind(struct sva *sva);

/*
 * Make the device's access to the page of va possible, by the rules of a CPU's fault;
 * access is PROT_R or PROT_W.  After 0 a device that retries finds the page, unless the
 * entry has been changed again meanwhile.
 * Returns 0, -EFAULT if no region allows the access or the mm has exited, -ENOMEM,
 * -ETIMEDOUT.  Context: may sleep.
 */
must_check int sva_fault(struct sva *sva, va_t va, enum prot access);

/*
 * Do sva_fault() for the pages from that of va on, in order, with one flush.  Returns 0, or
 * the error of the first page that failed: those before it are as after 0, those
 * after it as before.  pages: 1 or more, none beyond the last address.  Context as above.
 */
must_check int sva_fault_pages(struct sva *sva, va_t va, unsigned pages,
			       enum prot access);
