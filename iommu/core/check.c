/* SPDX-License-Identifier: MIT */
/*
 * check.c - the checker: what devices can reach, by the bytes the IOMMU reads
 *
 *   device table ──► all 65,536 entries: "deny", or its domain's own; their
 *                       │ interrupts by the grants (iommu/core/remap.h)
 *                       │ root, levels
 *                       ▼
 *   tree ──► tables of kind TABLE ──► leaves that grant something
 *                                        │ frame
 *                                        ▼
 *               user memory, PAGE_DMA, DMA_MEMORY, or no RAM at all
 *
 * It uses neither the walker nor the page-table formats of mm/pt, but reads
 * entries as 48882, section 2.2.3, says that hardware does.  So it serves for a
 * domain's own tree and for a shared one; in a shared tree it also checks that
 * each entry grants the device exactly what it grants the CPU.
 *
 * Locks: iommu->lock to read, then each domain's.
 */
#include "arch/pte.h"
#include "iommu/core/domain.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_amdv1.h"

#define RIGHTS  (AMDV1_IR | AMDV1_IW)
#define AT_ONCE 8u /* entries compared between two branches              */

/* ---- frames ------------------------------------------------------------ */

static bool in_ram(pa_t pa)
{
	const struct memmap *ram = pmm_ram();

	for (unsigned i = 0; i < ram->n; i++)
		if (pa >= ram->r[i].start && pa < ram->r[i].end)
			return true;
	return false;
}

static bool in_controllers(pa_t pa)
{
	return pa >= CONTROLLERS && pa < CONTROLLERS_END;
}

/* Name what must not be reached at pa with these RIGHTS; NULL: nothing. */
static const char *forbidden(pa_t pa, uint64_t rights)
{
	va_t image = pa + KERNEL_BASE;
	enum page_kind kind = PAGE_RESERVED;

	if (in_controllers(pa))
		return "interrupt controller's or IOMMU's";
	if (!in_ram(pa))
		return NULL;
	if (image >= (va_t)dma_start && image < (va_t)dma_end)
		return NULL;
	if (pa >> PAGE_SHIFT < frames_end) {
		struct page *page = page_of_pa(pa);

		/* Of a whole block only the head is ANON (mm/rmap/block.h). */
		kind = page_kind(page);
		if (kind == PAGE_FREE)
			kind = page_kind(page_head(page));
	}
	switch (kind) {
	case PAGE_ANON:
	case PAGE_OBJECT:
	case PAGE_DMA:
	case PAGE_HUGETLB:
		return NULL;
	case PAGE_ZERO:
	case PAGE_KSM:
		return rights & AMDV1_IW ? "shared and writable" : NULL;
	default:
		return page_kind_name(kind);
	}
}

/* ---- trees ------------------------------------------------------------- */

/* True if the entry of a shared tree grants CPU and device the same (B32), and
 * grants neither where nothing is mapped (B34).  mm/core/entry.h. */
static bool same_for_both(uint64_t e)
{
	bool user = (e & PTE_P) && (e & PTE_U);

	return user == !!(e & AMDV1_IR) &&
	       (user && (e & PTE_W)) == !!(e & AMDV1_IW);
}

/* True if firmware wants pa for a member, and pa is neither a controller's nor a
 * frame of the kernel's.  Context: d->lock held. */
static bool firmware_wants(const struct domain *d, pa_t pa)
{
	const struct iommu_unity *u;
	struct attachment *a;

	require(spin_held((struct spinlock *)&d->lock));
	if (in_controllers(pa) || (pa >> PAGE_SHIFT < frames_end &&
				   page_kind(page_of_pa(pa)) != PAGE_RESERVED))
		return false;
	LIST_FOREACH (a, &d->members, member)
		for (unsigned i = 0; (u = iommu_unity(d->iommu, a->devid, i));
		     i++)
			if (pa >= u->start && pa < u->end)
				return true;
	return false;
}

static const char *check_leaf(const struct domain *d, uint16_t devid,
			      iova_t iova, uint64_t entry, uint64_t bytes,
			      uint64_t rights)
{
	pa_t pa = entry & PT_ADDRESS;

	for (uint64_t at = 0; at < bytes; at += PAGE_SIZE) {
		const char *what = forbidden(pa + at, rights);

		if (!what || firmware_wants(d, pa + at))
			continue;
		return check_message("device %x reaches %lx (%s) at iova %lx",
				     devid, pa + at, what, iova + at);
	}
	return NULL;
}

static const char *complain(uint16_t devid, iova_t iova, uint64_t e,
			    const char *what)
{
	return check_message("device %x: entry %lx at iova %lx %s", devid, e,
			     iova, what);
}

/* Check the table of `levels` levels at pa, whose first entry is for iova. */
static const char *check_table(const struct domain *d, uint16_t devid, pa_t pa,
			       unsigned levels, iova_t iova, uint64_t rights)
{
	const uint64_t *table = phys_to_virt(pa);
	uint64_t span = pt_span(levels - 1);
	const char *why = NULL;

	if (pa >> PAGE_SHIFT >= frames_end ||
	    page_kind(page_of_pa(pa)) != PAGE_TABLE)
		return check_message(
			"device %x: %lx at iova %lx is not a table page", devid,
			pa, iova);
	for (unsigned i = 0; i < PT_ENTRIES && !why; i++, iova += span) {
		uint64_t e = READ_ONCE(table[i]), granted = e & rights;
		unsigned next = (unsigned)FIELD_GET(AMDV1_NEXT_LEVEL, e);

		if (d->shared && !same_for_both(e))
			return complain(devid, iova, e,
					"differs for CPU and device");
		if (!(e & AMDV1_PR) || !granted)
			continue;
		if (!next) {
			why = check_leaf(d, devid, iova, e, span, granted);
		} else if (next == levels - 1) {
			why = check_table(d, devid, e & PT_ADDRESS, next, iova,
					  granted);
		} else {
			why = complain(devid, iova, e, "skips levels");
		}
	}
	return why;
}

