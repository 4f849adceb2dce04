/* SPDX-License-Identifier: MIT */
/*
 * ivshmem.h - memory behind a BAR, kept in a file of the host
 *
 * QEMU, docs/specs/ivshmem-spec: the plain kind has no doorbell, only BAR 2.  An
 * engine copies to it and from it by bus addresses.  The first is a disk with DMA that
 * ends when it says so, the second the memory of a device (iommu/sva/vram.h).
 */
#pragma once

#include "drivers/pci.h"

#define IVSHMEM_ID UINT32_C(0x11101af4) /* device and vendor             */

struct ivshmem {
	struct pci_dev *dev;
	char *memory;  /* mapped, uncached                                */
	iova_t bus;    /* where a device finds its first byte             */
	uint64_t size; /* bytes                                           */
};

#define IVSHMEM_MAX     (UINT64_C(16) << 20) /* bytes that are mapped at most   */
#define IVSHMEM_DEVICES 2u

/* Find them.  Boot, after pci_init(). */
void ivshmem_init(void);

/* The disk, NULL if there is none. */
const struct ivshmem *ivshmem(void);

/* The i-th, in the order of their places on the bus, NULL if there are not so many. */
const struct ivshmem *ivshmem_at(unsigned i);

/*
 * In *bus where a device finds bytes of the memory from offset on.  Returns
 * -EINVAL if the memory does not have them all.
 */
must_check int ivshmem_range(uint64_t offset, uint64_t bytes, iova_t *bus);
