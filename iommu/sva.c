/* SPDX-License-Identifier: MIT */
/*
 * sva.c - bind, flush, fault
 *
 * The beginning and the end, from either side, are admission.c's: when the mm's
 * last user leaves, release() denies the device and flushes before the first
 * page, or table, is freed (B25).
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

/* Entries have changed, or tables are about to be freed: nobody says which, so
 * directories are forgotten too.  //: sva-flush */
static void invalidate_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			     va_t end)
{
	struct sva *sva = of(mn);

	atomic_fetch_add_explicit(&sva->flushes, 1, memory_order_relaxed);
	/* The caller cannot be told to keep the page: going on would free what
	 * the device still reaches. */
	if (domain_flush(sva->door.domain, start, end))
		panic("sva: device %x does not forget %lx-%lx", sva->door.devid,
		      start, end);
}

static void release(struct mmu_notifier *mn, struct mm *mm)
{
	admission_deny(&of(mn)->door);
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
	struct domain *d = sva->door.domain;
	struct mm *mm = sva->mn.mm;
	va_t page = va & PAGE_MASK;
	int error;

	assert(access == PROT_R || access == PROT_W);
	if (va >= USER_END || !mm_try_get(mm))
		return err(EFAULT);
	error = mm_fault(mm, va, access);
	if (!error && d->iommu->np_cache)
		error = domain_flush(d, page, page + PAGE_SIZE);
	mm_put(mm);
	return error;
}

static int door_fault(struct admission *door, va_t va, enum prot access)
{
	return sva_fault(container_of(door, struct sva, door), va, access);
}

int sva_bind(struct sva *sva, struct iommu *iommu, struct ppr *ppr,
	     uint16_t devid, unsigned flags, struct mm *mm)
{
	struct domain *d = domain_create_shared(iommu, mm->pt.root, USER_END);

	if (!d)
		return err(ENOMEM);
	*sva = (struct sva){ .mn = { .ops = &ops },
			     .door = { .domain = d,
				       .mn = &sva->mn,
				       .devid = devid,
				       .flags = flags,
				       .ppr = ppr,
				       .fault = door_fault } };
	return admission_open(&sva->door, mm);
}

void sva_unbind(struct sva *sva)
{
	admission_close(&sva->door);
}
