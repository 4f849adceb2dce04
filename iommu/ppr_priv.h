/* SPDX-License-Identifier: MIT */
/*
 * ppr_priv.h - what ppr.c and ppr_log.c know of each other
 *
 *   ppr_log.c   from log entries to groups that are ready, or answered at once
 *   ppr.c       from there to the answer; who is bound
 *
 * "Context: locked" below: ppr->lock held.
 */
#pragma once

#include "iommu/ppr.h"

void ppr_log_init(void);

/* The log's handlers (iommu_set_handlers()).  Context: the log's reader. */
void ppr_on_request(const struct log_entry *entry, void *ppr);
void ppr_on_lost(void *ppr);

/* NULL: nobody is bound.  Context: locked. */
struct ppr_device *ppr_device_of(struct ppr *p, uint16_t devid);
struct ppr_binding *ppr_binding_of(struct ppr_device *d, uint32_t pasid);

/* It is answered, or never will be.  Context: locked. */
void ppr_group_free(struct ppr_group *g);

/*
 * Forget what the device has begun to ask for this process; PPR_ANY_PASID: for
 * all.  The last request will find nothing: who sends it asks again.
 * Context: locked.
 */
#define PPR_ANY_PASID (PPR_NO_PASID - 1)
void ppr_drop_open(struct ppr *p, struct ppr_device *d, uint32_t pasid);

/* Queue the answer and wait until the IOMMU has it.  Context: no lock. */
void ppr_answer(struct ppr *p, uint16_t devid, uint32_t pasid, uint16_t tag,
		enum ppr_status status);