/* ---- device table ------------------------------------------------------ */

static bool equal(const struct dte *a, const struct dte *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Return 0 if the entry is the deny entry.  Without a branch: it is hot. */
static inline uint64_t differs(const struct dte *dte, uint64_t deny,
			       uint64_t no_interrupts)
{
	return (dte->w[0] ^ deny) | dte->w[1] | (dte->w[2] ^ no_interrupts) |
	       dte->w[3];
}

/* Count the entries that are not "deny".  Most of the checker's time is here. */
static unsigned count_others(const struct iommu *iommu)
{
	struct dte deny = iommu_deny(iommu);
	const struct dte *t = iommu->table;
	unsigned n = 0;

	assert(!(deny.w[1] | deny.w[3]));
	for (unsigned i = 0; i < DEVIDS; i += AT_ONCE, t += AT_ONCE) {
		uint64_t any = 0;

#pragma GCC unroll 8
		for (unsigned k = 0; k < AT_ONCE; k++)
			any |= differs(&t[k], deny.w[0], deny.w[2]);
		for (unsigned k = 0; any && k < AT_ONCE; k++)
			n += differs(&t[k], deny.w[0], deny.w[2]) != 0;
	}
	return n;
}

/* Check a member's entry and tree.  Context: iommu->lock held. */
static const char *check_member(struct iommu *iommu, const struct attachment *a)
{
	struct domain *d = a->domain;
	struct dte is, want;
	const char *why = NULL;

	require(rw_held(&iommu->lock));
	spin_lock(&d->lock);
	is = iommu_get_dte(iommu, a->devid);
	want = domain_dte(d, a);
	want.w[2] = remap_word(iommu, a->devid);
	if (!equal(&is, &want))
		why = check_message(
			"device %x: its entry %lx %lx is not its domain's",
			a->devid, is.w[0], is.w[1]);
	else if (!(a->flags & ATTACH_DENIED))
		why = check_table(d, a->devid, is.w[0] & DTE0_ROOT,
				  (unsigned)FIELD_GET(DTE0_MODE, is.w[0]), 0,
				  is.w[0] & RIGHTS);
	spin_unlock(&d->lock);
	return why;
}

/* The numbers that grants name: each grant names two, which may be the same. */
#define NUMBERS (2 * IRQ_GRANTS)

static uint16_t number_at(const struct iommu *iommu, unsigned n)
{
	const struct remap_grant *g = &iommu->grants[n / 2];

	return n % 2 ? g->owner : g->devid;
}

/* True if no grant before names the n-th number. */
static bool is_first(const struct iommu *iommu, unsigned n)
{
	if (!iommu->grants[n / 2].table)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (iommu->grants[i / 2].table &&
		    number_at(iommu, i) == number_at(iommu, n))
			return false;
	return true;
}

/* True if its entry leads to a domain.  Context: iommu->lock held. */
static bool is_attached(const struct iommu *iommu, uint16_t devid)
{
	const struct attachment *a;

	require(rw_held((struct rwsem *)&iommu->lock));
	LIST_FOREACH (a, &iommu->attached, link)
		if (a->devid == devid)
			return !(a->flags & ATTACH_DENIED);
	return false;
}

/*
 * Check the tables of interrupts, and the entries of devices that may interrupt
 * and are in no domain, which *outside counts.  Context: iommu->lock held.
 */
static const char *check_granted(const struct iommu *iommu, unsigned *outside)
{
	const char *why = NULL;

	require(rw_held((struct rwsem *)&iommu->lock));
	for (unsigned n = 0; n < NUMBERS && !why; n++) {
		uint16_t devid = number_at(iommu, n);
		struct dte is, want = iommu_deny(iommu);

		if (!is_first(iommu, n))
			continue;
		why = remap_check(iommu, &iommu->grants[n / 2]);
		if (why || is_attached(iommu, devid))
			continue;
		++*outside;
		is = iommu_get_dte(iommu, devid);
		want.w[2] = remap_word(iommu, devid);
		if (!equal(&is, &want))
			why = check_message(
				"device %x: its entry %lx %lx %lx is "
				"not \"deny\" "
				"with its interrupts",
				devid, is.w[0], is.w[1], is.w[2]);
	}
	return why;
}

const char *iommu_check(struct iommu *iommu)
{
	struct attachment *a;
	const char *why = NULL;
	unsigned members = 0, outside = 0;

	require(may_sleep());
	rw_read_lock(&iommu->lock);
	LIST_FOREACH (a, &iommu->attached, link) {
		members += !(a->flags & ATTACH_DENIED);
		if (!why)
			why = check_member(iommu, a);
	}
	if (!why)
		why = check_granted(iommu, &outside);
	if (!why && count_others(iommu) != members + outside)
		why = check_message(
			"%u entries are not \"deny\": %u devices are in "
			"a domain, %u others may interrupt",
			count_others(iommu), members, outside);
	rw_read_unlock(&iommu->lock);
	return why;
}
