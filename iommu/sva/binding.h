/* SPDX-License-Identifier: MIT */
/*
 * binding.h - a device bound to an address space: what sva and mirror share
 *
 *	attach  register the notifier, bind the page requests, attach the device.
 *	        In this order the device can neither cache a translation nor
 *	        fault before both are served
 *	deny    detach the device from its domain: from the return on it reaches
 *	        nothing.  Part of every end
 *	detach  deny, wait for faults in progress, unregister the notifier,
 *	        destroy the domain
 *
 * The address space and the driver may end in either order.  The notifier's
 * release() calls binding_deny() when the mm exits; sva_unbind() and
 * mirror_unbind() call binding_detach(), before or after that.
 */
#pragma once

#include "iommu/core/domain.h"
#include "iommu/sva/ppr.h"
#include "mm/notifier/mmu_notifier.h"

/*
 * The caller of binding_attach() sets all but ppr_binding.
 * Key: (I) immutable from binding_attach() to binding_detach()
 */
struct binding {
	struct domain *domain;   /* (I) the device is its only member       */
	struct mmu_notifier *mn; /* (I) its release() calls binding_deny()  */
	uint16_t devid;          /* (I)                                     */
	unsigned flags;          /* (I) ATTACH_*                            */
	struct ppr *ppr;         /* (I) NULL: no page requests              */
	/*
	 * (I) Make an access to the pages from va on possible, as ppr_fault_fn;
	 * access is PROT_R or PROT_W.  Returns 0, or the error of the first page
	 * that failed, with which the requests are refused.  May sleep.
	 */
	int (*fault)(struct binding *a, va_t va, unsigned pages,
		     enum prot access);
	struct ppr_binding *ppr_binding; /* (I)                             */
};

/*
 * Attach the device to a->domain, for mm.  The binding owns the domain from now
 * on and destroys it, on an error too.
 * Returns 0, or with the device not attached: -ENOMEM, -EBUSY if it is in a
 * domain, -EIO if it is unresponsive, -EINVAL if firmware wants memory mapped
 * for it, -ETIMEDOUT.
 * Context: the caller holds a user of mm; may sleep.
 */
must_check int binding_attach(struct binding *a, struct mm *mm);

/*
 * Detach the device from its domain.  From the return on it reaches nothing, also
 * if another caller has begun to deny it.  May be called any number of times, and
 * from fault().  Context: may sleep.
 */
void binding_deny(struct binding *a);

/*
 * Deny the device, wait until fault() runs for no request, and destroy the domain.
 * Called once, also after the mm's exit.  Context: may sleep; not from fault().
 */
void binding_detach(struct binding *a);
