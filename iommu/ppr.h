/* SPDX-License-Identifier: MIT */
/*
 * ppr.h - peripheral page requests: a device's page faults, each answered once
 *
 *   device ─► PPR log ─► drain: by device and tag into groups
 *                          │ the last request of a group came
 *                          ▼
 *                  ready groups, a queue for each device
 *                          │ workers take turns over the devices
 *                          ▼
 *                  binding's fault function, request by request
 *                          ▼
 *                  COMPLETE_PPR_REQUEST, one for the group
 *
 * 48882, section 2.6; PCI Express ATS, "Page Request Services".  Who wrote the
 * log entry, hardware or a test's endpoint, is not known here.  What an entry
 * says is checked, and a group fails as a whole (B51 to B54).
 */
#pragma once

#include "iommu/iommu.h"
#include "mm/pt.h"

#define PPR_TAGS       512u /* groups that a device can have open           */
#define PPR_GROUP_MAX  16u  /* requests of one group that are remembered    */
#define PPR_DEVICE_MAX 64u  /* groups of one device that are held at once   */
#define PPR_WORKERS    4u

/*
 * Make the access possible for the device, if it may.  Runs in a worker, on any
 * CPU, several at a time also for one binding; may sleep.
 */
typedef enum ppr_status ppr_fault_fn(void *arg, va_t va, enum prot access);

/* Who serves the requests of a device (and PASID).  Key: (P) ppr->lock */
struct ppr_binding {
	struct ppr_device *device;
	uint32_t pasid; /* PPR_NO_PASID: requests without one               */
	ppr_fault_fn *fault;
	void *arg;
	bool dying;       /* (P) no fault is begun for it any more          */
	unsigned pending; /* (P) groups ready or in work                    */
	LIST_ENTRY(ppr_binding) link; /* (P)                                */
};

struct ppr_request {
	va_t va;
	enum prot access;
};

struct ppr_group {
	struct ppr_device *device;
	struct ppr_binding *binding; /* once ready                          */
	uint16_t tag;
	uint32_t pasid;
	unsigned n;
	enum ppr_status status; /* the worst so far                         */
	struct ppr_request request[PPR_GROUP_MAX];
	TAILQ_ENTRY(ppr_group) link;
};

TAILQ_HEAD(ppr_groups, ppr_group);

/* A device with bindings. */
struct ppr_device {
	uint16_t devid;
	unsigned held;           /* (P) groups open, ready or in work       */
	unsigned working;        /* (P) groups in work                      */
	struct ppr_groups open;  /* (P) the last request is not there yet   */
	struct ppr_groups ready; /* (P)                                     */
	LIST_HEAD(, ppr_binding) bindings; /* (P)                           */
	TAILQ_ENTRY(ppr_device) link;      /* (P) in turn                   */
};

/* What happened so far.  (P) */
struct ppr_stats {
	uint64_t requests, groups;
	uint64_t answers[3]; /* SUCCESS, INVALID, FAILURE                   */
	uint64_t unknown;    /* of devices or PASIDs that nobody bound      */
	uint64_t malformed;  /* reserved bits, unknown kinds                */
	uint64_t shed;       /* not remembered: the device asks again       */
	uint64_t dropped;    /* partial groups, whose last may yet come     */
};

/* Key: (I) from ppr_start() to ppr_stop()  (P) lock */
struct ppr {
	struct iommu *iommu;  /* (I)                                        */
	struct spinlock lock; /* RANK_PPR                                   */
	TAILQ_HEAD(, ppr_device) devices; /* (P)                            */
	struct waitq wake;  /* workers, and who unbinds                      */
	unsigned n_workers; /* (I)                        */
	struct thread *workers[PPR_WORKERS]; /* (I)                        */
	bool stopping;                       /* (P)                        */
	struct ppr_stats stats;              /* (P)                        */
};

/* Once, at boot. */
void ppr_init(void);

/* Serve the iommu's page requests from now on.  -ENOMEM. */
must_check int ppr_start(struct ppr *ppr, struct iommu *iommu);

/* No binding exists any more: end the workers; requests are refused again. */
void ppr_stop(struct ppr *ppr);

/*
 * What is done while nobody serves: a request that wants an answer is INVALID.
 * Context: the log's reader.
 */
void ppr_refuse(struct iommu *iommu, const struct log_entry *entry);

/*
 * Requests of devid with this PASID go to fault(arg, ...).  -ENOMEM, -EBUSY if
 * somebody is bound there.  May sleep.
 */
must_check int ppr_bind(struct ppr *ppr, uint16_t devid, uint32_t pasid,
			ppr_fault_fn *fault, void *arg,
			struct ppr_binding **binding);

/*
 * No more.  When it returns fault() does not run for the binding and never will,
 * and every group that was complete has been answered (INVALID, if its turn had
 * not come).  May sleep; not from fault().
 */
void ppr_unbind(struct ppr *ppr, struct ppr_binding *binding);

/* What happened so far. */
struct ppr_stats ppr_stats(struct ppr *ppr);
