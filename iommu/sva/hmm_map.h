/* SPDX-License-Identifier: MIT */
/*
 * hmm_map.h - let a domain's devices reach the frames of an hmm_range
 *
 * A driver with an interval notifier and a domain of its own has here all that it
 * needs to mirror a range: hmm_range_fault() reports, hmm_dma_map() copies the
 * reports into the device's table, and the callback takes them out again.  Linux:
 * hmm_range_dma_map(), hmm_range_dma_unmap() of 2019; hmm_dma_map_pfn() since 6.16.
 */
#pragma once

#include "iommu/core/domain.h"
#include "mm/hmm/hmm.h"

/*
 * Map each page of the range that is reported VALID, at iova + (its address -
 * range->start), with W where it is reported WRITE; a page of a device's memory at its
 * address on the bus.  Where the table translates
 * already it must be empty: hmm_dma_unmap() comes first.
 * Context: the client's lock held, of a rank below RANK_DOMAIN, since
 * mmu_interval_read_retry() returned false; so no frame can go before its entry.
 * Returns 0; with nothing mapped -EEXIST, -ENOMEM, -EINVAL as domain_map(); or
 * -ETIMEDOUT: some may be mapped.
 */
must_check int hmm_dma_map(struct domain *domain, const struct hmm_range *range,
			   iova_t iova);

/*
 * Unmap the pages of [start, end), cut to the range, with one flush, and clear their
 * reports.  When it returns 0 no access of the device that begins later reaches their
 * frames.  Where a leaf of 2 MiB is cut and there is no memory to split it, the
 * whole range is unmapped.
 * dirty: the device may have written; each page that it could write becomes
 * PG_DIRTY, after its last write and before the page can go.
 * Context: the callback of range->notifier, or another place where the pages are
 * still mapped; the client's lock held, as above.
 * Returns 0, or -ETIMEDOUT, with the reports kept: the frames must never be freed.
 */
must_check int hmm_dma_unmap(struct domain *domain, struct hmm_range *range,
			     iova_t iova, va_t start, va_t end, bool dirty);
