/* SPDX-License-Identifier: MIT */
/*
 * fault.h - the entry points of a fault besides mm_fault()
 */
#pragma once

#include "mm/core/mm.h"

/* Install the #PF handler.  Context: boot, once. */
void fault_init(void);

/*
 * Give va a page that no other address space maps, as a long-lived pin needs,
 * even for reading.  A region without PROT_W keeps a read-only entry.
 * Linux: FAULT_FLAG_UNSHARE.
 * Context: mm->lock not taken; may sleep.  Returns 0; -EFAULT, -ENOMEM as
 * mm_fault().
 */
must_check int mm_fault_unshare(struct mm *mm, va_t va);

/*
 * Replace the page that region, which has no object, maps at va by an exclusive
 * private one, unless it is exclusive already or nothing is mapped: afterwards it
 * is not shared with a fork, not merged, not the zero page.  The entry keeps its
 * rights.  Linux: break_ksm().
 * Context: mm->lock held; may sleep.  Returns 0 or -ENOMEM.
 */
must_check int fault_own(struct mm *mm, struct region *region, va_t va);
