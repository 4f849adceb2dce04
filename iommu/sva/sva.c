/* SPDX-License-Identifier: MIT */
/*
 * sva.c - bind, flush, fault
 *
 * iommu/sva/binding.c attaches and detaches, for the driver and for the mm: when
 * the mm's last user leaves, release() denies the device and flushes before the
 * first page or table is freed (B25).
 *
 * Locks: none of its own.  invalidate_range() runs under mm->pt_lock and takes
 * domain->lock; everything else may sleep.
 */
#include "iommu/sva/sva.h"
#include "kernel/err.h"
#include "kernel/panic.h"

static struct sva *of(struct mmu_notifier *mn)
{
	return container_of(mn, struct sva, mn);
}

/*
 * Flush [start, end).  The notifier does not say whether entries have changed or
 * tables are about to be freed, so directory entries are flushed too.
 * Context: mm->pt_lock held.  //: sva-flush
 */
static void invalidate_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			     va_t end)
{
	struct sva *sva = of(mn);

	require(spin_held(&mm->pt_lock));
	atomic_fetch_add_explicit(&sva->flushes, 1, memory_order_relaxed);
	/* The caller frees the page in any case, so an unconfirmed flush would
	 * leave a freed page within the device's reach. */
	if (domain_flush(sva->binding.domain, start, end))
		panic("sva: device %x does not flush %lx-%lx",
		      sva->binding.devid, start, end);
}

static void release(struct mmu_notifier *mn, struct mm *mm)
{
	binding_deny(&of(mn)->binding);
}

static const struct mmu_notifier_ops ops = {
	.release = release,
	.invalidate_range = invalidate_range,
};

/*
 * mm_fault() does not notify when it fills a hole.  If the IOMMU caches entries
 * that are not present (NpCache), flush before the device retries: also the pages
 * before one that fails.
 */
static always_inline int fault_pages(struct sva *sva, va_t va, unsigned pages,
				     enum prot access)
{
	struct domain *d = sva->binding.domain;
	struct mm *mm = sva->mn.mm;
	va_t start = va & PAGE_MASK, at = start;
	va_t end = start + pages * PAGE_SIZE;
	int error, flushed = 0;

	assert(access == PROT_R || access == PROT_W);
	if (va >= USER_END || !mm_try_get(mm))
		return err(EFAULT);
	do
		error = mm_fault(mm, at, access);
	while (!error && (at += PAGE_SIZE) != end);
	if (at != start && d->iommu->np_cache)
		flushed = domain_flush(d, start, at);
	mm_put(mm);
	return error ? error : flushed;
}

int sva_fault(struct sva *sva, va_t va, enum prot access)
{
	require(may_sleep());
	return fault_pages(sva, va, 1, access);
}

int sva_fault_pages(struct sva *sva, va_t va, unsigned pages, enum prot access)
{
	require(may_sleep());
	return fault_pages(sva, va, pages, access);
}

static int binding_fault(struct binding *binding, va_t va, unsigned pages,
			 enum prot access)
{
	return sva_fault_pages(container_of(binding, struct sva, binding), va,
			       pages, access);
}

int sva_bind(struct sva *sva, struct iommu *iommu, struct ppr *ppr,
	     uint16_t devid, unsigned flags, struct mm *mm)
{
	struct domain *d;

	require(may_sleep());
	d = domain_create_shared(iommu, mm->pt.root, USER_END);
	if (!d)
		return err(ENOMEM);
	*sva = (struct sva){ .mn = { .ops = &ops },
			     .binding = { .domain = d,
					  .mn = &sva->mn,
					  .devid = devid,
					  .flags = flags,
					  .ppr = ppr,
					  .fault = binding_fault } };
	return binding_attach(&sva->binding, mm);
}

void sva_unbind(struct sva *sva)
{
	require(may_sleep());
	binding_detach(&sva->binding);
}
