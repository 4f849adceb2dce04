/* SPDX-License-Identifier: MIT */
/*
 * mute.h - a device that does not answer when its own TLB is to be emptied
 *
 *   INVALIDATE_IOTLB_PAGES ─► device ... nothing ... InvTimeOut ─► event
 *   COMPLETION_WAIT        ─► stores its number all the same
 *
 * 48882, sections 2.4.4 and 2.5.8.  The ring goes on, so a completed wait no
 * longer means that the device has forgotten: who asked it looks into the event
 * log first (flush_wait()).  A device that was silent is cut off: its entry
 * denies and takes back the right to a TLB (DTE.I = 0), with which the IOMMU
 * refuses what the device translated itself.  Then the page is out of its reach,
 * and may be freed.
 *
 * It stays mute until it was reset, which empties its TLB: iommu_unmute().
 * Linux gives devices a second, waits for the ring for a tenth of that, and
 * prints the event; we give them 100 ms, a tenth of what we wait.
 */
#pragma once

#include "iommu/iommu.h"

/* An event that may be such a timeout.  arg: the IOMMU. */
void mute_note(const struct log_entry *event, void *arg);

/* When a device is asked: taken before the command is queued. */
struct mute_moment {
	uint64_t ns;
	unsigned era; /* of the event log                                 */
};

struct mute_moment mute_now(struct iommu *iommu);

/*
 * The device was asked after `since`, and the wait for it has returned: did it
 * answer?  Who had no time to time out did.  Else the log says; if that has lost
 * entries meanwhile the device is asked again, for all it has, and in the end
 * taken for mute.  Context: thread; spin locks below RANK_COMMAND may be held.
 */
bool mute_answered(struct iommu *iommu, uint16_t devid,
		   struct mute_moment since);

/* Is it known?  Until it was reset it may have no TLB. */
bool iommu_is_mute(struct iommu *iommu, uint16_t devid);

/* The device was reset: its TLB is empty.  May sleep. */
void iommu_unmute(struct iommu *iommu, uint16_t devid);
