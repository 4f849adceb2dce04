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

/* A region that forbids and memory that is out are the same to a device: this
 * request will not succeed.  FAILURE would end all of its requests. */
static enum ppr_status page_request(void *arg, va_t va, enum prot access)
{
	struct admission *a = arg;

	if (access & PROT_X)
		return PPR_INVALID; /* v1 tables say nothing of execution */
	if (a->fault(a, va, access & PROT_W ? PROT_W : PROT_R))
		return PPR_INVALID;
	return PPR_SUCCESS;
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

static void show_out(struct admission *a)
{
	admission_deny(a);
	if (a->ppr)
		ppr_unbind(a->ppr, a->binding);
}

static int let_in(struct admission *a)
{
	int error = 0;

	if (a->ppr)
		error = ppr_bind(a->ppr, a->devid, PPR_NO_PASID, page_request,
				 a, &a->binding);
	if (error)
		return error;
	error = domain_attach(a->domain, a->devid, a->flags);
	if (error)
		show_out(a);
	return error;
}

int admission_open(struct admission *a, struct mm *mm)
{
	int error = mmu_notifier_register(a->mn, mm);

	if (!error) {
		error = let_in(a);
		if (error)
			mmu_notifier_unregister(a->mn);
	}
	if (error)
		domain_destroy(a->domain);
	return error;
}

void admission_close(struct admission *a)
{
	show_out(a);
	mmu_notifier_unregister(a->mn);
	domain_destroy(a->domain);
}
