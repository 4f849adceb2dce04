/* SPDX-License-Identifier: MIT */
/*
 * device_in.h - a fault on a device entry, and on a device-exclusive one
 */
#pragma once

#include "mm/core/mm.h"

/*
 * Bring the page that the device entry at slot, of va, names back to RAM, where every
 * entry that names it maps it.  If another thread does so, wait for that.
 * Linux: do_swap_page(), for is_device_private_entry().
 *
 * Context: mm->lock held to read, and mm->pt_lock, which it drops before it waits.
 * Returns -EAGAIN: look at the entry again; -ENOMEM; an error of the device.
 */
must_check int fault_device(struct region *region, va_t va, uint64_t *slot);

/*
 * Map the page of the device-exclusive entry at slot, of va, after every device that may
 * use it was notified.  Linux: remove_device_exclusive_entry().
 *
 * Context: mm->lock held to read, and mm->pt_lock, which it drops.  Returns -EAGAIN: look
 * at the entry again.
 */
must_check int fault_device_exclusive(struct region *region, va_t va,
				      uint64_t *slot);
