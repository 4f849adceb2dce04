/* SPDX-License-Identifier: MIT */
/*
 * sva.c - bind, flush, fault, and the end, from either side
 *
 * Binding: who flushes for the device is there before it can cache anything,
 * and who serves its faults before it can fault.  The end goes the other way
 * round.  When the mm's last user leaves, release() denies the device and
 * flushes before the first page, or table, is freed (B25).
 *
 * Locks: none of its own.  invalidate_range() runs under pt_lock and takes the
 * domain's; the rest may sleep.
 */
#include "iommu/sva.h"
#include "kernel/err.h"
#include "kernel/panic.h"

static struct sva *of(struct mmu_notifier *mn)
{
	return container_of(mn, struct sva, mn);
}

/* Entries have changed, or tables are about to be freed: no difference is made,
 * so the directories are flushed too.  //: sva-flush */
static void invalidate_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			     va_t end)
{
	struct sva *sva = of(mn);

	atomic_fetch_add_explicit(&sva->flushes, 1, memory_order_relaxed);
	/* The caller cannot be told to keep the page: going on would free what
	 * the device still reaches. */
	if (domain_flush(sva->domain, start, end))
		panic("sva: device %x does not forget %lx-%lx", sva->devid,
		      start, end);
}

/* Once, by whoever is first: who ends the binding or who ends the mm. */
static void detach(struct sva *sva)
{
	if (atomic_exchange(&sva->detached, true))
		return;
	if (domain_detach(sva->domain, sva->devid))
		panic("sva: device %x cannot be denied", sva->devid);
}

static void release(struct mmu_notifier *mn, struct mm *mm)
{
	detach(of(mn));
}

static const struct mmu_notifier_ops ops = {
	.release = release,
	.invalidate_range = invalidate_range,
};

/*
 * mm_fault() tells nobody of a page where nothing was: who caches holes has to
 * be told here, before he tries again.
 */
int sva_fault(struct sva *sva, va_t va, enum prot access)
{
	struct mm *mm = sva->mn.mm;
	va_t page = va & PAGE_MASK;
	int error;

	assert(access == PROT_R || access == PROT_W);
	if (va >= USER_END || !mm_try_get(mm))
		return err(EFAULT);
	error = mm_fault(mm, va, access);
	if (!error && sva->domain->iommu->np_cache)
		error = domain_flush(sva->domain, page, page + PAGE_SIZE);
	mm_put(mm);
	return error;
}

static enum ppr_status page_request(void *arg, va_t va, enum prot access)
{
	if (access & PROT_X)
		return PPR_INVALID;
	return sva_fault(arg, va, access & PROT_W ? PROT_W : PROT_R)
		       ? PPR_INVALID
		       : PPR_SUCCESS;
}

static int attach(struct sva *sva)
{
	int error = 0;

	if (sva->ppr)
		error = ppr_bind(sva->ppr, sva->devid, PPR_NO_PASID,
				 page_request, sva, &sva->binding);
	if (error)
		return error;
	atomic_store(&sva->detached, false);
	error = domain_attach(sva->domain, sva->devid, 0);
	if (!error)
		return 0;
	if (error == -ETIMEDOUT)
		detach(sva); /* it may be in */
	atomic_store(&sva->detached, true);
	if (sva->ppr)
		ppr_unbind(sva->ppr, sva->binding);
	return error;
}

int sva_bind(struct sva *sva, struct iommu *iommu, struct ppr *ppr,
	     uint16_t devid, struct mm *mm)
{
	int error;

	*sva = (struct sva){ .mn = { .ops = &ops },
			     .devid = devid,
			     .ppr = ppr,
			     .detached = true };
	sva->domain = domain_create_shared(iommu, mm->pt.root, USER_END);
	if (!sva->domain)
		return err(ENOMEM);
	error = mmu_notifier_register(&sva->mn, mm);
	if (!error) {
		error = attach(sva);
		if (error)
			mmu_notifier_unregister(&sva->mn);
	}
	if (error)
		domain_destroy(sva->domain);
	return error;
}

void sva_unbind(struct sva *sva)
{
	detach(sva);
	if (sva->ppr)
		ppr_unbind(sva->ppr, sva->binding);
	mmu_notifier_unregister(&sva->mn);
	domain_destroy(sva->domain);
}
