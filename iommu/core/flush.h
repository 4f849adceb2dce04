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

/*
 * Make the commands that flush [start, end) of a domain, and return how many: the
 * fewest that each name an aligned power of two inside the range, or one for the
 * whole domain if that would take more than FLUSH_MAX.  tables: directory entries
 * too.  48882, section 2.4.3.
 */
#define FLUSH_MAX 16
unsigned flush_commands(struct command out[FLUSH_MAX], uint16_t id,
			iova_t start, iova_t end, bool tables);

/* A flush in progress, on the stack of its thread; zeros: of nothing. */
struct flush {
	uint64_t seq; /* the completion number to wait for                  */
	bool asked;   /* INVALIDATE_IOTLB_PAGES was sent to a device        */
	struct unresponsive_since since; /* before the first was sent       */
};

/*
 * Queue the flush of [start, end), for the IOMMU and for each member with a TLB.
 * Returns 0 or -ETIMEDOUT.  Context: domain->lock held.
 */
must_check int flush_submit(struct domain *domain, iova_t start, iova_t end,
			    bool tables, struct flush *flush);

/*
 * Wait for a flush.  A device that does not answer is denied
 * (iommu/core/unresponsive.h).  After 0 no access of a member that begins later
 * uses what was flushed.  Returns 0 or -ETIMEDOUT.
 * Context: thread; locked: domain->lock is held, else it must not be.
 */
must_check int flush_wait(struct domain *domain, const struct flush *flush,
			  bool locked);

/* Queue a flush and wait.  Errors as above.  Context: domain->lock held. */
must_check int flush_locked(struct domain *domain, iova_t start, iova_t end,
			    bool tables);
