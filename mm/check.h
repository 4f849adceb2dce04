/* SPDX-License-Identifier: MIT */
/*
 * check.h - oracles: recompute from the tables what mm believes
 */
#pragma once

#include "kernel/printk.h"

/*
 * What an oracle found, formatted into words that hold until the next oracle
 * finds something.  Two that find something at once may mix their words.
 */
const char *check_words(const char *fmt, ...) printf_like(1, 2);

/* Only the first thing that is wrong counts: c->wrong, NULL until then. */
#define WRONG(c, ...)                                          \
	do {                                                   \
		if (!(c)->wrong)                               \
			(c)->wrong = check_words(__VA_ARGS__); \
	} while (0)

/*
 * At a quiet point (nobody changes any mm):
 *
 *   B37  the entries that map a page are page_maps(); references are mappings,
 *        pins, parked entries and the object's own
 *   B38  the reverse map of a page finds each of them, once
 *   B40  a writable private entry means PG_EXCLUSIVE, that means one mapping
 *   tables' live counts, and mm->mapped
 *
 * Returns NULL, or the first thing that is wrong in words (valid until the
 * next call).
 */
const char *mm_check(void);
