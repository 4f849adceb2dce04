/* SPDX-License-Identifier: MIT */
/*
 * flush.h - flush a range from the IOMMU and from the TLBs of a domain's members
 *
 *    choose commands    flush_commands()   arithmetic
 *    queue them         flush_submit()     under domain->lock, so that no device
 *                                          is attached or detached in between
 *    wait               flush_wait()       with or without the lock
 */
#pragma once

#include "iommu/core/domain.h"
#include "iommu/core/unresponsive.h"

/* Do flush_commands() for a range that is no aligned power of two. */
#define FLUSH_MAX 16
unsigned flush_pieces(struct command out[FLUSH_MAX], uint16_t id, iova_t start,
		      iova_t end, bool tables);

/*
 * Make the commands that flush [start, end) of a domain, and return how many: the
 * fewest that each name an aligned power of two inside the range, or one for the
 * whole domain if that would take more than FLUSH_MAX.  tables: directory entries
 * too.  48882, section 2.4.3.
 */
static inline unsigned flush_commands(struct command out[FLUSH_MAX],
				      uint16_t id, iova_t start, iova_t end,
				      bool tables)
{
	uint64_t len = end - start;

	/* Most ranges are a power of two by themselves. */
	if (!len || len & (len - 1) || start & (len - 1))
		return flush_pieces(out, id, start, end, tables);
	out[0] = command_invalidate_iommu_pages(id, command_block(start, len),
						tables);
	return 1;
}

/* A flush in progress, on the stack of its thread. */
struct flush {
	uint64_t seq; /* the completion number to wait for                  */
	bool asked;   /* INVALIDATE_IOTLB_PAGES was sent to a device        */
	struct unresponsive_since
		since; /* if asked: before the first was sent */
};

/* Make it a flush of nothing. */
static inline void flush_none(struct flush *flush)
{
	flush->seq = 0;
	flush->asked = false;
}

/*
 * Queue the flush of [start, end), for the IOMMU and for each member with a TLB.
 * Returns 0 or -ETIMEDOUT.  Context: domain->lock held.
 */
must_check int flush_submit(struct domain *domain, iova_t start, iova_t end,
			    bool tables, struct flush *flush);

/* Deny the members that did not answer: the second half of flush_wait().  Returns 0
 * or -ETIMEDOUT.  Context as there. */
must_check int flush_answered(struct domain *domain, const struct flush *flush,
			      bool locked);

/*
 * Wait for a flush.  A device that does not answer is denied
 * (iommu/core/unresponsive.h).  After 0 no access of a member that begins later
 * uses what was flushed.  Returns 0 or -ETIMEDOUT.
 * Context: thread; locked: domain->lock is held, else it must not be.
 */
static inline must_check int flush_wait(struct domain *domain,
					const struct flush *flush, bool locked)
{
	int error;

	require(!locked || spin_held(&domain->lock));
	error = queue_wait(&domain->iommu->queue, flush->seq);
	if (error || !flush->asked)
		return error;
	return flush_answered(domain, flush, locked);
}

/* Queue a flush and wait.  Errors as above.  Context: domain->lock held. */
must_check int flush_locked(struct domain *domain, iova_t start, iova_t end,
			    bool tables);
