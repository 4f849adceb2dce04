/* SPDX-License-Identifier: MIT */
/*
 * check.c - the oracle: what can devices reach, by what the IOMMU reads
 *
 *   device table ──► all 65,536 entries: "deny", or its domain's own
 *                       │ root, levels
 *                       ▼
 *   tree ──► tables of kind TABLE ──► leaves that grant something
 *                                        │ frame
 *                                        ▼
 *               user memory, PAGE_DMA, DMA_MEMORY, or no RAM at all
 *
 * It asks neither the walker nor the dialects, but reads entries as 48882,
 * section 2.2.3, says the hardware does; so it holds for a tree of our own and
 * for an mm's that is shared.  Of the latter it also asks that each entry grants
 * the device exactly what it grants the CPU.
 *
 * Locks: iommu->lock to read, then each domain's.
 */
#include "arch/pte.h"
#include "iommu/domain.h"
#include "iommu/pt_amdv1.h"
#include "kernel/string.h"
#include "mm/check.h"
#include "mm/pmm.h"

/* Local APICs, IOAPICs, the IOMMU's own registers: nobody's to write. */
#define CONTROLLERS     UINT64_C(0xfec00000)
#define CONTROLLERS_END UINT64_C(0xff000000)

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

/* What must not be reached there, or NULL.  rights: RIGHTS that are granted. */
static const char *forbidden(pa_t pa, uint64_t rights)
{
	va_t image = pa + KERNEL_BASE;
	enum page_kind kind = PAGE_RESERVED;

	if (pa >= CONTROLLERS && pa < CONTROLLERS_END)
		return "interrupt controller's or IOMMU's";
	if (!in_ram(pa))
		return NULL;
	if (image >= (va_t)dma_start && image < (va_t)dma_end)
		return NULL;
	if (pa >> PAGE_SHIFT < frames_end)
		kind = page_kind(page_of_pa(pa));
	switch (kind) {
	case PAGE_ANON:
	case PAGE_OBJECT:
	case PAGE_DMA:
		return NULL;
	case PAGE_ZERO:
	case PAGE_KSM:
		return rights & AMDV1_IW ? "shared and writable" : NULL;
	default:
		return page_kind_name(kind);
	}
}

/* ---- trees ------------------------------------------------------------- */

/* In a tree for two an entry says everything twice (mm/entry.h, B32), and where
 * nothing is mapped, nothing (B34). */
static bool same_for_both(uint64_t e)
{
	bool user = (e & PTE_P) && (e & PTE_U);

	return user == !!(e & AMDV1_IR) &&
	       (user && (e & PTE_W)) == !!(e & AMDV1_IW);
}

static const char *check_leaf(uint16_t devid, iova_t iova, uint64_t entry,
			      uint64_t bytes, uint64_t rights)
{
	pa_t pa = entry & PT_ADDRESS;

	for (uint64_t at = 0; at < bytes; at += PAGE_SIZE) {
		const char *what = forbidden(pa + at, rights);

		if (!what)
			continue;
		return check_words("device %x reaches %lx (%s) at iova %lx",
				   devid, pa + at, what, iova + at);
	}
	return NULL;
}

static const char *complain(uint16_t devid, iova_t iova, uint64_t e,
			    const char *what)
{
	return check_words("device %x: entry %lx at iova %lx %s", devid, e,
			   iova, what);
}

/* The table of `levels` levels at pa, whose first entry is for iova. */
static const char *check_table(uint16_t devid, pa_t pa, unsigned levels,
			       iova_t iova, uint64_t rights, bool shared)
{
	const uint64_t *table = phys_to_virt(pa);
	uint64_t span = pt_span(levels - 1);
	const char *why = NULL;

	if (pa >> PAGE_SHIFT >= frames_end ||
	    page_kind(page_of_pa(pa)) != PAGE_TABLE)
		return check_words(
			"device %x: its table %lx at iova %lx is none", devid,
			pa, iova);
	for (unsigned i = 0; i < PT_ENTRIES && !why; i++, iova += span) {
		uint64_t e = READ_ONCE(table[i]), granted = e & rights;
		unsigned next = (unsigned)FIELD_GET(AMDV1_NEXT_LEVEL, e);

		if (shared && !same_for_both(e))
			return complain(devid, iova, e, "is two-faced");
		if (!(e & AMDV1_PR) || !granted)
			continue;
		if (!next) {
			why = check_leaf(devid, iova, e, span, granted);
		} else if (next == levels - 1) {
			why = check_table(devid, e & PT_ADDRESS, next, iova,
					  granted, shared);
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

/* 0 if the entry denies, whose other words are 0.  No branch in between. */
static inline uint64_t differs(const struct dte *dte, uint64_t deny)
{
	return (dte->w[0] ^ deny) | dte->w[1] | dte->w[2] | dte->w[3];
}

/* How many entries are not "deny".  Most of the oracle's time is here. */
static unsigned count_others(const struct iommu *iommu)
{
	struct dte deny = iommu_deny(iommu);
	const struct dte *t = iommu->table;
	unsigned n = 0;

	assert(!(deny.w[1] | deny.w[2] | deny.w[3]));
	for (unsigned i = 0; i < DEVIDS; i += AT_ONCE, t += AT_ONCE) {
		uint64_t any = 0;

#pragma GCC unroll 8
		for (unsigned k = 0; k < AT_ONCE; k++)
			any |= differs(&t[k], deny.w[0]);
		for (unsigned k = 0; any && k < AT_ONCE; k++)
			n += differs(&t[k], deny.w[0]) != 0;
	}
	return n;
}

/* Context: iommu->lock held. */
static const char *check_member(struct iommu *iommu, const struct attachment *a)
{
	struct domain *d = a->domain;
	struct dte is, want;
	const char *why = NULL;

	spin_lock(&d->lock);
	is = iommu_get_dte(iommu, a->devid);
	want = domain_dte(d, a);
	if (!equal(&is, &want))
		why = check_words(
			"device %x: its entry %lx %lx is not its domain's",
			a->devid, is.w[0], is.w[1]);
	else if (!(a->flags & ATTACH_CUT))
		why = check_table(a->devid, is.w[0] & DTE0_ROOT,
				  (unsigned)FIELD_GET(DTE0_MODE, is.w[0]), 0,
				  is.w[0] & RIGHTS, d->shared);
	spin_unlock(&d->lock);
	return why;
}

const char *iommu_check(struct iommu *iommu)
{
	struct attachment *a;
	const char *why = NULL;
	unsigned members = 0;

	rw_read_lock(&iommu->lock);
	LIST_FOREACH (a, &iommu->attached, link) {
		members += !(a->flags & ATTACH_CUT);
		if (!why)
			why = check_member(iommu, a);
	}
	if (!why && count_others(iommu) != members)
		why = check_words("%u devices are let in, %u are in a domain",
				  count_others(iommu), members);
	rw_read_unlock(&iommu->lock);
	return why;
}
