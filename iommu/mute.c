/* SPDX-License-Identifier: MIT */
/*
 * mute.c - who does not answer, as the event log says
 *
 *      the log's thread                     who has waited
 *   mark (early) -> slot free -> ...     look into the ring -> look at marks
 *
 * The mark is made before the entry leaves the ring, so that one of the two
 * finds it.  An overflow may have swallowed it: then time is the witness.  A
 * wait that was shorter than the timeout met none.
 */
#include "iommu/mute.h"
#include "arch/clock.h"
#include "kernel/printk.h"

#define IN_TIME_NS UINT64_C(50000000) /* surely less than the timeout       */
#define ASKS       3u

static void mark(struct iommu *iommu, uint16_t devid)
{
	uint64_t bit = BIT(devid % 64);

	if (!(__atomic_fetch_or(&iommu->mute[devid / 64], bit,
				__ATOMIC_SEQ_CST) &
	      bit))
		printk("# iommu %s: device %x does not answer its "
		       "invalidations\n",
		       iommu->port.name, devid);
}

bool iommu_is_mute(struct iommu *iommu, uint16_t devid)
{
	return __atomic_load_n(&iommu->mute[devid / 64], __ATOMIC_SEQ_CST) &
	       BIT(devid % 64);
}

void iommu_unmute(struct iommu *iommu, uint16_t devid)
{
	iommu_settle(iommu); /* what is in the log is of before */
	__atomic_fetch_and(&iommu->mute[devid / 64], ~BIT(devid % 64),
			   __ATOMIC_SEQ_CST);
}

void mute_note(const struct log_entry *event, void *arg)
{
	if (FIELD_GET(LOG0_TYPE, event->w[0]) == IOTLB_INV_TIMEOUT)
		mark(arg, (uint16_t)FIELD_GET(EVENT0_DEVID, event->w[0]));
}

struct mute_moment mute_now(struct iommu *iommu)
{
	return (struct mute_moment){ clock_ns(), log_era(&iommu->events) };
}

/* The log has seen all since then, and so have we: is the mark the truth? */
static bool log_is_whole(struct iommu *iommu, struct mute_moment since)
{
	/* In this order: what was lost was lost before it is looked for. */
	return log_peek(&iommu->events, mute_note) &&
	       !log_lost_since(&iommu->events, since.era);
}

static int ask_again(struct iommu *iommu, uint16_t devid)
{
	struct command c =
		command_invalidate_iotlb_pages(devid, devid, 1, RANGE_ALL);

	return queue_run(&iommu->queue, &c, 1);
}

bool mute_answered(struct iommu *iommu, uint16_t devid,
		   struct mute_moment since)
{
	for (unsigned i = 1;; i++) {
		if (clock_ns() - since.ns < IN_TIME_NS)
			return true;
		if (log_is_whole(iommu, since))
			return !iommu_is_mute(iommu, devid);
		since = mute_now(iommu);
		if (i == ASKS || ask_again(iommu, devid))
			break;
	}
	mark(iommu, devid);
	return false;
}
