/* SPDX-License-Identifier: MIT */
/*
 * admission.h - a device that is let into an address space, and shown out
 *
 *	open   who listens for it, who serves its faults, then the device: it can
 *	       neither cache nor fault anything too early
 *	deny   the device: when it returns nothing is reached any more
 *	close  deny, wait for the faults in work, leave the list of listeners
 *
 * An address space and its device end in any order: the mm's release() denies,
 * whoever bound them closes.
 */
#pragma once

#include "iommu/domain.h"
#include "iommu/ppr.h"
#include "mm/mmu_notifier.h"

/* Set by whoever opens it, but for binding; immutable while open. */
struct admission {
	struct domain *domain;   /* nobody else is a member                 */
	struct mmu_notifier *mn; /* its release() calls admission_deny()    */
	uint16_t devid;
	unsigned flags;  /* ATTACH_*                                        */
	struct ppr *ppr; /* NULL: no page requests                          */
	/* Make an access to va possible, access being PROT_R or PROT_W: 0, or
	 * an error, and then the request is refused.  May sleep. */
	int (*fault)(struct admission *a, va_t va, enum prot access);
	struct ppr_binding *binding;
};

/*
 * Let the device into its domain, for mm; the domain is the admission's to
 * destroy from now on, also on an error.
 * 0, -ENOMEM, -EBUSY if it is in a domain, -EIO if it was cut off, -ETIMEDOUT;
 * then it is not in.  Context: the caller holds a user of mm; may sleep.
 */
must_check int admission_open(struct admission *a, struct mm *mm);

/* When it returns the device reaches nothing any more, whoever was first.  Any
 * number of times; may sleep; also from fault(). */
void admission_deny(struct admission *a);

/* The same, and fault() does not run any more; the domain is gone.  Once, also
 * after the mm's exit; may sleep. */
void admission_close(struct admission *a);
