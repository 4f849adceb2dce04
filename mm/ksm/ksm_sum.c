/* SPDX-License-Identifier: MIT */
/*
 * ksm_sum.c - the checksum of a page: XXH64, folded
 *
 * The only file that knows which checksum it is.  Different checksums prove that
 * pages differ; equal ones prove nothing and are followed by a comparison.
 */
#define XXH_INLINE_ALL
#define XXH_VECTOR              0 /* XXH_SCALAR: no vector registers here */
#define XXH_NO_STREAM           1
#define XXH_FORCE_MEMORY_ACCESS 1 /* packed loads, not calls of memcpy    */
#include <xxhash.h>
#include "arch/types.h"
#include "mm/ksm/ksm_sum.h"

uint32_t ksm_sum(const void *page)
{
	uint64_t sum = XXH64(page, PAGE_SIZE, 0);

	return (uint32_t)(sum ^ sum >> 32);
}
