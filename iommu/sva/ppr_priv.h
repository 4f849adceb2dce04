/* SPDX-License-Identifier: MIT */
/*
 * ppr_priv.h - what ppr.c and ppr_log.c know of each other
 *
 *   ppr_log.c   from log entries to groups that are ready, or answered at once
 *   ppr.c       from ready groups to the answer; bindings
 */
#pragma once

#include "iommu/sva/ppr.h"

void ppr_log_init(void);

/* Handle an entry, or the loss of entries: for iommu_set_handlers().
 * Context: the thread that reads the logs. */
void ppr_on_request(const struct log_entry *entry, void *ppr);
void ppr_on_lost(void *ppr);

/* Find the device; NULL: none of its bindings.  Context: ppr->lock held. */
static inline struct ppr_device *ppr_device_of(struct ppr *p, uint16_t devid)
{
	struct ppr_device *d;

	require(spin_held(&p->lock));
	TAILQ_FOREACH (d, &p->devices, link)
		if (d->devid == devid)
			return d;
	return NULL;
}

/* Find a binding; NULL: not bound.  Context: ppr->lock held. */
static inline struct ppr_binding *ppr_binding_of(struct ppr_device *d,
						 uint32_t pasid)
{
	struct ppr_binding *b;

	require(spin_held(&d->ppr->lock));
	LIST_FOREACH (b, &d->bindings, link)
		if (b->pasid == pasid)
			return b;
	return NULL;
}

/* Free a group that is answered or dropped.  Context: ppr->lock held. */
void ppr_group_free(struct ppr_group *g);

/*
 * Drop the device's groups of this PASID that have no last request yet, or with
 * PPR_ANY_PASID all of them.  When the last request comes it is a group by
 * itself, and the device asks again.  Context: ppr->lock held.
 */
#define PPR_ANY_PASID (PPR_NO_PASID - 1)
void ppr_drop_open(struct ppr *p, struct ppr_device *d, uint32_t pasid);

/* Queue the answer and wait until the IOMMU has executed it.
 * Context: thread; any that may take RANK_PPR. */
void ppr_answer(struct ppr *p, uint16_t devid, uint32_t pasid, uint16_t tag,
		enum ppr_status status);
