/* SPDX-License-Identifier: MIT */
/*
 * flush.h - what makes the members of a domain forget
 *
 *    which commands   flush_commands()   arithmetic
 *    into the ring    flush_submit()     under domain->lock, so that nobody
 *                                        joins or leaves between two of them
 *    until it is so   queue_wait()       with or without the lock
 */
#pragma once

#include "iommu/domain.h"

/*
 * The commands that flush [start, end) of a domain: the fewest that name only
 * whole aligned powers of two inside it, or one for the whole domain when that
 * would take more than FLUSH_MAX.  tables: directories too.
 */
#define FLUSH_MAX 16
unsigned flush_commands(struct command out[FLUSH_MAX], uint16_t id,
			iova_t start, iova_t end, bool tables);

/*
 * Queue what makes all members forget [start, end); queue_wait(*seq) waits for
 * it.  -ETIMEDOUT.  Context: domain->lock held.
 */
must_check int flush_submit(struct domain *domain, iova_t start, iova_t end,
			    bool tables, uint64_t *seq);

/* The same, and wait.  Context as above. */
must_check int flush_locked(struct domain *domain, iova_t start, iova_t end,
			    bool tables);
