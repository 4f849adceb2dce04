/* SPDX-License-Identifier: MIT */
/*
 * binding.c - attach a device to an address space, and detach it
 *
 * A detach that the IOMMU does not confirm panics: the device may still reach
 * pages that are about to be freed, and the caller (munmap(), exit) cannot be
 * made to keep them.
 */
#include "iommu/sva/binding.h"
#include "kernel/err.h"
#include "kernel/panic.h"

/*
 * Serve page requests.  A region that forbids the access and a lack of memory
 * get the same answer, INVALID: the request cannot succeed.  FAILURE would stop
 * all requests of the device.  Context: of a ppr_fault_fn.
 */
static enum ppr_status page_request(void *arg, va_t va, unsigned pages,
				    enum prot access)
{
	struct binding *a = arg;

	require(may_sleep());
	if (access & PROT_X)
		return PPR_INVALID; /* v1 tables have no right to execute */
	if (a->fault(a, va, pages, access & PROT_W ? PROT_W : PROT_R))
		return PPR_INVALID;
	return PPR_SUCCESS;
}

/*
 * A flag "already denied" would be wrong.  An unbind could set it and be
 * preempted; an exit that then finds it set would free pages that the device
 * still reaches.  domain_detach() takes iommu->lock instead: the second caller
 * waits for the first, and finds that the device is no member.
 */
void binding_deny(struct binding *a)
{
	int error;

	require(may_sleep());
	PROBE(binding_deny, a, a->devid);
	error = domain_detach(a->domain, a->devid);
	if (error && error != -ENOENT)
		panic("device %x cannot be denied", a->devid);
}

static void device_detach(struct binding *a)
{
	binding_deny(a);
	if (a->ppr)
		ppr_unbind(a->ppr, a->ppr_binding);
}

static int device_attach(struct binding *a)
{
	int error = 0;

	/* Memory that firmware wants mapped has no place in a process. */
	if (iommu_unity(a->domain->iommu, a->devid, 0))
		return err(EINVAL);
	if (a->ppr)
		error = ppr_bind(a->ppr, a->devid, PPR_NO_PASID, page_request,
				 a, &a->ppr_binding);
	if (error)
		return error;
	error = domain_attach(a->domain, a->devid, a->flags);
	if (error)
		device_detach(a);
	return error;
}

int binding_attach(struct binding *a, struct mm *mm)
{
	int error;

	require(may_sleep());
	error = mmu_notifier_register(a->mn, mm);
	if (!error) {
		error = device_attach(a);
		if (error)
			mmu_notifier_unregister(a->mn);
	}
	if (error)
		domain_destroy(a->domain);
	return error;
}

void binding_detach(struct binding *a)
{
	require(may_sleep());
	device_detach(a);
	mmu_notifier_unregister(a->mn);
	domain_destroy(a->domain);
}
