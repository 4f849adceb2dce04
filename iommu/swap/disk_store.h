/* SPDX-License-Identifier: MIT */
/*
 * disk_store.h - a swap store on the disk: ivshmem, copied by a bus master
 *
 *   frame ──► IOVA window ──┐
 *                           ├── engine (an LSI) ── copies ──► BAR of ivshmem,
 *   own program ── IOVA ────┘    behind a domain              a file of the host
 *
 * A client of our own drivers.  The engine is behind the IOMMU, in a domain of the
 * store's: it reaches its program, the disk, and a frame from the start of the
 * frame's transfer to the end, and nothing else.  mm knows struct swap_store only
 * (mm/swap/store.h).
 *
 * A bus master does not learn of bytes that did not arrive, and a file of the host
 * may change.  So each page has a checksum in memory: content that is not what was
 * written is an error, at the end of the write or at the read.
 */
#pragma once

#include "drivers/dma.h"
#include "drivers/ivshmem.h"
#include "iommu/core/domain.h"
#include "mm/swap/store.h"

/* Key: (I) immutable from open to close  (N) the transfer of page n */
struct disk_store {
	struct swap_store store;    /* (I) for swap_on()                    */
	struct dma_engine *engine;  /* (I) in the domain                    */
	const struct ivshmem *disk; /* (I)                                  */
	struct domain *domain;      /* (I)                                  */
	struct page *block;         /* (I) frames of sums[]                 */
	uint32_t *sums;             /* (N) of what page n holds             */
};

/*
 * Make a store of the whole disk and attach the engine, which must be in no domain.
 * Returns 0, or with nothing changed: -ENODEV if there is no disk, or the engine
 * does not reach it; -ENOMEM; an error of domain_attach().
 * Context: may sleep.
 */
must_check int disk_store_open(struct disk_store *d, struct iommu *iommu,
			       struct dma_engine *engine);

/* Detach the engine of a store that is not in use, and free its memory.  Panics if
 * the IOMMU does not confirm.  Context: may sleep. */
void disk_store_close(struct disk_store *d);
