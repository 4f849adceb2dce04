/* SPDX-License-Identifier: MIT */
/*
 * ksm_sum.h - the checksum of a page
 *
 * Alone in its header, because xxhash.h, which computes it, includes <assert.h>,
 * which defines assert() differently from kernel/panic.h.
 */
#pragma once

#include <stdint.h>

/* Returns XXH64 of the PAGE_SIZE bytes at page, folded to 32 bits.  Linux: xxhash()
 * in calc_checksum(). */
uint32_t ksm_sum(const void *page);
