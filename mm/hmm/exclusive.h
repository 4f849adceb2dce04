/* SPDX-License-Identifier: MIT */
/*
 * exclusive.h - pages that one device uses, and no CPU, while it works on them
 *
 *	do {
 *		range.notifier_seq = mmu_interval_read_begin(range.notifier);
 *		ret = make_device_exclusive(&range, owner);
 *		if (ret == -EBUSY)
 *			continue;
 *		if (ret)
 *			return ret;
 *		lock(client);
 *		again = mmu_interval_read_retry(range.notifier, range.notifier_seq);
 *		if (!again)
 *			... copy hmm_pfns[] to the device's table, run the device ...
 *		unlock(client);
 *	} while (ret || again);
 *
 * A device that reads a word, computes, and writes it back does that in two accesses,
 * and a CPU may write in between.  So the CPU's entry is taken away first.  An access
 * of a CPU faults, and the fault begins an invalidation before it maps the page again:
 * the callback of the client takes its lock, so it comes before the device begins or
 * after it has ended, and takes the page out of the device's table.
 *
 * Linux: make_device_exclusive(), since 5.14, of one page that it returns locked and
 * with a reference.  Here the sequence does what the page's lock does there.
 */
#pragma once

#include "mm/hmm/hmm.h"

/*
 * Make each page of the range a private page of this address space, as a write does,
 * replace its entry by a device-exclusive one, and report it VALID and WRITE.
 * default_flags and pfn_flags_mask are not read.  Huge mappings are split.
 *
 * owner: of the invalidations, with MMU_NOTIFY_EXCLUSIVE (B30).  The callback of
 * range->notifier must ignore those that have it, without mmu_interval_set_seq(); it
 * must not ignore the event without it, which is the CPU's.
 *
 * Context: as hmm_range_fault().
 * Returns 0; -EBUSY, -EFAULT, -EIO, -ENOMEM, -EINVAL as that; -EFAULT also where the
 * region may not be written; -EPERM: a page is pinned, or of an object, so that others
 * reach it without an entry of this address space.  After an error the pages before
 * that place may be exclusive: the next access of a CPU maps them.
 */
must_check int make_device_exclusive(struct hmm_range *range, void *owner);
