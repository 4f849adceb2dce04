/* SPDX-License-Identifier: MIT */
/*
 * fault.h - the two ways into a fault besides mm_fault()
 */
#pragma once

#include "mm/mm.h"

/* Install the #PF handler.  Once. */
void fault_init(void);

/*
 * Give va a page that no other address space maps: what a long-lived pin
 * needs, even for reading.  A region without PROT_W keeps a read-only entry.
 * Linux: FAULT_FLAG_UNSHARE.  Context and errors: mm_fault().
 */
must_check int mm_fault_unshare(struct mm *mm, va_t va);

/*
 * What region maps at va, if anything, is a private page of its own when this
 * returns 0: no fork's, not merged, not the zero page.  Rights are not asked, and stay as they are.
 * Context: mm->lock held; may sleep.  Returns -ENOMEM.
 */
must_check int fault_own(struct mm *mm, struct region *region, va_t va);
