/* SPDX-License-Identifier: MIT */
/*
 * types.h - one scalar type for each kind of address, and the page
 *
 * The type says which kind an address is, and so does the variable's name (pa, va,
 * iova, pfn): a physical address must not be used as a pointer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t pa_t;   /* physical, as on the memory bus, bytes            */
typedef uint64_t va_t;   /* virtual, as in a CPU instruction, bytes          */
typedef uint64_t gpa_t;  /* what a guest takes for a physical address        */
typedef uint64_t iova_t; /* what a device emits before the IOMMU translates  */
typedef uint64_t pfn_t;  /* page frame number: pa >> PAGE_SHIFT             */

#define PAGE_SHIFT 12
#define PAGE_SIZE  (UINT64_C(1) << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/* Round to a multiple of a power of two, whose negative is the mask of its
 * multiples; the result may wrap at 2^64. */
#define ALIGN_DOWN(x, a) ((x) & -(a))
#define ALIGN_UP(x, a)   (((x) + ~-(a)) & -(a))
#define IS_ALIGNED(x, a) (((x) & ~-(a)) == 0)
