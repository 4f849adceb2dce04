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

static int binding_fault(struct binding *binding, va_t va, enum prot access)
{
	return mirror_fault(container_of(binding, struct mirror, binding), va,
			    access);
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
