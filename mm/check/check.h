/* SPDX-License-Identifier: MIT */
/*
 * check.h - checkers: recompute from the page tables what mm keeps in counters
 */
#pragma once

#include "kernel/printk.h"

/*
 * Format the error message of a checker.  It is valid until the next call; calls
 * on two CPUs at once may mix their text.
 */
const char *check_message(const char *fmt, ...) printf_like(1, 2);

/* Record an error in c->wrong, which is NULL until then; the first one stays. */
#define WRONG(c, ...)                                            \
	do {                                                     \
		if (!(c)->wrong)                                 \
			(c)->wrong = check_message(__VA_ARGS__); \
	} while (0)

/*
 * Check all address spaces and frames (docs/invariants.md has the numbers):
 *
 *   B37  page_maps() is the number of entries that map the page; references are
 *        mappings, pins, evicted entries, the object's own and the swap cache's
 *   B34  the users of every swap slot are the entries that name it; such an entry
 *        has no right of a CPU or device
 *   B38  the reverse map of a page finds each of these entries once
 *   B40  a writable private entry maps a page with PG_EXCLUSIVE, and such a page
 *        has one mapping
 *   also the tables' live counts, mm->mapped, and that no two regions could be
 *   one
 *
 * References that a test has leaked are reported once: the next call compares
 * with the number that this one found.
 *
 * Returns NULL, or the first error as a message that is valid until the next
 * call.  Context: may sleep; one caller at a time, and no thread changes any mm.
 */
const char *mm_check(void);
