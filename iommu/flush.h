/* SPDX-License-Identifier: MIT */
/*
 * flush.h - what makes the members of a domain forget
 *
 *    which commands   flush_commands()   arithmetic
 *    into the ring    flush_submit()     under domain->lock, so that nobody
 *                                        joins or leaves between two of them
 *    until it is so   flush_wait()       with or without the lock
 */
#pragma once

#include "iommu/domain.h"
#include "iommu/mute.h"

/*
 * The commands that flush [start, end) of a domain: the fewest that name only
 * whole aligned powers of two inside it, or one for the whole domain when that
 * would take more than FLUSH_MAX.  tables: directories too.
 */
#define FLUSH_MAX 16
unsigned flush_commands(struct command out[FLUSH_MAX], uint16_t id,
			iova_t start, iova_t end, bool tables);

/* A flush under way; zeros: of nothing. */
struct flush {
	uint64_t seq; /* the number that completes it                       */
	bool asked;   /* devices have been asked to forget, too             */
	struct mute_moment since;
};

/*
 * Queue what makes all members forget [start, end).  -ETIMEDOUT.
 * Context: domain->lock held.
 */
must_check int flush_submit(struct domain *domain, iova_t start, iova_t end,
			    bool tables, struct flush *flush);

/*
 * Wait for it.  A device that was asked and did not answer is denied
 * (iommu/mute.h).  When it returns 0 no access of a member that begins later
 * uses what was flushed.  -ETIMEDOUT.
 * Context: thread; locked: domain->lock is held, else it must not be.
 */
must_check int flush_wait(struct domain *domain, const struct flush *flush,
			  bool locked);

/* The same, and wait.  Context as above. */
must_check int flush_locked(struct domain *domain, iova_t start, iova_t end,
			    bool tables);
