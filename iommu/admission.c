/* SPDX-License-Identifier: MIT */
/*
 * admission.c - let in, show out
 *
 * What an IOMMU that does not answer has let in stays in: the page under it is
 * about to be freed by somebody who cannot be told to keep it, so that is the
 * end of the machine.
 */
#include "iommu/admission.h"
#include "kernel/err.h"
#include "kernel/panic.h"

int admission_open(struct admission *a, ppr_fault_fn *fault, void *arg)
{
	int error = 0;

	if (a->ppr)
		error = ppr_bind(a->ppr, a->devid, PPR_NO_PASID, fault, arg,
				 &a->binding);
	if (error)
		return error;
	error = domain_attach(a->domain, a->devid, a->flags);
	if (error)
		admission_close(a);
	return error;
}

/*
 * A flag "it is done" would be wrong: an exit that finds it set by an unbind
 * that has not got further frees pages under the device.  Who comes second waits
 * for iommu->lock, and then finds that the device is no member.
 */
void admission_deny(struct admission *a)
{
	int error;

	PROBE(admission_deny, a, a->devid);
	error = domain_detach(a->domain, a->devid);
	if (error && error != -ENOENT)
		panic("device %x cannot be denied", a->devid);
}

void admission_close(struct admission *a)
{
	admission_deny(a);
	if (a->ppr)
		ppr_unbind(a->ppr, a->binding);
}

/* A region that forbids and memory that is out are the same to a device: this
 * request will not succeed.  FAILURE would end all of its requests. */
enum ppr_status admission_answer(int error)
{
	return error ? PPR_INVALID : PPR_SUCCESS;
}
