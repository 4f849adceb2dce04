/* SPDX-License-Identifier: MIT */
/*
 * types.h - the scalars of memory: which kind of address, and the page
 *
 * An address without its kind is how a physical one ends up in a pointer; the
 * variable's name (pa, va, iova, pfn) says it a second time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t pa_t;   /* physical: what a memory bus sees, bytes         */
typedef uint64_t va_t;   /* virtual: what a CPU instruction names, bytes    */
typedef uint64_t iova_t; /* what a device puts on the bus before its MMU    */
typedef uint64_t pfn_t;  /* page frame number: pa >> PAGE_SHIFT             */

#define PAGE_SHIFT 12
#define PAGE_SIZE  (UINT64_C(1) << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/* Round to a multiple of a power of two; the result may wrap at 2^64. */
#define ALIGN_DOWN(x, a) ((x) & ~((a)-1))
#define ALIGN_UP(x, a)   (((x) + (a)-1) & ~((a)-1))
#define IS_ALIGNED(x, a) (((x) & ((a)-1)) == 0)
