/* SPDX-License-Identifier: MIT */
/*
 * hmm_driver.h - a driver that mirrors a range with public functions only
 *
 * Its device has a domain with a table of its own: page i of the range is at IO(i).
 * hmm_driver_fault() copies reports into the table, the callback of an interval notifier
 * takes them out.  hmm_driver.c is all that such a driver needs.
 */
#pragma once

#include "mm/hmm/exclusive.h"
#include "mm/rmap/block.h"
#include "tests/fixture/iommu/iommu_fixture.h"
#include "tests/fixture/mm/mm_fixture.h"

#define READ  HMM_PFN_REQ_FAULT
#define WRITE (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)

/* Key: (L) lock */
struct hmm_driver {
	struct mmu_interval_notifier mni;
	struct rwsem lock; /* RANK_TRANSFER: the device's table, its work   */
	struct domain *domain;
	struct hmm_range range;       /* (L) reports                        */
	uint64_t fresh[BLOCK_PAGES];  /* of the call that runs              */
	uint64_t mapped[BLOCK_PAGES]; /* (L) what the table has             */
	unsigned notified;            /* (L) invalidations of others        */
	unsigned ended;               /* (L) of those, EXCLUSIVE            */
	unsigned busy;                /* calls that were overtaken          */
};

/* Let device n of the fixture mirror pages [first, end) of mm.  Ends the test on
 * failure. */
void hmm_driver_start(struct hmm_driver *d, struct iommu_fixture *s, unsigned n,
		      struct mm *mm, unsigned first, unsigned end);
void hmm_driver_stop(struct hmm_driver *d);

/* Let the device reach the whole range, to READ or to WRITE; 0: what is there.  Returns
 * as hmm_range_fault(), but never -EBUSY. */
int hmm_driver_fault(struct hmm_driver *d, uint64_t request);

/* Let the device alone reach the whole range.  Returns as make_device_exclusive(), but
 * never -EBUSY; if 0 it holds the lock, with which no CPU gets the pages. */
int hmm_driver_make_exclusive(struct hmm_driver *d);

/* Release the lock. */
void hmm_driver_unlock(struct hmm_driver *d);
