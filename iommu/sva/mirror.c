/* SPDX-License-Identifier: MIT */
/*
 * mirror.c - a domain's table as the table of a shadow
 *
 * mm/notifier/shadow.c is the protocol between faults and invalidations.  This
 * file maps, unmaps and looks up in an I/O page table, and makes up for the
 * accessed and dirty bits that such a table does not have.
 *
 * Locks: shadow->lock > domain->lock.
 */
#include "iommu/sva/mirror.h"
#include "iommu/sva/hmm_map.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/rmap/block.h"

static struct mirror *of(struct shadow *s)
{
	return container_of(s, struct mirror, shadow);
}

/* ---- the table ---------------------------------------------------------- */

/* Map the len bytes at va, of which the domain maps none or, with these frames and fewer
 * rights, a part.  Returns -EEXIST if it maps a part and not va. */
static int map_range(struct domain *d, va_t va, pa_t pa, uint64_t len,
		     enum prot prot, bool there)
{
	if (there)
		return domain_protect(d, va, va + len, prot);
	return domain_map(d, va, pa, len, prot);
}

/*
 * Map a page, or where the CPU has one entry the 2 MiB around it: then small entries in
 * the way leave the page.  What the device may write counts as dirty from now on (B33).
 * Context: s->lock held.
 */
static int map(struct shadow *s, va_t va, pa_t pa, enum prot prot,
	       unsigned level)
{
	struct domain *d = of(s)->binding.domain;
	uint64_t inside = va & (BLOCK_SIZE - 1);
	enum prot old;
	pa_t old_pa;
	bool there;
	int ret = -EEXIST;

	require(spin_held(&s->lock));
	prot &= PROT_R | PROT_W;
	there = domain_lookup(d, va, &old_pa, &old);
	assert(!there || page_same(old_pa, pa));
	if (level && prot & PROT_W)
		block_set_dirty(page_of_pa(pa - inside));
	else if (prot & PROT_W)
		page_part_set_dirty(page_of_pa(pa));
	if (there && (old & prot) == prot)
		return 0;
	if (level) //: mirror-large
		ret = map_range(d, va - inside, pa - inside, BLOCK_SIZE, prot,
				there);
	if (ret == -EEXIST)
		ret = map_range(d, va, pa, PAGE_SIZE, prot, there);
	return ret;
}

/*
 * Unmap, or panic if the IOMMU does not confirm: the caller frees the pages in any case.
 * A leaf of 2 MiB that the range cuts is split; without memory for its table all of it
 * goes, and the device faults once more.
 */
static int unmap(struct shadow *s, va_t start, va_t end, bool may_sleep)
{
	struct mirror *m = of(s);
	struct domain *d = m->binding.domain;
	int error = domain_unmap(d, start, end);

	if (error == -ENOMEM) //: mirror-no-table
		error = domain_unmap(d, ALIGN_DOWN(start, BLOCK_SIZE),
				     ALIGN_UP(end, BLOCK_SIZE));
	if (error)
		panic("mirror: device %x does not flush %lx-%lx",
		      m->binding.devid, start, end);
	return 0;
}

static bool lookup(struct shadow *s, va_t va)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(of(s)->binding.domain, va, &pa, &prot);
}

static void release(struct shadow *s)
{
	binding_deny(&of(s)->binding);
}

static const struct shadow_ops ops = {
	.map = map,
	.unmap = unmap,
	.lookup = lookup,
	.release = release,
};

/* ---- faults ------------------------------------------------------------- */

int mirror_fault(struct mirror *m, va_t va, enum prot access)
{
	require(may_sleep());
	assert(access == PROT_R || access == PROT_W);
	return shadow_fault(&m->shadow, va, access);
}

/*
 * Map the pages that are reported, all of 4 KiB.  -EAGAIN: some are mapped already, or
 * of an entry of 2 MiB, or there is no memory for all.  Context: s->lock held.
 */
static int map_reports(struct mirror *m, const struct hmm_range *range)
{
	uint64_t n = (range->end - range->start) >> PAGE_SHIFT;
	int error;

	require(spin_held(&m->shadow.lock));
	for (uint64_t i = 0; i < n; i++) {
		uint64_t report = range->hmm_pfns[i];

		if (hmm_pfn_order(report))
			return -EAGAIN;
		if (report & HMM_PFN_WRITE)
			page_part_set_dirty(page_of(hmm_pfn(report)));
	}
	error = hmm_dma_map(m->binding.domain, range, range->start);
	return error == -EEXIST || error == -ENOMEM ? -EAGAIN : error;
}

/*
 * Try once to fault the pages of [start, end) in and to map them all: the fault of
 * mm/notifier/shadow.h, with one look at the CPU's table and one flush.  -EAGAIN: they
 * are to be faulted one by one, which finds the page that fails or was overtaken.
 */
static int try_range(struct mirror *m, va_t start, va_t end, enum prot access)
{
	uint64_t reports[PPR_GROUP_MAX];
	struct hmm_range range = { .start = start,
				   .end = end,
				   .hmm_pfns = reports,
				   .default_flags = HMM_PFN_REQ_FAULT };
	struct shadow *s = &m->shadow;
	uint64_t seq;
	int error;

	require(may_sleep());
	if (access == PROT_W)
		range.default_flags |= HMM_PFN_REQ_WRITE;
	seq = shadow_begin(s, start, end);
	if (hmm_range_report(s->mn.mm, &range))
		return -EAGAIN;
	PROBE(shadow_looked, s, start);
	spin_lock(&s->lock);
	if (s->dead || shadow_retry(s, start, end, seq))
		error = -EAGAIN;
	else
		error = map_reports(m, &range);
	spin_unlock(&s->lock);
	return error;
}

int mirror_fault_pages(struct mirror *m, va_t va, unsigned pages,
		       enum prot access)
{
	va_t start = va & PAGE_MASK, end = start + pages * PAGE_SIZE;
	struct mm *mm = m->shadow.mn.mm;
	int error = -EAGAIN;

	assert(pages <= PPR_GROUP_MAX);
	if (range_valid(start, end) && mm_try_get(mm)) {
		error = try_range(m, start, end, access);
		mm_put(mm);
	}
	if (error != -EAGAIN)
		return error;
	do
		error = mirror_fault(m, start, access);
	while (!error && (start += PAGE_SIZE) != end);
	return error;
}

static int binding_fault(struct binding *binding, va_t va, unsigned pages,
			 enum prot access)
{
	struct mirror *m = container_of(binding, struct mirror, binding);

	return pages == 1 ? mirror_fault(m, va, access)
			  : mirror_fault_pages(m, va, pages, access);
}

/* ---- binding ------------------------------------------------------------ */

int mirror_bind(struct mirror *m, struct iommu *iommu, struct ppr *ppr,
		uint16_t devid, unsigned flags, struct mm *mm)
{
	struct domain *d;

	require(may_sleep());
	d = domain_create(iommu);
	if (!d)
		return err(ENOMEM);
	*m = (struct mirror){ .binding = { .domain = d,
					   .mn = &m->shadow.mn,
					   .devid = devid,
					   .flags = flags,
					   .ppr = ppr,
					   .fault = binding_fault } };
	shadow_init(&m->shadow, &ops);
	return binding_attach(&m->binding, mm);
}

void mirror_unbind(struct mirror *m)
{
	require(may_sleep());
	binding_detach(&m->binding);
}
