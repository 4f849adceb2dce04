/* SPDX-License-Identifier: MIT */
/*
 * event_checker.c - events are counted by device and compared with the test
 */
#include "tests/checker/event_checker.h"
#include "drivers/pci.h"
#include "iommu/core/iommu.h"
#include "iommu/quirks/quirks.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"

/* Of bus 0, by function: QEMU's events have no other bus. */
static struct {
	uint64_t lost;
	_Atomic unsigned seen[PCI_FUNCTIONS];
	_Atomic bool refused[PCI_FUNCTIONS], allowed[PCI_FUNCTIONS];
	struct log_entry first[PCI_FUNCTIONS];
} of;

static bool watches(void)
{
	return CONFIG_CHECK && probe_on && iommu_machine() &&
	       iommu_quirks()->event_logged;
}

static uint64_t lost_now(const struct iommu *iommu)
{
	return iommu->events.lost + iommu->requests.lost;
}

/* Context: the thread that drains the log.  A model has its own log. */
static void logged(uint64_t w0, uint64_t w1, void *name)
{
	unsigned devid = FIELD_GET(EVENT0_DEVID, w0) % PCI_FUNCTIONS;

	if (!iommu_machine() || !iommu_is_thread(iommu_machine(), current()))
		return;
	if (!atomic_fetch_add(&of.seen[devid], 1))
		of.first[devid] = (struct log_entry){ { w0, w1 } };
}

void events_begin(void)
{
	if (!iommu_machine())
		return;
	memset(&of, 0, sizeof(of));
	of.lost = lost_now(iommu_machine());
	if (watches())
		probe_watch("iommu_event", logged);
}

void events_refused(uint16_t devid)
{
	atomic_store(&of.refused[devid % PCI_FUNCTIONS], true);
}

void events_allow(uint16_t devid)
{
	atomic_store(&of.allowed[devid % PCI_FUNCTIONS], true);
}

static const char *check_device(unsigned devid)
{
	static char text[160];
	unsigned seen = atomic_load(&of.seen[devid]);
	bool refused = atomic_load(&of.refused[devid]);

	if (refused && !seen && !atomic_load(&of.allowed[devid]))
		snprintk(text, sizeof(text),
			 "device %02x was refused, and there is no event of it",
			 devid);
	else if (seen && !refused && !atomic_load(&of.allowed[devid]))
		snprintk(text, sizeof(text),
			 "%u unexpected events of device %02x, the first is "
			 "%lx %lx",
			 seen, devid, of.first[devid].w[0],
			 of.first[devid].w[1]);
	else
		return NULL;
	return text;
}

const char *events_check(void)
{
	struct iommu *iommu = iommu_machine();
	const char *why = NULL;

	if (!iommu)
		return NULL;
	if (watches()) {
		iommu_settle(iommu);
		for (unsigned i = 0; i < PCI_FUNCTIONS && !why; i++)
			why = check_device(i);
	}
	probe_watch("iommu_event", NULL);
	if (!why && lost_now(iommu) != of.lost)
		why = "a log counts entries that never appeared";
	return why;
}
