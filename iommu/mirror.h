/* SPDX-License-Identifier: MIT */
/*
 * mirror.h - an mm seen through a table of the device's own
 *
 *   CR3 ────► the mm's tables          │ a fault copies one entry
 *                                      ▼
 *   DTE.root ────► the domain's tables ── emptied by invalidate_range_start()
 *
 * The device's table holds what has been faulted in and not been taken away: a
 * part of what the CPU's says, never more.  It is there while nobody changes the
 * entry, and while somebody does it is empty: so this listener hears start and
 * end, and needs no flush in between.  Linux: KVM's shadow page tables (count
 * and sequence), HMM.
 *
 * Compare sva.h: there the table cannot be wrong, but everybody must be told of
 * what the IOMMU has cached; here the caches follow the table.
 */
#pragma once

#include "iommu/admission.h"
#include "kernel/waitq.h"
#include "mm/mmu_notifier.h"

/* Key: (I) immutable from mirror_bind() to mirror_unbind()  (L) lock */
struct mirror {
	struct mmu_notifier mn;
	struct admission door; /* of a domain with a tree of its own        */
	struct spinlock lock;  /* RANK_MIRROR: may an entry be made?        */
	unsigned active;       /* (L) windows open now                      */
	va_t from, to;         /* (L) what they span; to is exclusive       */
	uint64_t seq;          /* (L) windows closed                        */
	struct waitq idle;     /* a window has closed                       */
	uint64_t faults, retries; /* (L) statistics                         */
};

/*
 * From now on the device reaches, at the addresses of mm, what is faulted in;
 * nothing is at first.  ppr's workers serve its page requests (NULL: nobody;
 * mirror_fault() does it by hand).  The caller holds a user of mm, and need not
 * keep it: when the mm goes the device is denied first.  flags: ATTACH_*.
 * 0, -ENOMEM, -EBUSY if the device is in a domain, -EIO if it was cut off,
 * -ETIMEDOUT.  May sleep.
 */
must_check int mirror_bind(struct mirror *m, struct iommu *iommu,
			   struct ppr *ppr, uint16_t devid, unsigned flags,
			   struct mm *mm);

/*
 * The device reaches nothing any more, no fault is served for it, and *m may be
 * freed.  Also after the mm's exit.  May sleep.
 */
void mirror_unbind(struct mirror *m);

/*
 * Make the device's access to va possible, by the rules of a CPU's fault; access
 * is PROT_R or PROT_W.  What can be written is also let be written if the access
 * is a read, and then counts as dirty: v1 tables tell nobody of writes (B33).
 * When it returns 0 a device that tries again finds it, unless somebody has
 * taken it away again.
 * 0, -EFAULT if no region allows it or the mm is gone, -ENOMEM, -ETIMEDOUT.
 * May sleep: also until nobody changes the page any more.
 */
must_check int mirror_fault(struct mirror *m, va_t va, enum prot access);
