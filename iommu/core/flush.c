/* SPDX-License-Identifier: MIT */
/*
 * flush.c - from a range to commands, for every cache that may hold it
 *
 *    IOMMU:   INVALIDATE_IOMMU_PAGES   by domain id, once
 *    devices: INVALIDATE_IOTLB_PAGES   by device, each that has a TLB (ATS)
 *
 * In this order (B7): the other way round a device could fetch again from the
 * IOMMU the translation that it has just flushed.
 */
#include "iommu/core/flush.h"
#include "kernel/probe.h"

unsigned flush_pieces(struct command out[FLUSH_MAX], uint16_t id, iova_t start,
		      iova_t end, bool tables)
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

static bool has_tlb(const struct attachment *a)
{
	return (a->flags & (ATTACH_ATS | ATTACH_DENIED)) == ATTACH_ATS;
}

/* Queue the n commands, and a flush of the TLB of each member from a on that has one:
 * the second half of flush_submit(). */
static noinline int submit_to_devices(struct domain *d, struct attachment *a,
				      struct command c[FLUSH_MAX], unsigned n,
				      struct command_range range,
				      struct flush *f)
{
	int error = 0;

	require(spin_held(&d->lock));
	f->since = unresponsive_now(d->iommu);
	f->asked = true;
	for (; a && !error; a = LIST_NEXT(a, member)) {
		if (!has_tlb(a))
			continue;
		if (n == FLUSH_MAX) {
			error = queue_submit(&d->iommu->queue, c, n, &f->seq);
			n = 0;
		}
		c[n++] = command_invalidate_iotlb_pages(a->devid, a->devid, 1,
							range);
		d->commands++;
	}
	return error ? error : queue_submit(&d->iommu->queue, c, n, &f->seq);
}

int flush_submit(struct domain *d, iova_t start, iova_t end, bool tables,
		 struct flush *f)
{
	struct command c[FLUSH_MAX];
	struct attachment *a;
	unsigned n;

	require(spin_held(&d->lock));
	flush_none(f);
	/* The last detach has flushed everything, and no member fills a cache. */
	if (LIST_EMPTY(&d->members))
		return 0;
	n = flush_commands(c, d->id, start, end, tables);
	d->flushes++;
	d->commands += n;
	LIST_FOREACH (a, &d->members, member)
		if (has_tlb(a))
			return submit_to_devices(d, a, c, n,
						 command_range(start, end), f);
	return queue_submit(&d->iommu->queue, c, n, &f->seq);
}

/*
 * Deny the members that did not answer, which takes the right to a TLB too.  They
 * stay members.  Context: domain->lock held.
 */
static int deny_unresponsive(struct domain *d, struct unresponsive_since since)
{
	struct iommu *iommu = d->iommu;
	struct attachment *a;
	int error = 0;

	require(spin_held(&d->lock));
	LIST_FOREACH (a, &d->members, member) {
		if (error || !has_tlb(a) ||
		    unresponsive_answered(iommu, a->devid, since))
			continue;
		a->flags |= ATTACH_DENIED;
		error = iommu_set_dte(iommu, a->devid, domain_dte(d, a), d->id,
				      false);
		PROBE(device_denied, a->devid, since.ns);
	}
	return error;
}

int flush_answered(struct domain *d, const struct flush *f, bool locked)
{
	int error;

	require(!locked || spin_held(&d->lock));
	if (unresponsive_in_time(f->since))
		return 0;
	if (!locked)
		spin_lock(&d->lock);
	error = deny_unresponsive(d, f->since);
	if (!locked)
		spin_unlock(&d->lock);
	return error;
}

int flush_locked(struct domain *d, iova_t start, iova_t end, bool tables)
{
	struct flush f;
	int error = flush_submit(d, start, end, tables, &f);

	require(spin_held(&d->lock));
	return error ? error : flush_wait(d, &f, true);
}

/* The wait is outside the lock: other threads may flush the same domain meanwhile. */
int domain_flush(struct domain *d, iova_t start, iova_t end)
{
	struct flush f;
	int error;

	require(locks_below(RANK_DOMAIN));
	spin_lock(&d->lock);
	error = flush_submit(d, start, end, true, &f);
	spin_unlock(&d->lock);
	return error ? error : flush_wait(d, &f, false);
}
