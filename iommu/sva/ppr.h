/* SPDX-License-Identifier: MIT */
/*
 * ppr.h - peripheral page requests: a device's page faults, each answered once
 *
 *   device ─► PPR log ─► drain: by device and tag into groups
 *                          │ the last request of a group came
 *                          ▼
 *                  ready groups, a queue for each device
 *                          │ the IOMMU's threads take turns over the devices
 *                          ▼
 *                  binding's fault function, run by run: pages that follow
 *                          │                one another, of the same access
 *                          ▼
 *                  COMPLETE_PPR_REQUEST, one for the group
 *
 * 48882, section 2.6; PCI Express ATS, "Page Request Services".  Hardware writes
 * the log entries, or a test's endpoint does: this code cannot tell.  Every entry
 * is checked, and a group fails as a whole (B51 to B54).
 */
#pragma once

#include "iommu/core/iommu.h"
#include "mm/pt/pt.h"

#define PPR_TAGS       512u /* groups that a device can have open           */
#define PPR_GROUP_MAX  16u  /* requests of one group that are remembered    */
#define PPR_DEVICE_MAX 64u  /* groups of one device that are held at once   */
#define PPR_WORKING    4u   /* groups of all devices in work at once         */

/*
 * Make the device's access to the pages from va on possible, if the address space
 * allows it: 1 to PPR_GROUP_MAX of them, none of which lies beyond the last address.
 * It goes from page to page and ends at the first that fails; those before it keep
 * what they got, those after it are not touched.  Returns the answer to the requests.
 * Context: a thread of the IOMMU, on any CPU, several at a time also for one binding;
 * may sleep.
 */
typedef enum ppr_status ppr_fault_fn(void *arg, va_t va, unsigned pages,
				     enum prot access);

/*
 * The fault function for the requests of a device (and PASID).
 * Key, for all of the following: (P) ppr->lock  (I) immutable after creation
 *      (W) the thread that has taken the group; before that (P)
 */
struct ppr_binding {
	struct ppr_device *device; /* (I)                                   */
	uint32_t pasid;      /* (I) PPR_NO_PASID: requests without one      */
	ppr_fault_fn *fault; /* (I)                                         */
	void *arg;           /* (I)                                         */
	bool dying;       /* (P) no fault is begun for it any more          */
	unsigned pending; /* (P) groups ready or in work                    */
	LIST_ENTRY(ppr_binding) link; /* (P)                                */
};

/* A page and the access to it, in one word: of pages that follow one another with the
 * same access each is one page more than the last. */
struct ppr_request {
	uint64_t w; /* address of the page | enum prot                      */
};

static inline va_t request_va(struct ppr_request r)
{
	return r.w & PAGE_MASK;
}

static inline enum prot request_access(struct ppr_request r)
{
	return (enum prot)(r.w & ~PAGE_MASK);
}

struct ppr_group {
	struct ppr_device *device;   /* (I)                                 */
	struct ppr_binding *binding; /* (W) set when the group is ready     */
	uint16_t tag;                /* (I)                                 */
	uint32_t pasid;              /* (W)                                 */
	unsigned n;                  /* (W) requests that are remembered    */
	enum ppr_status status;      /* (W) the worst so far                */
	struct ppr_request request[PPR_GROUP_MAX]; /* (W)                   */
	TAILQ_ENTRY(ppr_group) link; /* (P) device->open or device->ready   */
};

TAILQ_HEAD(ppr_groups, ppr_group);

/* A device with at least one binding. */
struct ppr_device {
	struct ppr *ppr;         /* (I)                                     */
	uint16_t devid;          /* (I)                                     */
	unsigned held;           /* (P) groups open, ready or in work       */
	unsigned working;        /* (P) groups in work                      */
	struct ppr_groups open;  /* (P) the last request has not come yet   */
	struct ppr_groups ready; /* (P) complete, in the order of completion */
	LIST_HEAD(, ppr_binding) bindings; /* (P)                           */
	TAILQ_ENTRY(ppr_device) link; /* (P) ppr->devices, next turn first  */
};

/* Events counted since ppr_start().  (P) */
struct ppr_stats {
	uint64_t requests, groups;
	uint64_t answers[3]; /* SUCCESS, INVALID, FAILURE                   */
	uint64_t unknown;    /* of devices or PASIDs without a binding      */
	uint64_t malformed;  /* reserved bits, unknown kinds                */
	uint64_t shed;       /* not remembered: the device asks again       */
	uint64_t dropped;    /* groups without their last request           */
};

/* Key: (I) from ppr_start() to ppr_stop()  (P) lock */
struct ppr {
	struct iommu *iommu;  /* (I)                                        */
	struct spinlock lock; /* RANK_PPR                                   */
	TAILQ_HEAD(, ppr_device) devices; /* (P)                            */
	struct iommu_work work; /* a piece is a group that is ready        */
	struct waitq idle;      /* threads that unbind                     */
	unsigned most;          /* (I) groups in work at once              */
	unsigned share;         /* (I) ... of one device                   */
	unsigned working;       /* (P) groups in work                      */
	struct ppr_stats stats; /* (P)                                     */
};

/* Make the pools.  Context: boot, once. */
void ppr_init(void);

/*
 * Add threads to the IOMMU, one for each group in work, and take over its page requests.
 * Returns 0 or -ENOMEM, with nothing started.  Context: may sleep.
 */
must_check int ppr_start(struct ppr *ppr, struct iommu *iommu);

/*
 * End these threads; requests are refused again.  No binding exists any more.
 * Context: may sleep.
 */
void ppr_stop(struct ppr *ppr);

/*
 * Give requests of devid with this PASID to fault(arg, ...).  Returns 0, -ENOMEM,
 * or -EBUSY if the two are bound already.
 * Context: thread; spin locks below RANK_PPR may be held.
 */
must_check int ppr_bind(struct ppr *ppr, uint16_t devid, uint32_t pasid,
			ppr_fault_fn *fault, void *arg,
			struct ppr_binding **binding);

/*
 * End a binding.  From the return on fault() neither runs for it nor will, and
 * every group that was complete has been answered (INVALID, if its turn had not
 * come).  Context: may sleep; not from fault().
 */
void ppr_unbind(struct ppr *ppr, struct ppr_binding *binding);

/* Copy the statistics.  Context: thread; takes ppr->lock. */
struct ppr_stats ppr_stats(struct ppr *ppr);
