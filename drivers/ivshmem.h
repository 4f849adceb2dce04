/* SPDX-License-Identifier: MIT */
/*
 * ivshmem.h - memory behind a BAR, kept in a file of the host
 *
 * QEMU, docs/specs/ivshmem-spec: the plain kind has no doorbell, only BAR 2.  An
 * engine copies to it and from it by bus addresses: a disk with DMA that ends
 * when it says so.
 */
#pragma once

#include "drivers/pci.h"

struct ivshmem {
	struct pci_dev *dev;
	char *memory;  /* mapped, uncached                                */
	iova_t bus;    /* where a device finds its first byte             */
	uint64_t size; /* bytes                                           */
};

#define IVSHMEM_MAX (UINT64_C(16) << 20) /* bytes that are mapped at most   */

/* Find it.  Boot, after pci_init(). */
void ivshmem_init(void);

/* The memory, NULL if there is none. */
const struct ivshmem *ivshmem(void);

/*
 * In *bus where a device finds bytes of the memory from offset on.  Returns
 * -EINVAL if the memory does not have them all.
 */
must_check int ivshmem_range(uint64_t offset, uint64_t bytes, iova_t *bus);
