/* SPDX-License-Identifier: MIT */
/*
 * hmm_map.c - runs of reports become segments, and segments leaves
 */
#include "iommu/sva/hmm_map.h"
#include "kernel/err.h"

#define RIGHTS (HMM_PFN_VALID | HMM_PFN_WRITE)

/* Segments in a call; each call has one flush. */
#define BATCH 64u

/* Return how many reports from the first one on map frames that follow one another,
 * with the same rights.  Their orders may differ. */
static uint64_t run_of(const uint64_t *reports, uint64_t n)
{
	const uint64_t same = RIGHTS | HMM_PFN_FRAME;
	uint64_t i = 1;

	while (i < n && ((reports[i] ^ (reports[0] + i)) & same) == 0)
		i++;
	return i;
}

/* Return where the device finds a page that is reported VALID: in RAM, or behind the BAR
 * of its own memory. */
static pa_t bus_of(uint64_t report)
{
	const struct page *page = page_of(hmm_pfn(report));
	struct device_memory *dm;

	if (!page_is_device(page))
		return page_pa(page);
	dm = device_memory_of(page);
	return dm->bus + device_page_offset(dm, page);
}

static uint64_t pages_of(const struct hmm_range *range)
{
	return (range->end - range->start) >> PAGE_SHIFT;
}

/* Describe the frames of the first reports, all of the same rights, by at most BATCH
 * segments.  Returns how many reports. */
static uint64_t batch_of(const uint64_t *reports, uint64_t n,
			 struct segment sg[BATCH], unsigned *segments)
{
	uint64_t i = 0, run;

	*segments = 0;
	while (i < n && *segments < BATCH &&
	       !((reports[i] ^ reports[0]) & RIGHTS)) {
		run = run_of(&reports[i], n - i);
		sg[(*segments)++] =
			(struct segment){ bus_of(reports[i]), run * PAGE_SIZE };
		i += run;
	}
	return i;
}

int hmm_dma_map(struct domain *domain, const struct hmm_range *range,
		iova_t iova)
{
	const uint64_t *reports = range->hmm_pfns;
	uint64_t n = pages_of(range), pages;
	struct segment sg[BATCH];
	unsigned segments;
	int ret = 0;

	for (uint64_t i = 0; i < n && !ret; i += pages) {
		bool write = reports[i] & HMM_PFN_WRITE;

		pages = 1;
		if (!(reports[i] & HMM_PFN_VALID))
			continue;
		pages = batch_of(&reports[i], n - i, sg, &segments);
		ret = domain_map_sg(domain, iova + i * PAGE_SIZE, sg, segments,
				    write ? PROT_R | PROT_W : PROT_R);
		if (ret && i) {
			/* -ETIMEDOUT of the unmap says what ret says, or worse. */
			int undone = domain_unmap(domain, iova,
						  iova + i * PAGE_SIZE);

			if (undone)
				ret = undone;
		}
	}
	return ret;
}

int hmm_dma_unmap(struct domain *domain, struct hmm_range *range, iova_t iova,
		  va_t start, va_t end, bool dirty)
{
	uint64_t *reports = range->hmm_pfns;
	uint64_t from, to;
	int ret;

	start = start < range->start ? range->start : start;
	end = end > range->end ? range->end : end;
	if (start >= end)
		return 0;
	from = (start - range->start) >> PAGE_SHIFT;
	to = (end - range->start) >> PAGE_SHIFT;
	ret = domain_unmap(domain, iova + from * PAGE_SIZE,
			   iova + to * PAGE_SIZE);
	if (ret == -ENOMEM) {
		/* No table to split a leaf of 2 MiB; the whole range cuts none. */
		from = 0;
		to = pages_of(range);
		ret = domain_unmap(domain, iova, iova + to * PAGE_SIZE);
	}
	if (ret)
		return ret;
	for (uint64_t i = from; i < to; i++) {
		/* A zero page or a page of KSM is never reported WRITE. */
		if (dirty && reports[i] & HMM_PFN_WRITE)
			page_set_dirty(page_of(hmm_pfn(reports[i])));
		reports[i] = 0;
	}
	return 0;
}
