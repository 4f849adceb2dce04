/* SPDX-License-Identifier: MIT */
/*
 * admission.h - a device that is let into a domain, and shown out
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

/* Immutable while open. */
struct admission {
	struct domain *domain; /* nobody else is a member                   */
	uint16_t devid;
	unsigned flags;  /* ATTACH_*                                        */
	struct ppr *ppr; /* NULL: no page requests                          */
	struct ppr_binding *binding;
};

/*
 * Let the device in; its page requests go to fault(arg, ...).  The caller has
 * set what comes before binding.
 * 0, -ENOMEM, -EBUSY if it is in a domain, -ETIMEDOUT; then it is not in.
 * May sleep.
 */
must_check int admission_open(struct admission *a, ppr_fault_fn *fault,
			      void *arg);

/* When it returns the device reaches nothing any more, whoever was first.  Any
 * number of times; may sleep; also from fault(). */
void admission_deny(struct admission *a);

/* The same, and fault() does not run any more.  Once; may sleep. */
void admission_close(struct admission *a);

/* The answer to a page request that ended so. */
enum ppr_status admission_answer(int error);
