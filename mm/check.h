/* SPDX-License-Identifier: MIT */
/*
 * check.h - oracles: recompute from the tables what mm believes
 */
#pragma once

#include "kernel/list.h"

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
