/* SPDX-License-Identifier: MIT */
/*
 * admission.h - a device that is let into a domain, and shown out once
 *
 *	open   who serves its faults, then the device: none comes too early
 *	deny   the device: when it returns nothing is reached any more
 *	close  deny, then wait for the faults in work
 *
 * An address space and its device end in any order: the mm's release() denies,
 * whoever bound them closes.
 */
#pragma once

#include "iommu/domain.h"
#include "iommu/ppr.h"

/* Key: (I) immutable while open  (A) atomic */
struct admission {
	struct domain *domain;       /* (I)                                 */
	uint16_t devid;              /* (I)                                 */
	unsigned flags;              /* (I) ATTACH_*                        */
	struct ppr *ppr;             /* (I) NULL: no page requests          */
	struct ppr_binding *binding; /* (I)                                 */
	_Atomic bool denied;         /* (A)                                 */
};

/*
 * Let the device in; its page requests go to fault(arg, ...).  The caller has
 * set what comes before binding.
 * 0, -ENOMEM, -EBUSY if it is in a domain, -ETIMEDOUT; then it is not in.
 * May sleep.
 */
must_check int admission_open(struct admission *a, ppr_fault_fn *fault,
			      void *arg);

/* The device reaches nothing any more.  Only the first call does it, and others
 * do not wait for it.  May sleep; also from fault(). */
void admission_deny(struct admission *a);

/* The same, and fault() does not run any more.  Once; may sleep. */
void admission_close(struct admission *a);

/* The answer to a page request that ended so. */
enum ppr_status admission_answer(int error);
