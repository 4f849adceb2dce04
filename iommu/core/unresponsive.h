/* SPDX-License-Identifier: MIT */
/*
 * unresponsive.h - a device that does not answer a flush of its own TLB
 *
 *   INVALIDATE_IOTLB_PAGES ─► device ... nothing ... InvTimeOut ─► event
 *   COMPLETION_WAIT        ─► stores its number all the same
 *
 * 48882, sections 2.4.4 and 2.5.8.  The ring continues after the timeout, so a
 * completed wait does not mean that the device has flushed: flush_wait() looks
 * into the event log first.  A device that did not answer is denied: its entry
 * translates nothing and takes back the right to a TLB (DTE.I = 0), so that the
 * IOMMU refuses addresses that the device has translated itself.  Then the page
 * is out of its reach and may be freed.
 *
 * The device counts as unresponsive until a reset has emptied its TLB:
 * iommu_clear_unresponsive().  Linux gives devices a second, waits for the ring
 * for a tenth of that, and prints the event; this kernel gives them 100 ms, a
 * tenth of its own wait.
 */
#pragma once

#include "arch/clock.h"
#include "iommu/core/iommu.h"

/* Mark the device if the event is such a timeout.  arg: the struct iommu.
 * Context: any thread. */
void unresponsive_note(const struct log_entry *event, void *arg);

#define UNRESPONSIVE_NEVER_NS \
	UINT64_C(50000000) /* surely less than the timeout */

/* The moment before a command for a device is queued. */
struct unresponsive_since {
	uint64_t ns;         /* clock_ns()                                  */
	unsigned generation; /* of the event log: log_generation()          */
};

struct unresponsive_since unresponsive_now(struct iommu *iommu);

/*
 * Return whether so little time has passed since then that no device can have failed to
 * answer: if a COMPLETION_WAIT has completed that was queued later, all have.
 */
static inline bool unresponsive_in_time(struct unresponsive_since since)
{
	return clock_ns() - since.ns < UNRESPONSIVE_NEVER_NS;
}

/*
 * Return whether the device answered a command that was queued after `since` and
 * whose COMPLETION_WAIT has completed.  A wait shorter than the timeout proves it;
 * otherwise the event log decides.  If the log has lost entries meanwhile, the
 * device is sent a flush of everything, and counts as unresponsive in the end.
 * Context: thread; spin locks below RANK_COMMAND may be held.
 */
bool unresponsive_answered(struct iommu *iommu, uint16_t devid,
			   struct unresponsive_since since);

/* True if the device is marked: it may have no TLB.  Context: any. */
bool iommu_is_unresponsive(struct iommu *iommu, uint16_t devid);

/* Take the mark away, after a reset that has emptied the device's TLB.
 * Context: may sleep. */
void iommu_clear_unresponsive(struct iommu *iommu, uint16_t devid);
