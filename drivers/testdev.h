/* SPDX-License-Identifier: MIT */
/*
 * testdev.h - a device that reports whether its write arrived
 *
 * QEMU from 11.1, hw/misc/iommu-testdev: a read of a register makes it write a
 * fixed pattern, at once, and another register holds the result.  No other engine
 * here reports one.  It ignores the PCI command register: it masters the bus
 * whether it may or not, so only an IOMMU stops it.
 */
#pragma once

#include "drivers/pci.h"

#define TESTDEV_ID      UINT32_C(0x00051b36) /* device and vendor         */
#define TESTDEV_PATTERN UINT32_C(0x12345678) /* little-endian, repeated */

/* Find it.  Boot, after pci_init(). */
void testdev_init(void);

/* The device, NULL if there is none. */
const struct pci_dev *testdev(void);

/*
 * Have it write bytes > 0 of the pattern at bus.  Returns 0: the device reports
 * that they were accepted, and they are at lands; -EIO: it reports that they were
 * not; -ENOENT: they were accepted, and are not at lands.
 * Context: one caller at a time.
 */
must_check int testdev_write(iova_t bus, pa_t lands, uint32_t bytes);
