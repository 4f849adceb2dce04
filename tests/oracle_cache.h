/* SPDX-License-Identifier: MIT */
/*
 * oracle_cache.h - oracle O3: what the IOMMU's caches may still hold
 *
 *   a device's transfer ──► walk of the tables ──► may be cached from now on:
 *                                                  translation, directories, DTE
 *   bytes of the ring   ──► INVALIDATE_* ──┐
 *   completion was seen ───────────────────┴─────► is forgotten, exactly that
 *
 * QEMU drops a whole domain for any range, keeps no directories, and has done
 * all before the doorbell returns: it hides a flush that is too short, one that
 * nobody waited for, and one without the directory bit.  This model believes the
 * driver nothing but the commands in its ring, and hardware nothing but that.
 *
 * A command forgets only what was there when it was queued; a device's own TLB
 * forgets a page only if the IOMMU did so before (B7).
 *
 * Not here: what is done when a frame is freed (tests/oracle_device.c).
 *
 * Locks: one (RANK_ORACLE), below everything that flushes or frees.
 */
#pragma once

#include <stddef.h>
#include "iommu/iommu.h"

/* Look on from now on, knowing nothing.  Nobody uses the IOMMU meanwhile. */
void oracle_cache_open(struct iommu *iommu);
void oracle_cache_close(void);

/* The device is about to use, or has used, [iova, iova + len): whatever its
 * walk meets may be cached. */
void oracle_cache_use(uint16_t devid, iova_t iova, uint64_t len);

/* The driver has seen completion seq of the queue. */
void oracle_cache_complete(const struct command_queue *queue, uint64_t seq);

/*
 * May anything cached still lead to a byte of the frame, or walk it as a table?
 * Then it must not be freed; which one goes to words.  Any context that may
 * free.  A table page is also waited for: nobody here walks it any more.
 */
bool oracle_cache_names(const struct page *page, char *words, size_t len);

/* May the frame ever have been cached?  forget(): ... and not until it is used
 * again. */
bool oracle_cache_seen(const struct page *page);
bool oracle_cache_forget(const struct page *page);

/*
 * At a quiet point: every translation that may be cached is what the tables say
 * now, the same frame and no more rights.  NULL, or what is wrong in words.
 */
const char *oracle_cache_check(void);

struct oracle_cache_stats {
	uint64_t uses;      /* pages that devices asked for             */
	uint64_t forgotten; /* translations, tables and entries          */
	uint64_t evicted;   /* more than we can remember                 */
	unsigned known;     /* now                                       */
};

struct oracle_cache_stats oracle_cache_stats(void);
