/* SPDX-License-Identifier: MIT */
/*
 * replace.h - put another page under a private page that is in use, and take it back
 *
 * So a debugger sets a breakpoint in a program that runs: a copy of the page with
 * one byte changed takes its place, for CPUs and devices at once.  Linux:
 * __replace_page() of uprobes.
 */
#pragma once

#include "mm/core/mm.h"
#include "mm/frame/page.h"

/*
 * Map `to` where region's private page `from` is mapped at va, with the rights of the
 * region.  When it returns no CPU and no secondary MMU uses `from` at va.  Other address
 * spaces that map `from` keep it.  A huge entry is split first.
 *
 * `to` is from page_alloc(), with the content that it shall have, and becomes a
 * private page that is in this address space only; or it was `from` in an earlier call
 * for this va.
 *
 * Context: may sleep; takes mm->lock to read.  The caller has, and keeps, a reference on
 * each page.
 * Returns 0; -EINVAL if no private region is at va, or one of MAP_HUGETLB, or `to` is another kind of page; -EBUSY if
 * `from` is not mapped there, or is pinned, with nothing changed.
 */
must_check int mm_replace_page(struct mm *mm, va_t va, struct page *from,
			       struct page *to);
