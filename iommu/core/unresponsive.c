/* SPDX-License-Identifier: MIT */
/*
 * unresponsive.c - which devices do not answer, according to the event log
 *
 *      the thread that reads the logs       the thread that has flushed
 *   mark (early) -> slot free -> ...     look into the ring -> look at marks
 *
 * The mark is made before the entry leaves the ring, so the second thread finds
 * the entry or the mark.  An overflow may have lost the entry: then only a wait
 * that was shorter than the timeout proves that there was none.
 */
#include "iommu/core/unresponsive.h"
#include "arch/clock.h"
#include "kernel/printk.h"

#define ASKS 3u

static void mark(struct iommu *iommu, uint16_t devid)
{
	uint64_t bit = BIT(devid % 64);

	if (!(__atomic_fetch_or(&iommu->unresponsive[devid / 64], bit,
				__ATOMIC_SEQ_CST) &
	      bit))
		printk("# iommu %s: device %x does not answer its "
		       "invalidations\n",
		       iommu->port.name, devid);
}

bool iommu_is_unresponsive(struct iommu *iommu, uint16_t devid)
{
	return __atomic_load_n(&iommu->unresponsive[devid / 64],
			       __ATOMIC_SEQ_CST) &
	       BIT(devid % 64);
}

void iommu_clear_unresponsive(struct iommu *iommu, uint16_t devid)
{
	require(may_sleep());
	iommu_settle(iommu); /* entries from before the reset are handled */
	__atomic_fetch_and(&iommu->unresponsive[devid / 64], ~BIT(devid % 64),
			   __ATOMIC_SEQ_CST);
}

void unresponsive_note(const struct log_entry *event, void *arg)
{
	if (FIELD_GET(LOG0_TYPE, event->w[0]) == IOTLB_INV_TIMEOUT)
		mark(arg, (uint16_t)FIELD_GET(EVENT0_DEVID, event->w[0]));
}

struct unresponsive_since unresponsive_now(struct iommu *iommu)
{
	return (struct unresponsive_since){ clock_ns(),
					    log_generation(&iommu->events) };
}

/* True if no event since then was lost, and all of them are marked. */
static bool log_is_whole(struct iommu *iommu, struct unresponsive_since since)
{
	/* In this order: what was lost was lost before it is looked for. */
	return log_peek(&iommu->events, unresponsive_note) &&
	       !log_lost_since(&iommu->events, since.generation);
}

static int ask_again(struct iommu *iommu, uint16_t devid)
{
	struct command c =
		command_invalidate_iotlb_pages(devid, devid, 1, RANGE_ALL);

	return queue_run(&iommu->queue, &c, 1);
}

bool unresponsive_answered(struct iommu *iommu, uint16_t devid,
			   struct unresponsive_since since)
{
	require(locks_below(RANK_COMMAND));
	for (unsigned i = 1;; i++) {
		if (unresponsive_in_time(since))
			return true;
		if (log_is_whole(iommu, since))
			return !iommu_is_unresponsive(iommu, devid);
		since = unresponsive_now(iommu);
		if (i == ASKS || ask_again(iommu, devid))
			break;
	}
	mark(iommu, devid);
	return false;
}
