/* SPDX-License-Identifier: MIT */
/*
 * vram.h - memory of a device: the second ivshmem, filled by a bus master
 *
 *   frames of RAM ── window ──┐
 *                             ├── engine (an LSI) ── peer to peer ──► BAR of ivshmem
 *   own program ── IOVA ──────┘   behind a domain
 *
 * The memory lies behind a BAR that the kernel never loads from or stores to.  The engine
 * copies between it and RAM, from one bus master to another through the IOMMU.  As for
 * the disk (iommu/swap/disk_store.h) it reaches a frame only while it copies it.  A device
 * whose domain maps pages of the BAR works on them in place: hmm_dma_map() names the
 * BAR where hmm_range_fault() reports a page of this memory.
 *
 * A client of mm/core/device.h and mm/hmm/migrate_vma.h, by public functions only.
 */
#pragma once

#include "drivers/dma.h"
#include "drivers/ivshmem.h"
#include "iommu/core/domain.h"
#include "mm/core/device.h"

#define VRAM_BATCH 512u /* pages that vram_take() moves in one go           */

/* Key: (I) immutable from open to close  (T) the thread that is in vram_take() */
struct vram {
	struct device_memory memory; /* (I) but for its list                 */
	struct dma_engine *engine;   /* (I) in the domain                    */
	struct domain *domain;       /* (I)                                  */
	uint64_t src[VRAM_BATCH];    /* (T)                                  */
	uint64_t dst[VRAM_BATCH];    /* (T)                                  */
};

/*
 * Make the memory of the second ivshmem one that pages can migrate to, and attach the
 * engine, which must be in no domain.  Probes that the engine's writes arrive in the BAR
 * and come back.
 * Returns 0, or with nothing changed: -ENODEV if there is no such memory, the engine
 * does not reach it, or this QEMU does not pass peer-to-peer DMA on; -ENOMEM; -ENOSPC;
 * an error of domain_attach().
 * Context: may sleep.
 */
must_check int vram_open(struct vram *v, struct iommu *iommu,
			 struct dma_engine *engine);

/* Bring every page back to RAM and detach the engine.  Panics if the IOMMU does not
 * confirm, or a page cannot come back.  Context: may sleep. */
void vram_close(struct vram *v);

/*
 * Move the private pages of [start, end) that can move to the memory, as many as it has
 * room for, by one DMA for each run of its pages.  owner: of the invalidations, may be
 * NULL (mm/hmm/migrate_vma.h).
 * Context: may sleep; takes mm->lock to read.  One thread at a time.
 * Returns how many pages moved; -EINVAL as migrate_vma_setup().
 */
must_check int vram_take(struct vram *v, struct mm *mm, va_t start, va_t end,
			 void *owner);
