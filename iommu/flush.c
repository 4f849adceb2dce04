/* SPDX-License-Identifier: MIT */
/*
 * flush.c - from a range to commands, and to everybody who may have cached it
 *
 *    IOMMU:   INVALIDATE_IOMMU_PAGES   by domain id, once
 *    devices: INVALIDATE_IOTLB_PAGES   by device, each that has a TLB (ATS)
 *
 * In this order (B7): the other way round a device could take back from the
 * IOMMU what it has just forgotten.
 */
#include "iommu/flush.h"

unsigned flush_commands(struct command out[FLUSH_MAX], uint16_t id,
			iova_t start, iova_t end, bool tables)
{
	unsigned n = 0;

	for (iova_t at = start; at < end;) {
		unsigned low = at ? (unsigned)__builtin_ctzll(at) : 63;
		unsigned size = 63 - (unsigned)__builtin_clzll(end - at);
		uint64_t bytes = BIT(low < size ? low : size);

		if (n == FLUSH_MAX) {
			out[0] = command_invalidate_iommu_pages(id, RANGE_ALL,
								tables);
			return 1;
		}
		out[n++] = command_invalidate_iommu_pages(
			id, command_range(at, at + bytes), tables);
		at += bytes;
	}
	return n;
}

int flush_submit(struct domain *d, iova_t start, iova_t end, bool tables,
		 uint64_t *seq)
{
	struct command c[FLUSH_MAX];
	struct attachment *a;
	unsigned n;
	int error;

	*seq = 0;
	/* The last detach has flushed everything; nobody fills it again. */
	if (LIST_EMPTY(&d->members))
		return 0;
	n = flush_commands(c, d->id, start, end, tables);
	error = queue_submit(&d->iommu->queue, c, n, seq);
	d->flushes++;
	d->commands += n;
	LIST_FOREACH (a, &d->members, member) {
		if (error)
			return error;
		if (!(a->flags & ATTACH_ATS))
			continue;
		c[0] = command_invalidate_iotlb_pages(
			a->devid, a->devid, 1, command_range(start, end));
		error = queue_submit(&d->iommu->queue, c, 1, seq);
		d->commands++;
	}
	return error;
}

int flush_locked(struct domain *d, iova_t start, iova_t end, bool tables)
{
	uint64_t seq;
	int error = flush_submit(d, start, end, tables, &seq);

	return error ? error : queue_wait(&d->iommu->queue, seq);
}

/* The wait is outside the lock: others may flush the same domain meanwhile. */
int domain_flush(struct domain *d, iova_t start, iova_t end)
{
	uint64_t seq;
	int error;

	spin_lock(&d->lock);
	error = flush_submit(d, start, end, true, &seq);
	spin_unlock(&d->lock);
	return error ? error : queue_wait(&d->iommu->queue, seq);
}
