/* SPDX-License-Identifier: MIT */
/*
 * cache_checker.h - checker O3: what the IOMMU's caches may still hold
 *
 *   a device's transfer ──► walk of the tables ──► may be cached from now on:
 *                                                  translation, directories, DTE
 *   bytes of the ring   ──► INVALIDATE_* ──┐
 *   completion was seen ───────────────────┴─────► exactly that is dropped
 *
 * QEMU drops a whole domain for any range, caches no directories, and has done
 * everything when the doorbell returns.  So it hides a flush that is too short,
 * one whose completion is not waited for, and one without the directory bit.
 * This checker trusts only the commands in the ring, and assumes of the
 * hardware only what these require.
 *
 * A command drops only what was cached when it was queued.  A device's own TLB
 * drops a page only if the IOMMU dropped it before (B7).
 *
 * What happens when a frame is freed is in tests/checker/device_checker.c.
 *
 * Locks: one (RANK_CHECKER), below everything that flushes or frees.
 */
#pragma once

#include <stddef.h>
#include "iommu/core/iommu.h"
#include "tests/checker/known.h"

/* Start to observe, with nothing known.  No device uses the IOMMU meanwhile. */
void cache_checker_open(struct iommu *iommu);
void cache_checker_close(void);

/*
 * A device is about to use, or has used, [iova, iova + len): everything that
 * its walk passes may be cached.
 */
void cache_checker_use(uint16_t devid, iova_t iova, uint64_t len);

/* The driver has seen completion seq of the queue. */
void cache_checker_complete(const struct command_queue *queue, uint64_t seq);

/*
 * Return whether anything cached may still translate to a byte of the frame, or
 * use it as a table; then it must not be freed.  A description of the entry
 * goes to text.  Any context that may free.  For a table page it waits until no
 * walk of the checker uses the page.
 */
bool cache_checker_names(const struct page *page, char *text, size_t len);

/*
 * Return whether the frame may have been cached since it was cleared.
 * clear_seen(): the same, and clear it until the next use.
 */
bool cache_checker_seen(const struct page *page);
bool cache_checker_clear_seen(const struct page *page);

/*
 * Check, at a quiet point, that every translation that may be cached is what
 * the tables say now: the same frame and no more rights.  Returns NULL or a
 * message.
 */
const char *cache_checker_check(void);

/* Protects the set of tests/checker/known.h while the checker is open. */
extern struct spinlock cache_checker_lock;

/* Call fn for each entry that may be cached, under the lock.  Any context
 * that may free. */
struct known;
void cache_checker_each(void (*fn)(const struct known *k, void *arg),
			void *arg);

struct cache_checker_stats {
	uint64_t uses;    /* pages used by devices                    */
	uint64_t dropped; /* translations, tables and entries          */
	uint64_t evicted; /* entries lost for lack of room             */
	unsigned known;   /* now                                       */
};

struct cache_checker_stats cache_checker_stats(void);
