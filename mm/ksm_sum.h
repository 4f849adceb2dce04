/* SPDX-License-Identifier: MIT */
/*
 * ksm_sum.h - the checksum of a page, and nothing else: what computes it brings
 * its own <assert.h>
 */
#pragma once

#include <stdint.h>

/* XXH64 of the 4096 bytes at page, folded to 32 bits. */
uint32_t ksm_sum(const void *page);
